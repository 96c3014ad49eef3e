"""The 3D view of a label: metres, where the label says, two meshes beside each other."""

from __future__ import annotations

import numpy as np
import pytest

from models.geometry.cameras import camera_from_horizontal_fov
from models.geometry.rotations import about_y
from viewer.render.annotation_figure import FigureContent, FigureMesh, build_annotation_figure
from viewer.render.overlay import AXIS_LENGTH_M

R, T_M = about_y(20.0), np.array([0.03, -0.02, 0.8])


def by_name(figure, name: str) -> np.ndarray:
    """(n, 3) points in camera axes of the traces of a name."""
    found = [trace for trace in figure.data if trace.name == name]
    return np.concatenate([np.stack([t.x, -np.asarray(t.z), t.y], -1) for t in found])


def test_everything_stands_in_the_cameras_frame_in_metres(head_mesh) -> None:
    vertices = head_mesh.vertices_head_m @ R.T + T_M
    content = FigureContent(
        meshes=(FigureMesh("face", vertices, head_mesh.triangles),),
        camera=camera_from_horizontal_fov((640, 480)),
        R_cam_from_head=R,
        t_cam_from_head_m=T_M,
        landmarks_68_m=vertices[head_mesh.landmark_68_ids],
        depth_m=vertices[::5],
    )
    figure = build_annotation_figure(content)
    np.testing.assert_allclose(by_name(figure, "face"), vertices, atol=1e-12)
    np.testing.assert_allclose(by_name(figure, "depth"), vertices[::5], atol=1e-12)
    nose = by_name(figure, "nose")
    np.testing.assert_allclose(nose[0], T_M, atol=1e-12)
    np.testing.assert_allclose(nose[1] - nose[0], -AXIS_LENGTH_M * R[:, 2], atol=1e-12)
    camera = by_name(figure, "camera")
    assert np.nanmax(camera[:, 2]) < vertices[:, 2].min()
    spans = [np.diff(figure.layout.scene[f"{a}axis"].range)[0] for a in "xyz"]
    ratio = [figure.layout.scene.aspectratio[a] for a in "xyz"]
    np.testing.assert_allclose(np.array(ratio) / spans, ratio[0] / spans[0], rtol=1e-9)


def test_two_meshes_stand_apart_and_the_second_carries_the_distance(head_mesh) -> None:
    vertices, triangles = head_mesh.vertices_head_m, head_mesh.triangles
    heat = np.linspace(0.0, 3.0, len(vertices))
    content = FigureContent(
        meshes=(
            FigureMesh("registration", vertices, triangles),
            FigureMesh("FLAME", vertices, triangles, heat),
        ),
        side_by_side=True,
    )
    figure = build_annotation_figure(content)
    first, second = by_name(figure, "registration"), by_name(figure, "FLAME")
    assert second[:, 0].min() > first[:, 0].max()
    np.testing.assert_allclose(second[:, 1:], vertices[:, 1:], atol=1e-12)
    (trace,) = [one for one in figure.data if one.name == "FLAME"]
    np.testing.assert_allclose(trace.intensity, heat)
    assert 2.8 < trace.cmax < 3.0
    assert not [one for one in figure.data if one.name == "camera"]


def test_nothing_to_show_is_said() -> None:
    assert FigureContent(camera=camera_from_horizontal_fov((64, 48))).is_empty()
    with pytest.raises(ValueError, match="nothing to show"):
        build_annotation_figure(FigureContent())
