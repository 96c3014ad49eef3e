"""The checks of labels: names, limits and what each means. Loads neither cv2 nor torch."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass

LARGEST_SCORE = 1e6
"""Scores are cut here, so that every one of them is a finite number."""

FLAG_LIMIT = 0.5
"""Of checks whose score is 1 (found) or 0."""


@dataclass(frozen=True)
class Check:
    """One check of the label-error finder.

    name: in files and addresses. title: for the screen. limit: a score beyond it is a finding.
    higher_is_worse: False where small scores are findings.
    meaning: what a finding means and what to do.
    """

    name: str
    title: str
    unit: str
    limit: float
    higher_is_worse: bool
    meaning: str

    @property
    def is_flag(self) -> bool:
        """Whether the score only says yes or no."""
        return self.unit == "" and self.limit == FLAG_LIMIT

    def is_beyond(self, score: float) -> bool:
        """Whether a score is a finding."""
        return score > self.limit if self.higher_is_worse else score < self.limit

    def badness(self, score: float) -> float:
        """Grows as the label gets worse: for sorting."""
        return score if self.higher_is_worse else -score


def _flag(name: str, title: str, meaning: str) -> Check:
    return Check(name, title, "", FLAG_LIMIT, True, meaning)


_FILES = (
    _flag(
        "label_unreadable",
        "Label cannot be read",
        "The files of this label are damaged or incomplete. Fetch them again; training code that "
        "replaces such a row by another one hides the loss.",
    ),
    _flag(
        "picture_missing",
        "Picture is missing",
        "The label names a picture that is not there. Fetch the picture or drop the row.",
    ),
    _flag(
        "picture_unreadable",
        "Picture cannot be read",
        "The picture's bytes are cut off or no picture. Fetch the file again.",
    ),
    Check(
        "picture_size",
        "Picture of another size than its camera's",
        "%",
        0.0,
        True,
        "Width or height differ from the picture that the intrinsics belong to, so K does not hold "
        "for these pixels. Resize the picture back, or scale K with it.",
    ),
    Check(
        "unusual_size",
        "Picture of another size than the rest",
        "%",
        0.0,
        True,
        "Nearly all pictures of the data set have one size, this one has not: it was probably "
        "replaced or resized, and its pixel labels may not fit. Compare it with the original.",
    ),
)

_POSE = (
    Check(
        "rotation",
        "Rotation is no rotation",
        "",
        1e-3,
        True,
        "R has columns that are not of length one and at right angles, or a determinant that is "
        "not +1 (a mirrored or scaled axis). Read the file's layout again; the nearest rotation is "
        "what can be shown.",
    ),
    Check(
        "nose_sign",
        "Nose points to the other side",
        "eye-mouth distances",
        0.12,
        True,
        "The landmarks show the nose on one side of the face and the rotation turns it to the "
        "other: the yaw has the wrong sign, or the rotation is transposed, or the picture was "
        "mirrored and its label was not.",
    ),
    Check(
        "reprojection",
        "Landmarks miss their projection",
        "% of the face",
        6.0,
        True,
        "The 3D landmarks projected with the sample's own R, t and K are far from its 2D "
        "landmarks (RMS of the inner 51). Look for a translation of another frame, a K of another "
        "picture size, or points in another order.",
    ),
    Check(
        "box_iou",
        "Box is not on the head",
        "IoU",
        0.15,
        False,
        "Box and projected mesh hardly overlap: the box belongs to another face or to a picture of "
        "another size. Detect the face again or take the box of the mesh.",
    ),
    Check(
        "jump_deg",
        "Rotation jumps between frames",
        "deg per frame",
        10.0,
        True,
        "From one frame to the next the head turns faster than people do (gaps in the numbering "
        "are taken into account): the tracker that made the label slipped. Drop the frame or "
        "interpolate its neighbours.",
    ),
    Check(
        "jump_mm",
        "Position jumps between frames",
        "mm per frame",
        80.0,
        True,
        "From one frame to the next the head moves faster than people do (gaps in the numbering "
        "are taken into account): the tracker that made the label slipped. Drop the frame or "
        "interpolate its neighbours.",
    ),
    Check(
        "distance",
        "Distance is implausible",
        "x out of range",
        1.0,
        True,
        "The head is behind the camera or far outside the distances at which this data set was "
        "recorded: look for a flipped z axis (OpenGL against OpenCV) or metres taken for "
        "millimetres.",
    ),
    Check(
        "depth_mm",
        "Mesh is not on the depth",
        "mm",
        30.0,
        True,
        "The posed mesh and the measured depth lie apart (median over the face as seen): the pose "
        "slipped, or the calibration between depth and colour camera is another one.",
    ),
    Check(
        "model_deg",
        "Model disagrees",
        "deg",
        25.0,
        True,
        "The chosen model sees the head turned very differently. Either one can be wrong: look at "
        "the picture first, and at the model's other errors in this part of the range.",
    ),
)

_SETS = (
    _flag(
        "duplicate",
        "Same picture twice",
        "Another sample has exactly the same picture file. Keep one; if their labels differ, one "
        "of them is wrong.",
    ),
    Check(
        "near_duplicate",
        "Nearly the same picture",
        "% of bits differ",
        12.0,
        False,
        "A picture of another person or photo looks the same (perceptual hash): re-encoded, "
        "resized or brightened. Give both the same person so that no split cuts them apart, or "
        "keep one.",
    ),
    _flag(
        "split_person",
        "Person in two splits",
        "This person is in more than one split, so tests do not show how the model does on new "
        "people. Split by person.",
    ),
    _flag(
        "split_photo",
        "Photo in two splits",
        "Other views of the same photo (another k, or its mirror) are in another split. Split by "
        "photo.",
    ),
    Check(
        "flip_pose",
        "Mirrored twin has another pose",
        "deg",
        6.0,
        True,
        "The label of the picture's mirrored twin is not the mirror of this label (yaw and roll "
        "change their sign, pitch does not). One of the two is wrong.",
    ),
    Check(
        "flip_landmarks",
        "Mirrored twin has other landmarks",
        "% of the face",
        5.0,
        True,
        "The 68 landmarks of the mirrored twin, mirrored back and renumbered, are not these (RMS). "
        "One of the two files is wrong, or the points were not renumbered.",
    ),
    _flag(
        "shared_landmarks",
        "Views share their landmarks",
        "Views of one photo at different yaw have exactly the same 2D landmarks, which a known bad "
        "archive of mirrored files has. Fetch that archive again.",
    ),
)

_FITS = (
    Check(
        "betas_sd",
        "Shape is improbable",
        "sd",
        3.0,
        True,
        "A shape coefficient is more than 3 standard deviations from the mean: a failed fit, or "
        "coefficients of another model version. Compare mesh and registration.",
    ),
    Check(
        "jaw_deg",
        "Jaw is open in a neutral fit",
        "deg",
        3.0,
        True,
        "The fit is meant to be neutral and turns the jaw: its shape has taken up, or lost, an "
        "open mouth. Take another scan of this person.",
    ),
    Check(
        "expression_sd",
        "Expression in a neutral fit",
        "sd",
        1.0,
        True,
        "The fit is meant to be neutral and has an expression: part of the face's shape may be "
        "hidden in it. Take another scan of this person.",
    ),
)

CHECKS: tuple[Check, ...] = (*_FILES, *_POSE, *_SETS, *_FITS)
"""All, in the order of the report."""

CHECK_BY_NAME: Mapping[str, Check] = {check.name: check for check in CHECKS}


_PLACE_OF = {check.name: place for place, check in enumerate(CHECKS)}


class Scores(MutableMapping[str, float]):
    """Scores by the name of the check, in the quarter of a dictionary's room.

    A million samples have one each. Raises: KeyError for a name that is no check's.
    """

    __slots__ = ("_values",)

    def __init__(self, scores: Mapping[str, float]) -> None:
        self._values = array("d", [math.nan]) * len(CHECKS)
        self.update(scores)

    def __getitem__(self, name: str) -> float:
        value = self._values[_PLACE_OF[name]]
        if math.isnan(value):
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, score: float) -> None:
        self._values[_PLACE_OF[name]] = score

    def __delitem__(self, name: str) -> None:
        self[name] = math.nan

    def __iter__(self) -> Iterator[str]:
        return (c.name for c, v in zip(CHECKS, self._values, strict=True) if not math.isnan(v))

    def __len__(self) -> int:
        return sum(not math.isnan(value) for value in self._values)


def findings_of(scores: Mapping[str, float]) -> tuple[str, ...]:
    """Names of the checks whose score is beyond the limit, in the order of CHECKS."""
    return tuple(
        check.name
        for check in CHECKS
        if check.name in scores and check.is_beyond(scores[check.name])
    )


def number_text(score: float) -> str:
    """A score without its unit, short."""
    if not math.isfinite(score) or abs(score) >= LARGEST_SCORE:
        return "beyond any measure"
    if abs(score) < 1e-6:
        return "0"
    return f"{score:.0f}" if abs(score) >= 1000 else f"{score:.3g}"


def score_text(check: Check, score: float) -> str:
    """The number with its unit; "yes" or "no" for flags."""
    if check.is_flag:
        return "yes" if check.is_beyond(score) else "no"
    number = number_text(score)
    if not number[0].isdigit() or not check.unit:
        return number
    return f"{number}{'' if check.unit.startswith('%') else ' '}{check.unit}"


def sentence(check: Check, score: float) -> str:
    """What a score says about its sample, for a finding with what to do."""
    if not check.is_beyond(score):
        shown = "" if check.is_flag else f" ({score_text(check, score)})"
        return f"{check.title}: no{shown}."
    if check.is_flag:
        return f"{check.title}. {check.meaning}"
    side = "at most" if check.higher_is_worse else "at least"
    limit = score_text(check, check.limit)
    return f"{check.title}: {score_text(check, score)}, {side} {limit} is usual. {check.meaning}"
