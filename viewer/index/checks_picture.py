"""What the checks need to know of a picture, and the search for pictures that look the same.

The perceptual hash is 256 signs of the low frequencies of a 64 x 64 grey picture's cosine transform
(after Zauner 2010), so it does not change with brightness, contrast, size or encoding.
"""

from __future__ import annotations

import hashlib
import io
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image, UnidentifiedImageError

from viewer.datasets.sample import Sample

Array = np.ndarray

HASH_BITS = 256
LARGEST_PICTURE_PX = 100_000_000
LARGEST_FILE_BYTES = 200_000_000
FLAT_LEVELS = 4.0
"""Pictures whose grey levels vary less (standard deviation) have no hash: all look the same."""

_SIDE_PX = 64
_BANDS = 4
_BAND_BITS = 16
_CANDIDATE_BITS = 7
"""Pigeonhole: of 7 differing bits at most one falls into some one of 4 bands."""
_PAIRS_AT_ONCE = 1 << 20
_PAIRS_AT_MOST = 300_000_000

_ROWS, _COLUMNS = np.mgrid[:_SIDE_PX, :_SIDE_PX]
_ORDER = np.lexsort((_ROWS.ravel(), (_ROWS + _COLUMNS).ravel()))[1 : HASH_BITS + 1]
"""Frequencies from low to high along the diagonals, without the mean."""

PictureProblem = Literal["", "picture_missing", "picture_unreadable"]


@dataclass(frozen=True)
class PictureFacts:
    """A picture without its pixels. problem: the check that it fails; reason: a sentence.

    digest: of the encoded bytes. hash_bits: perceptual; None for a flat picture.
    A sample without a picture has all of it empty.
    """

    size_wh_px: tuple[int, int] | None = None
    digest: bytes | None = None
    hash_bits: bytes | None = None
    problem: PictureProblem = ""
    reason: str = ""


def picture_facts(sample: Sample) -> PictureFacts:
    """Reads a sample's picture: the whole of it, so that a cut-off file is noticed."""
    encoded = sample.image
    if encoded is None:
        return PictureFacts()
    if isinstance(encoded, Path):
        try:
            encoded = _file_bytes(encoded)
        except FileNotFoundError:
            return PictureFacts(problem="picture_missing", reason="There is no such file.")
        except OSError as error:
            reason = error.strerror or str(error)
            return PictureFacts(problem="picture_unreadable", reason=f"{reason}.")
    digest = hashlib.blake2b(encoded, digest_size=12).digest()
    try:
        size_wh_px, grey = _small_grey(encoded)
    except _UnusableError as error:
        return PictureFacts(digest=digest, problem="picture_unreadable", reason=str(error))
    return PictureFacts(size_wh_px, digest, perceptual_hash(grey))


class _UnusableError(Exception):
    """The bytes give no picture; the message says why."""


def _file_bytes(path: Path) -> bytes:
    """Of an ordinary file of a sensible size; a named pipe would block for ever."""
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(None, "It is no ordinary file")
    if facts.st_size > LARGEST_FILE_BYTES:
        raise OSError(None, f"It has {facts.st_size} bytes")
    return path.read_bytes()


