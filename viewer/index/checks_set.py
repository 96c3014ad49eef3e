"""Checks that compare samples: neighbours, duplicates, splits, mirrored twins, views of a photo."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.geometry.rotations import MIRROR_X, geodesic_deg
from viewer.datasets.source import SampleDetail
from viewer.datasets.three_hundred_w_lp import FLIP, mirrored_68_px
from viewer.index.check_table import CHECK_BY_NAME, Scores
from viewer.index.checks_picture import PictureFacts, find_lookalikes
from viewer.index.checks_sample import face_side_px, size_difference_percent

Array = np.ndarray

NOT_FILMED = frozenset({"300w-lp", "aflw2000", "mica", "synthetic"})
"""Data sets whose sequences are views of one photo, or that have none."""

CLOCK_FRAMES = 100_000_000_000
"""Frame "numbers" from here on are milliseconds since 1970, as ARKitFace has them."""
CLOCK_STEP_MS = 1000.0 / 30.0

_LEAST_SIZES = 4
_ODD_SIZES = 0.1


@dataclass(frozen=True, slots=True)
class CheckRow:
    """What the comparisons need to know of a sample.

    image: which picture, as text: two samples of one picture are no duplicates.
    landmarks_68_px: of 300W-LP only, whose files come in views and mirrored twins; as the file of
        the picture has them, float32.
    picture_digest, picture_hash: `PictureFacts`' digest and hash_bits.
    """

    key: str
    dataset: str
    group: str
    split: str = ""
    subject: str = ""
    sequence: str = ""
    frame: int | None = None
    image: str = ""
    R_cam_from_head: Float[Array, "3 3"] | None = None
    t_cam_from_head_mm: Float[Array, "3"] | None = None
    landmarks_68_px: Float[Array, "68 2"] | None = None
    size_wh_px: tuple[int, int] | None = None
    picture_digest: bytes | None = None
    picture_hash: bytes | None = None


def check_row(detail: SampleDetail, facts: PictureFacts) -> CheckRow:
    """The row of a sample that was read."""
    sample = detail.sample
    landmarks = None
    if sample.dataset == "300w-lp":
        own = detail.points_px.get("pt2d")
        landmarks = own if own is not None and own.shape == (68, 2) else sample.landmarks_68_px
    return CheckRow(
        key=sample.key,
        dataset=sample.dataset,
        group=sample.group,
        split=sample.split,
        subject=sample.subject,
        sequence=sample.sequence,
        frame=sample.frame,
        image=str(sample.image) if isinstance(sample.image, Path) else sample.key,
        R_cam_from_head=sample.R_cam_from_head,
        t_cam_from_head_mm=sample.t_cam_from_head_mm,
        landmarks_68_px=None if landmarks is None else np.asarray(landmarks, np.float32),
        size_wh_px=facts.size_wh_px,
        picture_digest=facts.digest,
        picture_hash=facts.hash_bits,
    )


@dataclass
class SetFindings:
    """Scores by key and check; the other sample that a score is about; what is worth saying."""

    scores: dict[str, Scores] = field(default_factory=lambda: defaultdict(lambda: Scores({})))
    partners: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def put(self, row: CheckRow, check: str, score: float, partner: CheckRow | None) -> None:
        """Keeps the worst score that a sample has in a check."""
        known = self.scores[row.key].get(check)
        badness = CHECK_BY_NAME[check].badness
        if known is not None and badness(known) >= badness(score):
            return
        self.scores[row.key][check] = float(score)
        if partner is not None:
            self.partners[row.key, check] = partner.key


def set_findings(
    rows: Sequence[CheckRow], predicted: Mapping[str, Float[Array, "3 3"]] | None = None
) -> SetFindings:
    """The checks that look at several samples, or at a sample and what a model says of it.

    predicted: a model's R_cam_from_head by key.
    """
    found = SetFindings()
    _unusual_sizes(rows, found)
    _jumps(rows, found)
    _duplicates(rows, found)
    _near_duplicates(rows, found)
    _splits(rows, found)
    _twins(rows, found)
    _shared_landmarks(rows, found)
    _repeated_people(rows, found)
    _disagreements(rows, predicted or {}, found)
    return found


def _grouped(
    rows: Iterable[CheckRow], name_of: Callable[[CheckRow], Hashable | None]
) -> dict[Hashable, list[CheckRow]]:
    """Rows by name; those without one are left out."""
    groups: dict[Hashable, list[CheckRow]] = defaultdict(list)
    for row in rows:
        if (name := name_of(row)) is not None:
            groups[name].append(row)
    return groups


def _unusual_sizes(rows: Sequence[CheckRow], found: SetFindings) -> None:
    """Where all but a few pictures have one size."""
    sizes = Counter(row.size_wh_px for row in rows if row.size_wh_px is not None)
    total = sizes.total()
    if total < _LEAST_SIZES:
        return
    usual, count = sizes.most_common(1)[0]
    if total - count > max(1.0, _ODD_SIZES * total):
        return
    for row in rows:
        if row.size_wh_px is not None:
            score = size_difference_percent(row.size_wh_px, usual)
            found.put(row, "unusual_size", score, None)


def _jumps(rows: Sequence[CheckRow], found: SetFindings) -> None:
    """From each frame of a sequence to the next one that there is, per frame between them."""

    def sequence_of(row: CheckRow) -> Hashable | None:
        known = row.sequence and row.frame is not None and row.R_cam_from_head is not None
        is_film = row.dataset not in NOT_FILMED
        return (row.split, row.subject, row.sequence) if known and is_film else None

    for members in _grouped(rows, sequence_of).values():
        members.sort(key=lambda row: (row.frame, row.key))
        _jumps_of_sequence(members, found)


def _jumps_of_sequence(members: list[CheckRow], found: SetFindings) -> None:
    """A frame that leaves the path of its two neighbours is blamed alone, not the one behind it."""
    before: CheckRow | None = None
    for i, row in enumerate(members):
        if before is not None:
            turn, shift = _jump(before, row)
            after = members[i + 1] if i + 1 < len(members) else None
            back = None if after is None else _jump(before, after)
            is_off = _is_jump(turn, shift)
            found.put(row, "jump_deg", turn, before)
            if shift is not None:
                found.put(row, "jump_mm", shift, before)
            if is_off and back is not None and not _is_jump(*back):
                continue
        before = row


def _is_jump(turn_deg: float, shift_mm: float | None) -> bool:
    return CHECK_BY_NAME["jump_deg"].is_beyond(turn_deg) or (
        shift_mm is not None and CHECK_BY_NAME["jump_mm"].is_beyond(shift_mm)
    )


def _jump(a: CheckRow, b: CheckRow) -> tuple[float, float | None]:
    """Degrees and millimetres per frame."""
    gap = float(b.frame - a.frame)
    if a.frame >= CLOCK_FRAMES:
        gap /= CLOCK_STEP_MS
    gap = max(gap, 1.0)
    shift = None
    if a.t_cam_from_head_mm is not None and b.t_cam_from_head_mm is not None:
        shift = float(np.linalg.norm(b.t_cam_from_head_mm - a.t_cam_from_head_mm)) / gap
    return float(geodesic_deg(a.R_cam_from_head, b.R_cam_from_head)) / gap, shift


def _duplicates(rows: Sequence[CheckRow], found: SetFindings) -> None:
    """Two files with the same bytes."""
    for members in _grouped(rows, lambda row: row.picture_digest).values():
        if len({row.image for row in members}) < 2:
            for row in members:
                found.put(row, "duplicate", 0.0, None)
            continue
        for row in members:
            other = next(other for other in members if other.image != row.image)
            found.put(row, "duplicate", 1.0, other)


def _near_duplicates(rows: Sequence[CheckRow], found: SetFindings) -> None:
    """Pictures of different people or photos; neighbouring frames look alike by nature."""
    seen = [row for row in rows if row.picture_hash is not None]
    if len(seen) < 2:
        return
    hashes = np.frombuffer(b"".join(row.picture_hash for row in seen), np.uint8)
    number_of = {name: i for i, name in enumerate(dict.fromkeys(row.group for row in seen))}
    groups = np.array([number_of[row.group] for row in seen])
    alike = find_lookalikes(hashes.reshape(len(seen), -1), groups, _NEAR_WITHIN)
    if not alike.is_complete:
        found.notes.append(
            "So many pictures look alike that not every pair was compared: near duplicates may be "
            "missing from the list."
        )
    for i in np.flatnonzero(alike.partner >= 0):
        row, other = seen[i], seen[alike.partner[i]]
        if row.picture_digest != other.picture_digest:
            found.put(row, "near_duplicate", float(alike.differing[i]) * 100.0, other)


_NEAR_WITHIN = 0.2
"""Kept as a score; the check's limit says which ones are findings."""


