"""MAT-files: the same as SciPy's reader gives, and nothing from damaged or hostile ones."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from viewer.datasets.mat_file import MAX_VARIABLE_BYTES, read_mat
from viewer.datasets.source import DatasetError

KINDS = ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")


@pytest.fixture
def variables() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {f"v_{kind}": (100 * rng.random((3, 5))).astype(kind) for kind in KINDS}
    return made | {
        "one": np.array([[7.5]]),
        "column": rng.random((199, 1)),
        "none": np.zeros((0, 0)),
    }


@pytest.mark.parametrize("compressed", [True, False])
def test_same_as_scipy(tmp_path: Path, variables: dict[str, np.ndarray], compressed: bool) -> None:
    path = tmp_path / "a.mat"
    savemat(path, variables, do_compression=compressed)
    ours, theirs = read_mat(path), loadmat(path)
    assert list(ours) == list(variables)
    for name, values in ours.items():
        assert values.dtype == theirs[name].dtype and np.array_equal(values, theirs[name])
    assert list(read_mat(path, frozenset({"one"}))) == ["one"]


def test_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    cell = np.empty((1, 2), object)
    cell[0] = ["a", np.eye(2)]
    savemat(path, {"text": "abc", "cell": cell, "z": np.array([1 + 2j]), "n": np.array([[1.0]])})
    assert list(read_mat(path)) == ["n"]


def test_real_files(shared_data: Path) -> None:
    paths = sorted((shared_data / "samples").glob("AFLW2000/*.mat"))
    paths += sorted((shared_data / "samples").glob("300W_LP/*/*.mat"))
    assert len(paths) == 4
    for path in paths:
        theirs = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
        ours = read_mat(path)
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[k], theirs[k]) for k in ours)


def _element(kind: int, body: bytes) -> bytes:
    return struct.pack("<2I", kind, len(body)) + body + b"\0" * (-len(body) % 8)


def _file(body: bytes) -> bytes:
    return b"MATLAB 5.0".ljust(124) + b"\0\1IM" + body


def _matrix(shape: tuple[int, int], data: bytes) -> bytes:
    return _element(
        14,
        _element(6, struct.pack("<2I", 6, 0))
        + _element(5, struct.pack("<2i", *shape))
        + _element(1, b"Pose_Para")
        + _element(9, data),
    )


BOMB = zlib.compress(_matrix((1, 8 * MAX_VARIABLE_BYTES), b"\0" * 8 * MAX_VARIABLE_BYTES))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "does not start"),
        (b"MATLAB 7.3 MAT-file".ljust(126) + b"\0\2", "does not start"),
        (_file(_matrix((1, 2**31 - 1), b"\0" * 16)), "has 2 numbers for the shape"),
        (_file(_matrix((-1, -2), b"\0" * 16)), "no numbers"),
        (_file(_matrix((1, 2), b"\0" * 16))[:-9], "cut short"),
        (_file(struct.pack("<2I", 15, len(BOMB)) + BOMB), "larger than 4 MiB"),
        (_file(_element(15, b"no zlib stream")), "incorrect header"),
        (b"\0" * (2 << 20), "larger than 1 MiB"),
    ],
)
def test_hostile_files_get_a_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"a\.mat is no MAT-file of labels: .*{reason}"):
        read_mat(path)


@given(at=st.integers(128, 3000), byte=st.integers(0, 255), end=st.integers(0, 4000))
def test_any_damage_is_a_dataset_error(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, end: int
) -> None:
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    savemat(path, {"Pose_Para": np.ones((1, 7)), "pt2d": np.arange(136.0).reshape(2, 68)})
    content = bytearray(path.read_bytes())
    content[min(at, len(content) - 1)] = byte
    path.write_bytes(content[: max(end, 100)])
    try:
        read_mat(path)
    except DatasetError:
        return


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a\.mat cannot be read: No such file"):
        read_mat(tmp_path / "a.mat")
