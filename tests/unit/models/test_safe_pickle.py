"""The only unpickler: what it reads, and what it refuses without running it."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from models.safe_pickle import MAX_PICKLE_BYTES, NUMPY_ARRAYS, PLAIN, UnsafePickleError, read_pickle


class RunsAProgram:
    """Unpickling it makes a file appear."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"echo hacked > '{self.marker}'",)


def write(path: Path, value: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_come_back(tmp_path: Path, protocol: int) -> None:
    value = {
        "ids": [1, 2],
        "faces": np.arange(6, dtype=np.uint32).reshape(2, 3),
        "n": np.float32(2),
    }
    back = read_pickle(write(tmp_path / "a.pkl", value, protocol), NUMPY_ARRAYS)
    assert back["ids"] == [1, 2] and back["n"] == 2
    assert np.array_equal(back["faces"], value["faces"]) and back["faces"].dtype == np.uint32


def test_arrays_written_by_numpy_1_come_back(tmp_path: Path) -> None:
    data = pickle.dumps({"a": np.arange(3.0)}, 2).replace(b"numpy._core", b"numpy.core")
    assert b"numpy.core.multiarray" in data
    (tmp_path / "a.pkl").write_bytes(data)
    back = read_pickle(tmp_path / "a.pkl", NUMPY_ARRAYS)
    assert np.array_equal(back["a"], np.arange(3.0))


def test_the_released_file_is_read(shared_data: Path) -> None:
    arrays = shared_data / "trg_arrays"
    table = read_pickle(arrays / "arkit_subsample.pkl", NUMPY_ARRAYS)
    assert table["1220_to_305"] == np.load(arrays / "trg_idx_1220_to_305.npy").tolist()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("allowed", [PLAIN, NUMPY_ARRAYS])
def test_code_is_refused_and_not_run(
    tmp_path: Path, allowed: frozenset[str], protocol: int
) -> None:
    marker = tmp_path / "marker"
    path = write(tmp_path / "a.pkl", {"ok": 1, "bad": RunsAProgram(marker)}, protocol)
    with pytest.raises(UnsafePickleError, match=r"a\.pkl was not opened.*system") as caught:
        read_pickle(path, allowed)
    assert "\n" not in str(caught.value)
    assert not marker.exists()
    with path.open("rb") as file:
        pickle.load(file)
    assert marker.exists(), "the file is hostile indeed"


def test_each_caller_has_its_own_list(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pkl", OrderedDict(a=1))
    with pytest.raises(UnsafePickleError, match=r"collections\.OrderedDict"):
        read_pickle(path, NUMPY_ARRAYS)
    assert read_pickle(path, frozenset({"collections.OrderedDict"})) == {"a": 1}


def test_attributes_of_what_is_allowed_are_not(tmp_path: Path) -> None:
    """Protocol 4 can name `ndarray.tofile` of an allowed module."""
    path = write(tmp_path / "a.pkl", np.ndarray.tofile)
    with pytest.raises(UnsafePickleError):
        read_pickle(path, NUMPY_ARRAYS)


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html><html>", b"\x80\x04\x95", b"cos\nsystem"]
)
def test_what_is_no_pickle_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(UnsafePickleError, match=r"a\.pkl"):
        read_pickle(path, NUMPY_ARRAYS)


def test_every_cut_of_a_good_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pkl", {"a": np.arange(4), "b": ["x", 1.5]})
    data = path.read_bytes()
    for n in range(len(data)):
        path.write_bytes(data[:n])
        with pytest.raises(UnsafePickleError):
            read_pickle(path, NUMPY_ARRAYS)


def test_array_types_and_orders_come_back(tmp_path: Path) -> None:
    values = [
        np.arange(6).reshape(2, 3).astype(dtype)
        for dtype in ("<f8", ">f4", "i1", "u8", "c16", "?", "O", "S3", "U2", "f2")
    ]
    values += [np.asfortranarray(values[0]), np.array(3.5)]
    for protocol in (2, 4, 5):
        back = read_pickle(write(tmp_path / "a.pkl", values, protocol), NUMPY_ARRAYS)
        expected = pickle.loads(pickle.dumps(values, protocol))
        for a, b in zip(back, expected, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)


def test_arrays_of_python_2_come_back(tmp_path: Path) -> None:
    data = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02u2K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x04\xff\x00\x01\x02tb."
    )
    (tmp_path / "a.pkl").write_bytes(data)
    back = read_pickle(tmp_path / "a.pkl", NUMPY_ARRAYS, encoding="latin1")
    assert back.tolist() == [255, 513]


class FilledWith:
    """Pickles as an array of shape (100,) with other content."""

    def __init__(self, dtype: np.dtype, data: object) -> None:
        self.state = (1, (100,), dtype, False, data)

    def __reduce__(self):
        return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), self.state


@pytest.mark.parametrize(
    "bad",
    [
        FilledWith(np.dtype("f8"), b"\0" * 8),
        FilledWith(np.dtype("O"), [1]),
        FilledWith(np.dtype("O"), b"\0" * 800),
        FilledWith(np.dtype("f8"), [1.0] * 100),
        np.zeros(3, [("x", "f4")]),
        np.dtype("M8[D]"),
    ],
)
def test_arrays_whose_content_does_not_fit_are_refused(tmp_path: Path, bad: object) -> None:
    with pytest.raises(UnsafePickleError, match="was not opened"):
        read_pickle(write(tmp_path / "a.pkl", bad), NUMPY_ARRAYS)


def _many_arrays_of_one_text(size: int, count: int, python: int) -> bytes:
    """`count` arrays, each filled with the same text of `size` bytes, which the file has once."""
    length = size.to_bytes(4, "little")
    text = b"T" + length + b"\x80" * size if python == 2 else b"B" + length + b"\x80" * size
    head = b"\x80\x03" + text + b"q\x00" + b"cnumpy.core.multiarray\n_reconstruct\nq\x01"
    head += b"cnumpy\nndarray\nq\x02cnumpy\ndtype\n" + b"X\x02\0\0\0u1\x85R"
    head += b"(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbq\x03"
    one = b"h\x01h\x02K\x00\x85C\x01b\x87R(K\x01J" + length + b"\x85h\x03\x89h\x00tb"
    return head + b"](" + one * count + b"e."


@pytest.mark.parametrize("python", [2, 3])
def test_one_text_for_many_arrays_does_not_fill_the_memory(tmp_path: Path, python: int) -> None:
    path, size = tmp_path / "a.pkl", 1 << 20
    path.write_bytes(_many_arrays_of_one_text(size, 2, python))
    both = read_pickle(path, NUMPY_ARRAYS, encoding="latin1")
    assert [one.nbytes for one in both] == [size, size] and (both[1] == 0x80).all()
    path.write_bytes(_many_arrays_of_one_text(size, 3000, python))
    tracemalloc.start()
    with pytest.raises(UnsafePickleError, match="arrays of more bytes than the file has"):
        read_pickle(path, NUMPY_ARRAYS, encoding="latin1")
    assert tracemalloc.get_traced_memory()[1] < 16 * size
    tracemalloc.stop()


def test_larger_files_are_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    with path.open("wb") as file:
        file.truncate(MAX_PICKLE_BYTES + 1)
    with pytest.raises(UnsafePickleError, match="larger than 512 MiB"):
        read_pickle(path, NUMPY_ARRAYS)


def test_outside_references_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"Psomewhere\n.")
    with pytest.raises(UnsafePickleError, match="outside"):
        read_pickle(tmp_path / "a.pkl", NUMPY_ARRAYS)
