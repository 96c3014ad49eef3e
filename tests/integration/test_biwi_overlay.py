"""BIWI's real scan drawn on its photo, where the sample is. No pixel of it is committed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.geometry.boxes import bounding_box_xyxy
from viewer.datasets.biwi import Biwi
from viewer.render.heat_map import LEGEND_SHADING, HeatScale, draw_legend
from viewer.render.mesh_image import MeshRenderer, RenderMesh, live_renderer, shared_renderer

KNOWN_BOX_XYXY_PX = np.array([290.2, 197.2, 393.6, 353.5]) + 0.5
"""Of the scan's projection, found by others in OpenCV's pixels."""


@pytest.fixture(scope="module")
def detail(shared_data: Path):
    return Biwi(shared_data / "samples" / "biwi").detail("01/frame_00003")


@pytest.mark.parametrize("renderer", [shared_renderer, live_renderer], ids=["shared", "live"])
def test_the_scan_lies_on_the_photo(detail, repo_root: Path, renderer) -> None:
    """The drawn box within half a pixel; the depth camera's points on the drawn surface."""
    (mesh,), camera, photo = detail.meshes, detail.sample.camera, detail.sample.read_image_rgb()
    scan = RenderMesh(mesh.vertices_m, mesh.triangles, opacity=0.8)
    drawn = renderer().draw(photo, [scan], camera)
    box = bounding_box_xyxy(camera.project(mesh.vertices_m))
    assert np.abs(box - KNOWN_BOX_XYXY_PX).max() < 0.1
    assert np.abs(drawn_box(drawn.alpha / 0.8) - KNOWN_BOX_XYXY_PX).max() <= 0.5
    column, row = np.floor(camera.project(detail.depth_cam_m)).astype(int).T
    surface_m = drawn.depth_m[row, column]
    on_scan = np.isfinite(surface_m)
    off_mm = 1000 * (detail.depth_cam_m[on_scan, 2] - surface_m[on_scan])
    assert on_scan.sum() > 7000
    assert abs(np.median(off_mm)) < 4 and (np.abs(off_mm) < 15).mean() > 0.65
    folder = repo_root / "tests" / "out"
    folder.mkdir(exist_ok=True)
    name = renderer().renderer_name.replace(" ", "_")
    Image.fromarray(drawn.rgb).save(folder / f"biwi_overlay_{name}.png")


def test_the_depth_cameras_distance_as_a_heat_map(detail, repo_root: Path) -> None:
    """Each vertex that the depth camera sees takes the distance of the nearest of its points."""
    (mesh,), camera, photo = detail.meshes, detail.sample.camera, detail.sample.read_image_rgb()
    column, row = np.floor(camera.project(detail.depth_cam_m)).astype(int).T
    measured_m = np.full(photo.shape[:2], np.nan)
    measured_m[row, column] = detail.depth_cam_m[:, 2]
    column, row = np.floor(camera.project(mesh.vertices_m)).astype(int).T
    off_mm = np.abs(measured_m[row, column] - mesh.vertices_m[:, 2]) * 1000
    off_mm[off_mm > 40] = np.nan
    scale = HeatScale(0.0, 20.0, "to the depth camera")
    coloured = RenderMesh(
        mesh.vertices_m,
        mesh.triangles,
        vertex_colours=scale.colours(off_mm),
        shading=LEGEND_SHADING,
    )
    picture = MeshRenderer(()).draw(photo, [coloured], camera).rgb
    assert np.isfinite(off_mm).sum() > 1000 and np.nanmedian(off_mm) < 12
    folder = repo_root / "tests" / "out"
    folder.mkdir(exist_ok=True)
    Image.fromarray(draw_legend(picture, scale)).save(folder / "biwi_overlay_heat_map.png")


def drawn_box(alpha: np.ndarray) -> np.ndarray:
    """Left, top, right, bottom of what is covered, to the fraction that the rim covers."""
    ends = []
    for across in (alpha.max(0), alpha.max(1)):
        covered = np.flatnonzero(across > 0.05)
        first, last = covered[0], covered[-1]
        ends.append((first + 1 - across[first], last + across[last]))
    (left, right), (top, bottom) = ends
    return np.array([left, top, right, bottom])
