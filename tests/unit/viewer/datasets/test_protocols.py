"""Protocols by name: counts, subsets, and no list that was made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from viewer.datasets.protocols import BIWI_FRAMES, PROTOCOLS, protocol_subset
from viewer.datasets.source import DatasetError

KEYS = tuple(f"{s:02d}/frame_{n:05d}" for s in (1, 2) for n in range(3, 8))


def test_the_published_counts() -> None:
    assert PROTOCOLS["biwi-15678"].frames == sum(BIWI_FRAMES.values()) == 15_678
    assert PROTOCOLS["biwi-13219"].frames == 13_219
    assert (BIWI_FRAMES[5], BIWI_FRAMES[17], BIWI_FRAMES[24]) == (946, 395, 492)


def test_every_frame_is_a_protocol() -> None:
    subset = protocol_subset("biwi-15678", KEYS)
    assert subset.keys == KEYS and not subset.dropped and not subset.absent
    assert subset.notes == ("10 frames are here; the protocol has 15,678.",)
    full = [f"{s:02d}/frame_{n:05d}" for s, count in BIWI_FRAMES.items() for n in range(count)]
    assert not protocol_subset("biwi-15678", full).notes


def test_a_list_is_asked_for_and_then_used(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"13,219 frames, one a line, such as 01/frame_00003"):
        protocol_subset("biwi-13219", KEYS)
    path = tmp_path / "frames.txt"
    path.write_text("./02/frame_00004_rgb.png\n\n01/frame_00003\n01/frame_00900_rgb.jpg\n")
    subset = protocol_subset("biwi-13219", KEYS, path)
    assert subset.keys == ("01/frame_00003", "02/frame_00004")
    assert subset.absent == ("01/frame_00900",) and len(subset.dropped) == 8
    assert "3 frames are in the list; the protocol has 13,219." in subset.notes


@pytest.mark.parametrize(
    ("data", "reason"), [(b"\n \n", "names no"), (b"\xff\xfe\0", "no readable")]
)
def test_a_bad_list_is_named(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "frames.txt"
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=reason):
        protocol_subset("biwi-13219", KEYS, path)
    with pytest.raises(DatasetError, match="no readable list"):
        protocol_subset("biwi-13219", KEYS, tmp_path / "absent.txt")
    with pytest.raises(DatasetError, match="There is no protocol"):
        protocol_subset("biwi-1", KEYS)
