"""The CSV file of Epic's Live Link Face app: ARKit's expressions of one person, frame by frame.

Columns: Timecode (hours:minutes:seconds:frames.thousandths), BlendShapeCount (61), ARKit's 52
expressions from 0 to 1 with a capital first, then yaw, pitch and roll of the head and of both eyes
in radians. Yaw > 0 is to the subject's right, pitch > 0 down, roll > 0 the top of the head to the
subject's left; R = Rz(roll) Ry(yaw) Rx(pitch).

Header, unit, order and signs are those of the eyes in public recordings of the app, where they fit
to the fifth digit: an eye that EyeLookOutLeft turns has a negative yaw, one that EyeLookDown turns
a positive pitch, and roll is yaw times the tangent of pitch. Left is taken for the subject's left,
as ARKit documents it; no recording at hand shows a face beside its numbers. The head's columns are
0 in all of these, as the app writes them only when it is told to; that they follow the eyes' rule
is inferred (Epic's plug-in of Unreal 4 turns both alike, but into shares of 180 degrees).
Try one clip.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.geometry.rotations import GL_FROM_CV, ypr_opencv_from_matrix

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
LOOK_SIDE_RAD, LOOK_DOWN_RAD, LOOK_UP_RAD = 0.60, 0.61, 0.45
"""How far an eye is turned by a whole EyeLookIn or Out, Down and Up, in the app's recordings."""

HEADER = ("Timecode", "BlendShapeCount", *ARKIT_COLUMNS, *TURN_COLUMNS)


class LiveLinkError(ValueError):
    """The head model has not ARKit's expressions."""


@dataclass(frozen=True)
class FaceMoment:
    """One person in one frame.

    turns: of the head before the camera, and of the left and the right eye's joint in the head;
        axes x right, y up, z to the viewer. What the expressions say of the eyes comes on top.
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
            values = [*moment.weights[order].tolist(), *_turns_rad(moment, places)]
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


def _turns_rad(moment: FaceMoment, places: Mapping[str, int]) -> list[float]:
    """places: of the expressions among the weights."""
    angles = []
    for R in moment.turns:
        ypr = ypr_opencv_from_matrix(GL_FROM_CV @ R @ GL_FROM_CV)
        angles += [math.radians(ypr.yaw_deg), math.radians(ypr.pitch_deg)]
        angles.append(math.radians(ypr.roll_deg))
    for first, side, inwards in ((3, "Left", 1.0), (6, "Right", -1.0)):
        look = {
            way: float(moment.weights[places[f"EyeLook{way}{side}"]])
            for way in ("In", "Out", "Down", "Up")
        }
        angles[first] += inwards * LOOK_SIDE_RAD * (look["In"] - look["Out"])
        angles[first + 1] += LOOK_DOWN_RAD * look["Down"] - LOOK_UP_RAD * look["Up"]
    return angles
