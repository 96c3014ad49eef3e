"""PnP on the canonical face, and the columns that look at a photo."""

from __future__ import annotations

import numpy as np
import pytest

from demo_app.evaluation.baselines import (
    PNP_5,
    PNP_5_TURNED,
    PNP_468,
    PNP_468_TURNED,
    baseline_columns,
    canonical_face_head_mm,
    five_points,
    pose_from_points,
)
from demo_app.inference.images import read_image
from models.geometry.boxes import ray_box_from_xyxy
from models.geometry.cameras import camera_from_horizontal_fov
from models.geometry.rotations import geodesic_deg, matrix_from_ypr_300wlp
from models.weights import REPOSITORY_ROOT


@pytest.fixture(scope="module")
def face_mm() -> np.ndarray:
    return canonical_face_head_mm()


def test_the_face_is_in_the_head_frame(face_mm: np.ndarray) -> None:
    eye_at_image_left, _, nose, _, _ = five_points(face_mm)
    assert eye_at_image_left[0] < -20, "at R = I the head looks at the camera"
    assert nose[2] == pytest.approx(face_mm[:, 2].min(), abs=3)
    assert face_mm[152, 1] - face_mm[10, 1] > 100, "the chin is below the forehead"


@pytest.mark.parametrize("ypr_deg", [(0.0, 0.0, 0.0), (50.0, -30.0, 20.0), (-75.0, 10.0, 160.0)])
@pytest.mark.parametrize("five", [False, True])
def test_pnp_finds_the_pose_of_projected_points(
    face_mm: np.ndarray, ypr_deg: tuple[float, float, float], five: bool
) -> None:
    R, t_mm = matrix_from_ypr_300wlp(*ypr_deg), np.array([60.0, -40.0, 700.0])
    points = five_points(face_mm) if five else face_mm
    cam = points @ R.T + t_mm
    found_R, found_t = pose_from_points(points, cam[:, :2] / cam[:, 2:])
    assert geodesic_deg(found_R, R) < 0.01
    assert np.abs(found_t - t_mm).max() < 0.1


def test_where_there_is_no_pose_the_head_still_counts(face_mm: np.ndarray) -> None:
    R, t_mm = pose_from_points(five_points(face_mm), np.full((5, 2), np.nan))
    assert np.array_equal(R, np.eye(3)) and np.isfinite(t_mm).all()


def test_the_columns_see_the_astronaut(face_mm: np.ndarray) -> None:
    """A smile to the camera, the head turned and tilted a little."""
    image = read_image(REPOSITORY_ROOT / "assets" / "examples" / "astronaut.jpg").image_rgb
    camera = camera_from_horizontal_fov((image.shape[1], image.shape[0]))
    box = ray_box_from_xyxy(camera, np.array([170.0, 60, 275, 190]), 1.4)
    columns = baseline_columns()
    assert set(columns) == {PNP_468, PNP_468_TURNED, PNP_5, PNP_5_TURNED}
    poses = {name: column(image, camera, box[None]) for name, column in columns.items()}
    one_pass = poses[PNP_468]
    assert np.array_equal(one_pass.vertices_head_mm[0], face_mm)
    assert geodesic_deg(one_pass.R_cam_from_head[0], np.eye(3)) < 35
    assert 500 < one_pass.t_cam_from_head_mm[0, 2] < 1500
    # five points of a neutral face: a broad smile lifts the corners of the mouth, and the chin
    for name, bound_deg in ((PNP_468_TURNED, 15), (PNP_5, 40), (PNP_5_TURNED, 40)):
        apart = geodesic_deg(poses[name].R_cam_from_head[0], one_pass.R_cam_from_head[0])
        assert 0 < apart < bound_deg, name
    again = geodesic_deg(poses[PNP_5].R_cam_from_head[0], poses[PNP_5_TURNED].R_cam_from_head[0])
    assert 0 < again < 10, "the second crop is another look at the same points"
