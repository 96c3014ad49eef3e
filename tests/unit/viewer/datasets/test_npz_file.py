"""NumPy's files: arrays as NumPy reads them, no pickle, no bomb."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from viewer.datasets.npz_file import MAX_ARRAY_BYTES, read_npy, read_npz
from viewer.datasets.source import DatasetError


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def header(shape: str) -> bytes:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path: Path, save: object) -> None:
    arrays = {
        "f": np.arange(12.0).reshape(3, 4),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "scalar": np.array(3),
        "empty": np.zeros((0, 3)),
    }
    save(tmp_path / "a.npz", **arrays)
    found, pickled = read_npz(tmp_path / "a.npz")
    assert pickled == () and list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)


def test_a_pickle_is_named_and_not_opened(tmp_path: Path) -> None:
    bad = np.array([Hostile(tmp_path / "made")], object)
    np.savez(tmp_path / "a.npz", verts=np.eye(3), bad=bad)
    arrays, pickled = read_npz(tmp_path / "a.npz")
    assert list(arrays) == ["verts"] and pickled == ("bad",)
    np.save(tmp_path / "a.npy", bad, allow_pickle=True)
    with pytest.raises(DatasetError, match="a pickle, which may run code"):
        read_npy(tmp_path / "a.npy")
    assert not (tmp_path / "made").exists()


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("verts.npy", b"\0" * 40 * MAX_ARRAY_BYTES)
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(DatasetError, match=r"verts unpacks to \d+ bytes"):
        read_npz(path)
    assert tracemalloc.get_traced_memory()[1] < 4 * MAX_ARRAY_BYTES
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header("(1000000000000, 1000000)"), "0 bytes do not fit the shape"),
        (header("(-1, -8)") + b"\0" * 64, "do not fit the shape"),
        (header("(2,)") + b"\0" * 15, "15 bytes do not fit"),
        (header("(__import__('os').mkdir('x'),)"), "cannot be used"),
        (b"\x93NUMPY\x09\x00", "version"),
        (b"no array", "cannot be used"),
        (b"", "cannot be used"),
    ],
)
def test_hostile_headers_get_a_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"a\.npy cannot be used: .*|{reason}") as caught:
        read_npy(tmp_path / "a.npy")
    assert reason in str(caught.value)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("verts.npy", content)
    with pytest.raises(DatasetError, match=r"a\.npz cannot be used"):
        read_npz(tmp_path / "a.npz")


def test_damaged_archives_get_a_sentence(tmp_path: Path) -> None:
    whole = io.BytesIO()
    np.savez_compressed(whole, verts=np.random.default_rng(0).random((50, 3)))
    for content in (b"", b"PK\3\4", whole.getvalue()[:-30], whole.getvalue()[40:]):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(DatasetError, match=r"a\.npz cannot be used"):
            read_npz(tmp_path / "a.npz")
    with pytest.raises(DatasetError, match="is missing"):
        read_npz(tmp_path / "b.npz")
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        for n in range(70):
            archive.writestr(f"{n}.npy", b"")
    with pytest.raises(DatasetError, match="70 arrays"):
        read_npz(tmp_path / "c.npz")