def _small_grey(encoded: bytes) -> tuple[tuple[int, int], UInt8[Array, "h w"]]:
    """The picture's size and the picture made small while it is decoded.

    Raises: _UnusableError.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            width, height = picture.size
            if width * height > LARGEST_PICTURE_PX:
                raise _UnusableError(f"It claims to have {width} x {height} pixels.")
            picture.draft("L", (2 * _SIDE_PX, 2 * _SIDE_PX))
            grey = np.asarray(picture.convert("L"))
    except UnidentifiedImageError as error:
        raise _UnusableError(f"Its {len(encoded)} bytes are no picture.") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise _UnusableError(f"The picture is not whole: {error}.") from error
    return (int(width), int(height)), grey


def perceptual_hash(grey: UInt8[Array, "h w"]) -> bytes | None:
    """HASH_BITS bits of a grey picture of any size; None if there is nothing to see in it."""
    small = cv2.resize(grey, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    levels = small.astype(np.float32)
    if levels.std() < FLAT_LEVELS:
        return None
    signs = cv2.dct(levels - levels.mean()).ravel()[_ORDER] > 0
    return np.packbits(signs).tobytes()


@dataclass(frozen=True)
class Lookalikes:
    """For each picture the nearest one of another group.

    differing: share of hash bits that differ, 0 to 1; NaN where none is near. partner: its number,
    -1 where none. is_complete: False if there were too many pairs to look at all.
    """

    differing: Float[Array, "n"]
    partner: Int[Array, "n"]
    is_complete: bool = True


def find_lookalikes(
    hashes: UInt8[Array, "n 32"], groups: Int[Array, "n"], within: float
) -> Lookalikes:
    """The nearest picture of another group, where no more than `within` of the bits differ.

    Candidates differ in at most 7 of the first 64 bits. These are four bands of 16, so a pair has
    a band with at most one differing bit: pictures are sorted by band, and each looks in 17 places.
    """
    distinct, copy_of = np.unique(hashes, axis=0, return_inverse=True)
    copy_of = copy_of.reshape(-1)
    best = np.full(len(hashes), HASH_BITS + 1, np.int64)
    partner = np.full(len(hashes), -1, np.int64)
    _match_equal(copy_of, groups, best, partner)
    first = np.zeros(len(distinct), np.int64)
    first[copy_of[::-1]] = np.arange(len(hashes))[::-1]
    pairs_left = _PAIRS_AT_MOST
    near, near_partner = best[first], partner[first]
    words = np.ascontiguousarray(distinct[:, :8]).view(">u2").astype(np.int64)
    for band in range(_BANDS):
        for left, right in _pairs_of_band(words[:, band], groups[first]):
            pairs_left -= len(left)
            if pairs_left < 0:
                break
            _take_nearest(distinct, left, right, groups[first], near, near_partner, first)
    is_better = near[copy_of] < best
    best[is_better] = near[copy_of][is_better]
    partner[is_better] = near_partner[copy_of][is_better]
    seen = best <= within * HASH_BITS
    return Lookalikes(
        np.where(seen, best / HASH_BITS, np.nan), np.where(seen, partner, -1), pairs_left >= 0
    )


def _match_equal(
    copy_of: Int[Array, "n"], groups: Int[Array, "n"], best: Array, partner: Array
) -> None:
    """Pictures with equal hashes and of different groups are partners at distance 0."""
    order = np.lexsort((groups, copy_of))
    starts = np.flatnonzero(np.diff(copy_of[order], prepend=-1))
    ends = np.append(starts[1:], len(order))
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
        members = order[start:end]
        low, high = members[0], members[-1]
        if groups[low] == groups[high]:
            continue
        best[members] = 0
        partner[members] = np.where(groups[members] == groups[low], high, low)


def _pairs_of_band(
    values: Int[Array, "d"], groups: Int[Array, "d"]
) -> Iterator[tuple[Int[Array, "p"], Int[Array, "p"]]]:
    """Pairs whose values differ in no or one bit, in pieces; not those of buckets of one group."""
    order = np.argsort(values, kind="stable")
    sorted_values = values[order]
    only_group = _only_group(sorted_values, groups[order])
    for mask in (0, *(1 << bit for bit in range(_BAND_BITS))):
        wanted = sorted_values ^ mask
        low = np.searchsorted(sorted_values, wanted, "left")
        high = np.searchsorted(sorted_values, wanted, "right")
        there = np.minimum(low, len(order) - 1)
        same = (only_group >= 0) & (only_group == only_group[there])
        if mask == 0:
            low = np.arange(1, len(order) + 1)
        counts = np.where(same | (sorted_values > wanted), 0, high - low)
        ends = np.cumsum(counts)
        begin = 0
        while begin < len(order):
            done = ends[begin - 1] if begin else 0
            end = max(begin + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, "right")))
            piece = counts[begin:end]
            if total := int(piece.sum()):
                left = np.repeat(np.arange(begin, end), piece)
                offset = np.arange(total) - np.repeat(np.cumsum(piece) - piece, piece)
                yield order[left], order[np.repeat(low[begin:end], piece) + offset]
            begin = end


def _only_group(sorted_values: Int[Array, "d"], groups: Int[Array, "d"]) -> Int[Array, "d"]:
    """For each item the group of all items with its value, or -1 where there are several."""
    starts = np.flatnonzero(np.diff(sorted_values, prepend=-1))
    low = np.minimum.reduceat(groups, starts)
    high = np.maximum.reduceat(groups, starts)
    sizes = np.diff(np.append(starts, len(sorted_values)))
    return np.repeat(np.where(low == high, low, -1), sizes)


def _take_nearest(
    distinct: UInt8[Array, "d 32"],
    left: Int[Array, "p"],
    right: Int[Array, "p"],
    groups: Int[Array, "d"],
    near: Array,
    near_partner: Array,
    first: Int[Array, "d"],
) -> None:
    """Keeps the nearest partner of every picture among the pairs."""
    keep: Bool[Array, "p"] = (groups[left] != groups[right]) & (left != right)
    left, right = left[keep], right[keep]
    differing = distinct[left, :8] ^ distinct[right, :8]
    keep = np.bitwise_count(differing).sum(1) <= _CANDIDATE_BITS
    left, right = left[keep], right[keep]
    bits = np.bitwise_count(distinct[left] ^ distinct[right]).sum(1, dtype=np.int64)
    order = np.argsort(-bits, kind="stable")
    for a, b in ((left[order], right[order]), (right[order], left[order])):
        is_better = bits[order] < near[a]
        near[a[is_better]] = bits[order][is_better]
        near_partner[a[is_better]] = first[b[is_better]]
