"""AFLW2000-3D: real samples where they are, an imitation elsewhere; the face model's formula."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.geometry.rotations import (
    GL_FROM_CV,
    matrix_from_ypr_300wlp,
    ypr_300wlp_from_matrix,
)
from tests.unit.viewer.datasets.test_three_hundred_w_lp import write_pair
from viewer.datasets.aflw2000 import AFLW_21, Aflw2000
from viewer.datasets.mat_file import read_mat
from viewer.datasets.source import DatasetError
from viewer.datasets.weak_perspective import (
    NO_MESH,
    WeakPose,
    holds_aflw2000,
    read_weak_pose,
)

RNG = np.random.default_rng(1)
POINTS = RNG.uniform(100, 300, (3, 68)).astype(np.float32)
AFLW = RNG.uniform(100, 300, (2, 21))
# hidden points as real files have them: both -1, or y turned over with the picture's 450 rows
AFLW[:, 12], AFLW[:, 16] = [-1, -1], [-1, 452]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, yaw_deg in ((2, 0.0), (4, 60.0), (6, -351.0)):
        pose = [0.0, np.radians(yaw_deg), 0.0]
        write_pair(tmp_path / f"image{number:05d}.jpg", pose, pt2d=AFLW, pt3d_68=POINTS)
    return tmp_path


def test_an_imitation_is_read(root: Path) -> None:
    dataset = Aflw2000(root)
    listing = dataset.list_samples()
    assert listing.keys == ("image00002", "image00004", "image00006") and not listing.problems
    assert dataset.list_samples(limit=1).keys == ("image00002",)
    detail = dataset.detail("image00002")
    sample = detail.sample
    assert (sample.dataset, sample.group) == ("aflw2000", "image00002")
    assert np.array_equal(sample.R_cam_from_head, np.eye(3)) and sample.camera is None
    assert np.allclose(sample.landmarks_68_px, POINTS[:2].T - 0.5)
    assert sample.box_xyxy_px.min() > 99, "no hidden point at -1"
    hidden = np.isnan(detail.points_px[AFLW_21])
    assert np.flatnonzero(hidden.all(1)).tolist() == [12, 16] and hidden.sum() == 4
    assert np.allclose(detail.points_px[AFLW_21][0], AFLW[:, 0] - 0.5)
    assert detail.notes == (NO_MESH,) and "image00002.mat: pt3d_68" in detail.raw
    assert holds_aflw2000(root)


def test_a_turn_too_many_is_the_same_rotation(root: Path) -> None:
    detail = Aflw2000(root).detail("image00006")
    assert np.allclose(
        detail.sample.R_cam_from_head, matrix_from_ypr_300wlp(9.0, 0.0, 0.0), atol=1e-6
    )
    _, note = detail.notes
    assert "-351.0, 0.0, 0.0 deg, beyond 99" in note and "is 9.0, " in note


def test_what_is_missing_is_named(root: Path) -> None:
    (root / "image00002.jpg").unlink()
    (root / "image00004.mat").unlink()
    listing = Aflw2000(root).list_samples()
    assert listing.keys == ("image00002", "image00006")
    assert [problem.file for problem in listing.problems] == ["image00002.jpg", "image00004.mat"]
    with pytest.raises(DatasetError, match="is no sample of"):
        Aflw2000(root).detail("image00004")
    write_pair(root / "image00008.jpg", [0.0, 0, 0], pt2d=AFLW)
    with pytest.raises(DatasetError, match=r"image00008\.mat: pt3d_68 must be 68"):
        Aflw2000(root).read("image00008")


@pytest.mark.parametrize(("key", "yaw", "pitch", "roll"), [("image00050", 0.94, -4.66, 5.64)])
def test_a_real_file(shared_data: Path, key: str, yaw: float, pitch: float, roll: float) -> None:
    detail = Aflw2000(shared_data / "samples" / "AFLW2000").detail(key)
    found = ypr_300wlp_from_matrix(detail.sample.R_cam_from_head)
    assert np.allclose(found, [yaw, pitch, roll], atol=0.006)
    assert detail.sample.read_image_rgb().shape == (450, 450, 3)
    # AFLW's outer corner of the right eye is iBUG's 36, labelled by other people
    apart = detail.points_px[AFLW_21][6] - detail.sample.landmarks_68_px[36]
    assert np.linalg.norm(apart) < 15


def test_a_real_hidden_point(shared_data: Path) -> None:
    points = Aflw2000(shared_data / "samples" / "AFLW2000").detail("image00081").points_px[AFLW_21]
    assert np.flatnonzero(np.isnan(points).any(1)).tolist() == [12], "stored as (-1, 452)"


def test_projection_against_scipy() -> None:
    pose = WeakPose(10.0, -40.0, 5.0, np.array([230.0, 210.0, -110.0]), 1.3e-3)
    X = RNG.normal(0, 8e4, (9, 3))
    R = Rotation.from_euler("XYZ", [-10, 40, -5], degrees=True).as_matrix()
    q = 1.3e-3 * X @ R.T + [230, 210, -110]
    px, depth = pose.project(X, 450)
    assert np.allclose(px, np.stack([q[:, 0] - 0.5, 450.5 - q[:, 1]], -1))
    assert np.allclose(depth, q[:, 2])


@dataclass(frozen=True)
class Rebuilt:
    """68 points of the Basel face model with a file's own parameters, and the file's pt3d_68.

    The slice of the model has 40 of the 199 shape and 10 of the 29 expression directions.
    """

    pose: WeakPose
    directions: np.ndarray
    mean: np.ndarray
    coefficients: np.ndarray
    omitted_expression: np.ndarray
    truth: np.ndarray

    def model(self, expressions: int = 10) -> np.ndarray:
        used = 40 + expressions
        return (self.mean + self.directions[:, :used] @ self.coefficients[:used]).reshape(68, 3)

    def off_px(self, expressions: int = 10) -> np.ndarray:
        px, _ = self.pose.project(self.model(expressions), 450)
        return px - (self.truth[:2].T - 0.5)


NAMES = ["image00050", "image00081", "image00430"]


@pytest.fixture(params=NAMES)
def rebuilt(shared_data: Path, request: pytest.FixtureRequest) -> Rebuilt:
    mean, shape, expression = (
        np.loadtxt(shared_data / "bfm68" / f"{file}.txt")
        for file in ("u_base", "w_shp_base", "w_exp_base")
    )
    mat = shared_data / "samples" / "AFLW2000" / f"{request.param}.mat"
    labels = read_mat(mat)
    return Rebuilt(
        read_weak_pose(labels, mat),
        np.concatenate([shape, expression], 1),
        mean,
        np.concatenate([labels["Shape_Para"][:40, 0], labels["Exp_Para"][:10, 0]]),
        labels["Exp_Para"][10:, 0],
        labels["pt3d_68"],
    )


def test_real_landmarks_are_rebuilt_from_the_face_model(rebuilt: Rebuilt) -> None:
    """Within 2 px in the mean of each face; in depth too, up to an offset."""
    assert np.linalg.norm(rebuilt.off_px(), axis=1).mean() < 2.0
    _, depth = rebuilt.pose.project(rebuilt.model(), 450)
    assert np.std(depth - rebuilt.truth[2]) < 2.0


def test_what_is_left_is_the_expression_that_the_slice_of_the_model_lacks(
    rebuilt: Rebuilt,
) -> None:
    """No other rotation, scale or shift fits better, and the rest has the size of the 19 missing
    expression directions: an expression coefficient moves the points by 2 to 3 px."""
    X, pose = rebuilt.model(), rebuilt.pose
    up = np.column_stack([rebuilt.truth[0], 451.0 - rebuilt.truth[1], rebuilt.truth[2]])
    R_bfm = GL_FROM_CV @ pose.matrix() @ GL_FROM_CV
    turn, _ = Rotation.align_vectors(up - up.mean(0), (X - X.mean(0)) @ R_bfm.T)
    assert np.degrees(turn.magnitude()) < 0.6
    R = turn.as_matrix() @ R_bfm
    turned = (X - X.mean(0)) @ R.T
    scale = (turned * (up - up.mean(0))).sum() / (turned**2).sum()
    assert scale / pose.scale_px == pytest.approx(1.0, abs=0.005)
    assert np.abs(rebuilt.off_px().mean(0)).max() < 0.7, "a pixel of shift would be seen"
    best = np.linalg.norm((scale * turned + up.mean(0) - up)[:, :2], axis=1)
    mean_px = np.linalg.norm(rebuilt.off_px(), axis=1).mean()
    assert mean_px - 0.1 < best.mean() <= mean_px
    a_direction = np.linalg.norm(rebuilt.directions[:, 40:], axis=0).mean() / np.sqrt(68)
    expected = a_direction * pose.scale_px * np.linalg.norm(rebuilt.omitted_expression)
    rms = np.sqrt((rebuilt.off_px() ** 2).sum(1).mean())
    assert 0.5 < rms / expected < 1.0
    with_fewer = [np.sqrt((rebuilt.off_px(n) ** 2).sum(1).mean()) for n in (0, 5, 10)]
    assert with_fewer == sorted(with_fewer, reverse=True) and with_fewer[0] > 1.8 * rms
