"""The CSV file of Epic's Live Link Face app: ARKit's expressions of one person, frame by frame.

Columns: Timecode (hours:minutes:seconds:frames.thousandths), BlendShapeCount (61), ARKit's 52
expressions from 0 to 1 with a capital first, then yaw, pitch and roll of the head and of both eyes
in radians, as the app streams them.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.geometry.rotations import ypr_arkit_from_matrix

Array = np.ndarray

_ARKIT_NAMES = """
EyeBlinkLeft EyeLookDownLeft EyeLookInLeft EyeLookOutLeft EyeLookUpLeft EyeSquintLeft
EyeWideLeft EyeBlinkRight EyeLookDownRight EyeLookInRight EyeLookOutRight EyeLookUpRight
EyeSquintRight EyeWideRight JawForward JawRight JawLeft JawOpen MouthClose MouthFunnel
MouthPucker MouthRight MouthLeft MouthSmileLeft MouthSmileRight MouthFrownLeft MouthFrownRight
MouthDimpleLeft MouthDimpleRight MouthStretchLeft MouthStretchRight MouthRollLower
MouthRollUpper MouthShrugLower MouthShrugUpper MouthPressLeft MouthPressRight MouthLowerDownLeft
MouthLowerDownRight MouthUpperUpLeft MouthUpperUpRight BrowDownLeft BrowDownRight BrowInnerUp
BrowOuterUpLeft BrowOuterUpRight CheekPuff CheekSquintLeft CheekSquintRight NoseSneerLeft
NoseSneerRight TongueOut
"""
ARKIT_COLUMNS = tuple(_ARKIT_NAMES.split())
TURN_COLUMNS = tuple(
    f"{part}{angle}"
    for part in ("Head", "LeftEye", "RightEye")
    for angle in ("Yaw", "Pitch", "Roll")
)
HEADER = ("Timecode", "BlendShapeCount", *ARKIT_COLUMNS, *TURN_COLUMNS)


class LiveLinkError(ValueError):
    """The head model has not ARKit's expressions."""


@dataclass(frozen=True)
class FaceMoment:
    """One person in one frame.

    turns: of the head before the camera, and of the left and the right eye in the head; axes x
        right, y up, z to the viewer.
    """

    time_s: float
    weights: Float[Array, "e"]
    turns: Float[Array, "3 3 3"]


def write_live_link_csv(
    path: Path, moments: Sequence[FaceMoment], names: Sequence[str], fps: float
) -> Path:
    """One row a frame. names: of the weights, as ARKit writes them. Raises: LiveLinkError."""
    places = {name[:1].upper() + name[1:]: k for k, name in enumerate(names)}
    missing = [name for name in ARKIT_COLUMNS if name not in places]
    if missing:
        raise LiveLinkError(
            f"The head model has no expression {missing[0]}, so there is no ARKit CSV of it."
        )
    order = [places[name] for name in ARKIT_COLUMNS]
    with path.open("w", newline="", encoding="ascii") as file:
        table = csv.writer(file)
        table.writerow(HEADER)
        for moment in moments:
            values = [*moment.weights[order].tolist(), *_turns_rad(moment)]
            row = [f"{value:.8f}" for value in values]
            table.writerow([timecode(moment.time_s, fps), len(row), *row])
    return path


def timecode(time_s: float, fps: float) -> str:
    """Hours, minutes, seconds, frame within the second, thousandths of a frame."""
    # rounded once, so that 0.9999999 s is second 1 and not frame 30 of second 0
    thousandths = round((time_s - math.floor(time_s)) * fps * 1000)
    seconds = math.floor(time_s)
    if thousandths >= round(fps * 1000):
        seconds, thousandths = seconds + 1, 0
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{clock}:{thousandths // 1000:02d}.{thousandths % 1000:03d}"


def _turns_rad(moment: FaceMoment) -> list[float]:
    """ARKit's Euler angles."""
    return [math.radians(angle) for R in moment.turns for angle in ypr_arkit_from_matrix(R)]
