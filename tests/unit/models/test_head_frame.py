"""T_head_from_<model>: what the constants of models/weights.py are, and that they follow from
templates.

The alignment uses the 51 inner iBUG landmarks (brows, eyes, nose, mouth; the jaw line is a
silhouette in one template and fixed vertices in the other) and no photo.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.geometry.rotations import GL_FROM_CV, about_x, geodesic_deg
from models.safe_pickle import NUMPY_ARRAYS, read_pickle
from models.weights import MODELS, load_pose_model

INNER = np.arange(17, 68)


def rotation_onto(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares rotation of centred points (Kabsch 1976); a common scale does not change it."""
    U, _, Vt = np.linalg.svd((target - target.mean(0)).T @ (source - source.mean(0)))
    return U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt


@pytest.fixture(scope="module")
def bfm_68(shared_data: Path) -> np.ndarray:
    """Mean 68 landmarks of 300W-LP's face model, metres, our axes (its own: y up, z to the
    camera)."""
    return np.loadtxt(shared_data / "bfm68" / "u_base.txt").reshape(68, 3) / 1e6 @ GL_FROM_CV


@pytest.fixture(scope="module")
def arkit_68(shared_data: Path) -> np.ndarray:
    """The 68 landmark vertices of ARKit's mean face, metres, TRG's axes."""
    arrays = shared_data / "trg_arrays"
    face = np.asarray(read_pickle(arrays / "arkit_avg_face.pkl", NUMPY_ARRAYS), np.float64)
    return face[np.load(arrays / "kpt_ind.npy", allow_pickle=False)]


def canonical_68() -> np.ndarray:
    """The canonical face's landmarks in trg-mini's own frame, from the shipped weights file."""
    return load_pose_model("trg-mini", device="cpu").template_landmarks_68_m()


def check_pitch_only(T: np.ndarray, R_fitted: np.ndarray, tilt_deg: float) -> None:
    """T's rotation is the fit's tilt about x; what is left of the fit is not about x and small."""
    assert geodesic_deg(R_fitted, about_x(tilt_deg)) < 0.5
    assert geodesic_deg(T[:3, :3], about_x(tilt_deg)) < 0.01


@pytest.mark.parametrize("name", ["trg", "trg-multi"])
def test_released_frame(bfm_68: np.ndarray, arkit_68: np.ndarray, name: str) -> None:
    R = rotation_onto(arkit_68[INNER], bfm_68[INNER])
    tilt_deg = np.degrees(np.arctan2(R[2, 1], R[1, 1]))
    T = MODELS[name].T_head_from_model
    check_pitch_only(T, R, tilt_deg)
    assert np.abs(T[:3, 3]).max() == 0, "the origin of `head` is ARKit's face anchor, TRG's own"


def test_mini_frame(bfm_68: np.ndarray, arkit_68: np.ndarray) -> None:
    T = MODELS["trg-mini"].T_head_from_model
    flipped = canonical_68() @ GL_FROM_CV
    R = rotation_onto(flipped[INNER], bfm_68[INNER])
    tilt_deg = np.degrees(np.arctan2(R[2, 1], R[1, 1]))
    check_pitch_only(T @ np.diag([1, -1, -1, 1]), R, tilt_deg)
    arkit_head = arkit_68[INNER] @ MODELS["trg"].T_head_from_model[:3, :3].T
    ours_head = canonical_68()[INNER] @ T[:3, :3].T + T[:3, 3]
    offset_mm = (arkit_head.mean(0) - ours_head.mean(0)) * 1000
    assert np.abs(offset_mm).max() < 0.3, "landmark centroids coincide in `head`"
    assert T[0, 3] == 0, "no sideways offset: a mirrored face has the mirrored pose"