def _splits(rows: Sequence[CheckRow], found: SetFindings) -> None:
    """People, or photos of 300W-LP, that a split cuts."""
    for members in _grouped(rows, lambda row: row.group or None).values():
        first_in = {row.split: row for row in reversed(members) if row.split}
        for row in members:
            if not row.split:
                continue
            check = "split_photo" if row.dataset == "300w-lp" else "split_person"
            other = next((o for split, o in first_in.items() if split != row.split), None)
            found.put(row, check, float(other is not None), other)


def _twins(rows: Sequence[CheckRow], found: SetFindings) -> None:
    """NAME_Flip/x beside NAME/x: the mirror of the one is the other."""
    by_key = {row.key: row for row in rows if row.dataset == "300w-lp"}
    for key, flipped in by_key.items():
        folder, _, stem = key.rpartition("/")
        row = by_key.get(f"{folder.removesuffix(FLIP)}/{stem}")
        if not folder.endswith(FLIP) or row is None:
            continue
        scores = {
            "flip_pose": _twin_pose(row, flipped),
            "flip_landmarks": _twin_marks(row, flipped),
        }
        for name, score in scores.items():
            if score is not None:
                found.put(row, name, score, flipped)
                found.put(flipped, name, score, row)


def _twin_pose(row: CheckRow, flipped: CheckRow) -> float | None:
    if row.R_cam_from_head is None or flipped.R_cam_from_head is None:
        return None
    mirrored = MIRROR_X @ flipped.R_cam_from_head @ MIRROR_X
    return float(geodesic_deg(row.R_cam_from_head, mirrored))


