"""Where the labels of the heads stand: near their head, inside the picture, on nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from models.estimator import HeadPose
from viewer.render.palette import track_colour
from viewer.render.shapes import Label

Array = np.ndarray

PLATE_HEIGHT = 1.4
"""A plate's height over its letters'."""

MAX_WIDTH_IN_FACES = 3.4
"""A plate wider than this many faces would hide the neighbours: it says the number alone."""

MOST_OF_WIDTH = 0.036
"""Letters are at most so high, of the picture's width: a whole label then takes six tenths."""

EDGE_PX = 2.0


def label_text(pose: HeadPose, number: int) -> str:
    """Number, angles and distance on one line."""
    yaw, pitch, roll = pose.ypr_deg
    return (
        f"{number}  Y {yaw:+.0f}°  P {pitch:+.0f}°  R {roll:+.0f}°  {pose.distance_mm / 1000:.2f} m"
    )


def plate_wh_px(text: str, height_px: float) -> tuple[float, float]:
    """Room that a label takes; the letters' true width is a little less in every usual font."""
    return 0.52 * height_px * len(text) + height_px, PLATE_HEIGHT * height_px


def placed_labels(
    poses: Sequence[HeadPose], ids: Sequence[int], size_wh_px: tuple[int, int]
) -> list[Label]:
    """A plate for each head, near heads last. Near heads choose their place first."""
    order = sorted(range(len(poses)), key=lambda i: poses[i].distance_mm)
    boxes = np.array([pose.box_xyxy_px for pose in poses]).reshape(-1, 4)
    taken: list[Array] = []
    labels: list[Label] = []
    for i in order:
        face_px = float(np.max(boxes[i, 2:] - boxes[i, :2]))
        height = _height_px(face_px, size_wh_px)
        text = label_text(poses[i], ids[i])
        plate_wh = plate_wh_px(text, height)
        if plate_wh[0] > min(size_wh_px[0] - 2 * EDGE_PX, MAX_WIDTH_IN_FACES * face_px):
            text = str(ids[i])
            plate_wh = plate_wh_px(text, height)
        others = [*np.delete(boxes, i, 0)]
        plate = _best_place(boxes[i], plate_wh, size_wh_px, taken, others)
        taken.append(plate)
        labels.append(Label(plate[0], plate[3], text, height, track_colour(ids[i])))
    return labels[::-1]


def _height_px(face_px: float, size_wh_px: tuple[int, int]) -> float:
    """Letters grow with the face and the picture; small pictures get small, legible ones."""
    least = float(np.clip(0.03 * min(size_wh_px), 9.0, 13.0))
    most = min(56.0 * max(1.0, max(size_wh_px) / 2400), MOST_OF_WIDTH * size_wh_px[0])
    return float(np.clip(0.13 * face_px, least, max(least, most)))


def _best_place(
    box: Float[Array, "4"],
    plate_wh: tuple[float, float],
    size_wh_px: tuple[int, int],
    taken: Sequence[Array],
    others: Sequence[Array],
) -> Float[Array, "4"]:
    """The cheapest of some places around the box: hiding a label costs most, then a face.

    Below comes first: above, the up axis would run through the plate.
    """
    width, height = plate_wh
    margin = 0.04 * float(np.max(box[2:] - box[:2])) + 4
    step = height + 2
    rows = [box[3] + margin + height, box[1] - margin]
    rows += [rows[k % 2] + (-1 if k % 2 else 1) * step * (1 + k // 2) for k in range(6)]
    columns = [box[0] - margin + 4, box[2] + margin - 4 - width, (box[0] + box[2] - width) / 2]
    places = [(x, y) for y in rows for x in columns]
    places += [
        (x, (box[1] + box[3] + height) / 2) for x in (box[2] + margin, box[0] - margin - width)
    ]
    best, least = np.zeros(4), np.inf
    for rank, (x, y) in enumerate(places):
        x = float(np.clip(x, EDGE_PX, max(EDGE_PX, size_wh_px[0] - width - EDGE_PX)))
        y = float(np.clip(y, height, max(height, size_wh_px[1] - EDGE_PX)))
        plate = np.array([x, y - height, x + width, y])
        cost = (
            100.0 * sum(_covered(plate, other) > 0 for other in taken)
            + 20.0 * sum(_covered(plate, other) for other in others)
            + 6.0 * _covered(plate, box)
            + 0.1 * rank
        )
        if cost < least:
            best, least = plate, cost
        if cost <= 0.1 * rank:
            break
    return best


def _covered(plate: Float[Array, "4"], box: Float[Array, "4"]) -> float:
    """Part of the plate that lies on the box."""
    sides = np.minimum(plate[2:], box[2:]) - np.maximum(plate[:2], box[:2])
    if (sides <= 0).any():
        return 0.0
    return float(np.prod(sides) / np.prod(plate[2:] - plate[:2]))