def _twin_marks(row: CheckRow, flipped: CheckRow) -> float | None:
    """RMS in % of the face."""
    size = row.size_wh_px or flipped.size_wh_px
    if row.landmarks_68_px is None or flipped.landmarks_68_px is None or size is None:
        return None
    points = np.asarray(row.landmarks_68_px, np.float64)
    back = mirrored_68_px(np.asarray(flipped.landmarks_68_px, np.float64), size[0])
    rms = float(np.sqrt(((points - back) ** 2).sum(1).mean()))
    return rms / face_side_px(points) * 100.0


def _shared_landmarks(rows: Sequence[CheckRow], found: SetFindings) -> None:
    """Views of one photo (its k) that have the same points to a hundredth of a pixel."""

    def photo_of(row: CheckRow) -> Hashable | None:
        folder, _, stem = row.key.rpartition("/")
        photo, _, view = stem.rpartition("_")
        is_view = row.landmarks_68_px is not None and photo and view.isdigit()
        return (folder, photo) if is_view else None

    for views in _grouped(rows, photo_of).values():
        if len(views) < 2:
            continue
        for same in _grouped(views, _landmark_digest).values():
            for row in same:
                other = next((o for o in same if o is not row), None)
                found.put(row, "shared_landmarks", float(other is not None), other)


def _landmark_digest(row: CheckRow) -> bytes:
    hundredths = np.rint(np.asarray(row.landmarks_68_px, np.float64) * 100.0).astype(np.int64)
    return hashlib.blake2b(hundredths.tobytes(), digest_size=16).digest()


def _disagreements(
    rows: Sequence[CheckRow], predicted: Mapping[str, Float[Array, "3 3"]], found: SetFindings
) -> None:
    for row in rows:
        R = predicted.get(row.key)
        if R is None or row.R_cam_from_head is None or not np.isfinite(row.R_cam_from_head).all():
            continue
        found.put(row, "model_deg", float(geodesic_deg(row.R_cam_from_head, R)), None)


def _repeated_people(rows: Sequence[CheckRow], found: SetFindings) -> None:
    """BIWI's people who sit in two sequences: a split by sequence would cut them."""
    for group, members in _grouped(rows, lambda row: row.group or None).items():
        sequences = sorted({row.sequence for row in members if row.sequence})
        if members[0].dataset == "biwi" and len(sequences) > 1:
            found.notes.append(
                f"Sequences {' and '.join(sequences)} show the same person ({group}): keep them "
                "in one split."
            )
