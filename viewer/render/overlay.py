"""What is drawn over a picture: box, axes, mesh, landmarks and label of each head.

`build_draw_list` is the one definition; `draw_overlay` paints it with OpenCV and the live view's
canvas paints the same list. Axes are drawn in perspective from R, t and K at the head's origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from models.estimator import HeadPose
from viewer.render.labels import label_text, placed_labels, plate_wh_px
from viewer.render.mesh_shapes import NEAR_M, drawable, project_px, shaded_mesh, wireframe
from viewer.render.painting import draw_overlay
from viewer.render.palette import AXIS_COLOURS, DARK, LIGHT, RGB, hex_colour, track_colour
from viewer.render.shapes import Dots, DrawList, Label, Segments, Shape, within_reach

__all__ = [
    "DrawList",
    "OverlayOptions",
    "build_draw_list",
    "draw_overlay",
    "label_text",
    "legend_html",
]

Array = np.ndarray

AXIS_LENGTH_M = 0.12
NAMED_AXES_FROM_PX = 100.0
"""Smaller faces have no room for the names of their axes."""


AXES_HEAD = {
    "x": np.array([1.0, 0.0, 0.0]),
    "up": np.array([0.0, -1.0, 0.0]),
    "nose": np.array([0.0, 0.0, -1.0]),
}

LANDMARK_LINES = (
    list(range(0, 17)),
    list(range(17, 22)),
    list(range(22, 27)),
    list(range(27, 31)),
    list(range(31, 36)),
    [*range(36, 42), 36],
    [*range(42, 48), 42],
    [*range(48, 60), 48],
    [*range(60, 68), 60],
)
"""iBUG's 68 points, joined as they are usually drawn."""


@dataclass(frozen=True)
class OverlayOptions:
    """What to draw of each head."""

    axes: bool = True
    box: bool = True
    mesh: Literal["none", "wireframe", "shaded"] = "none"
    landmarks: bool = False
    labels: bool = True


def build_draw_list(
    poses: Sequence[HeadPose],
    ids: Sequence[int],
    triangles: Int[Array, "f 3"],
    options: OverlayOptions,
    size_wh_px: tuple[int, int],
) -> DrawList:
    """Everything to be drawn over one picture, far heads first, labels on top of all.

    ids: a number for each head, which picks its colour. triangles: of the heads' mesh.
    A head whose numbers are not finite is left out; of one behind the camera only what is in front
    of it is drawn. Raises: ValueError if there is not one id for each head.
    """
    if len(ids) != len(poses):
        raise ValueError(f"{len(poses)} heads need as many ids, got {len(ids)}.")
    shapes: list[Shape] = []
    seen = [i for i, pose in enumerate(poses) if drawable(pose)]
    order = sorted(seen, key=lambda i: -poses[i].t_cam_from_head_mm[2])
    for i in order:
        shapes += _head(poses[i], track_colour(ids[i]), triangles, options, size_wh_px)
    if options.labels:
        front = [i for i in order if _in_front(poses[i])]
        if options.axes:
            shapes += [label for i in front for label in _axis_names(poses[i])]
        shapes += placed_labels([poses[i] for i in front], [ids[i] for i in front], size_wh_px)
    return DrawList(within_reach(shapes, size_wh_px), size_wh_px)


def _head(
    pose: HeadPose,
    colour: RGB,
    triangles: Int[Array, "f 3"],
    options: OverlayOptions,
    size_wh_px: tuple[int, int],
) -> list[Shape]:
    stroke = _stroke_px(pose, size_wh_px)
    shapes: list[Shape] = []
    if options.mesh == "wireframe":
        shapes += wireframe(pose, triangles, colour, max(0.6, 0.27 * stroke))
    elif options.mesh == "shaded":
        shapes += shaded_mesh(pose, triangles, colour)
    if options.landmarks:
        shapes += _landmarks(pose, stroke)
    if options.box and _in_front(pose):
        shapes += _box(pose, colour, stroke)
    if options.axes:
        shapes += _axes(pose, stroke)
    return shapes


def _in_front(pose: HeadPose) -> bool:
    return bool(pose.t_cam_from_head_mm[2] > NEAR_M * 1000.0)


def legend_html() -> str:
    """What the colours of the axes mean, as a line of HTML."""
    names = {"x": "x, subject's left", "up": "up", "nose": "nose direction"}
    items = "".join(
        f'<span style="white-space:nowrap;margin-right:1em"><span style="display:inline-block;'
        f"width:1.4em;height:.28em;border-radius:.14em;vertical-align:middle;margin-right:.4em;"
        f'background:{hex_colour(AXIS_COLOURS[key])}"></span>{text}</span>'
        for key, text in names.items()
    )
    return f'<div class="axis-legend">{items}</div>'


def _stroke_px(pose: HeadPose, size_wh_px: tuple[int, int]) -> float:
    """Width of an axis: grows with the face, but never vanishes in a large picture."""
    face_px = float(np.max(pose.box_xyxy_px[2:] - pose.box_xyxy_px[:2]))
    least = max(1.0, max(size_wh_px) / 1000)
    return float(np.clip(face_px / 55.0, least, max(24.0, least)))


def _segment(pose: HeadPose, start_m: Array, end_m: Array) -> Float[Array, "2 2"] | None:
    """Both ends in pixels, cut at the near plane; None if all of it is behind."""
    if max(start_m[2], end_m[2]) <= NEAR_M:
        return None
    ends = [start_m, end_m]
    for k in (0, 1):
        here, other = ends[k], ends[1 - k]
        if here[2] < NEAR_M:
            ends[k] = here + (other - here) * (NEAR_M - here[2]) / (other[2] - here[2])
    return project_px(pose, np.stack(ends))


def _axes(pose: HeadPose, stroke: float) -> list[Shape]:
    """Three arrows; those that point away from the camera are painted first."""
    origin_m = pose.t_cam_from_head_mm / 1000.0
    tips_m = {
        name: origin_m + AXIS_LENGTH_M * pose.R_cam_from_head @ axis
        for name, axis in AXES_HEAD.items()
    }
    shapes: list[Shape] = []
    for name in sorted(tips_m, key=lambda name: -tips_m[name][2]):
        shaft = _segment(pose, origin_m, tips_m[name])
        if shaft is None:
            continue
        arrow = _arrow(shaft, stroke)
        shapes.append(Segments(arrow, DARK, stroke * 1.9, 0.55))
        shapes.append(Segments(arrow, AXIS_COLOURS[name], stroke))
    if _in_front(pose):
        centre = project_px(pose, origin_m[None])
        shapes += [Dots(centre, DARK, stroke * 1.3, 0.7), Dots(centre, LIGHT, stroke * 0.8)]
    return shapes


def _axis_names(pose: HeadPose) -> list[Label]:
    """A small plate beyond each arrow's tip; an arrow too short to see where it points has none."""
    face_px = float(np.max(pose.box_xyxy_px[2:] - pose.box_xyxy_px[:2]))
    if face_px < NAMED_AXES_FROM_PX:
        return []
    height = float(np.clip(0.07 * face_px, 9.0, 44.0))
    origin_m = pose.t_cam_from_head_mm / 1000.0
    labels = []
    for name, axis in AXES_HEAD.items():
        shaft = _segment(pose, origin_m, origin_m + AXIS_LENGTH_M * pose.R_cam_from_head @ axis)
        if shaft is None or np.hypot(*(shaft[1] - shaft[0])) < 0.25 * face_px:
            continue
        along = (shaft[1] - shaft[0]) / np.hypot(*(shaft[1] - shaft[0]))
        width, plate_height = plate_wh_px(name, height)
        middle = shaft[1] + along * (0.55 * np.hypot(width, plate_height))
        x_px, y_px = middle - [width / 2, -plate_height / 2]
        labels.append(Label(float(x_px), float(y_px), name, height, AXIS_COLOURS[name]))
    return labels


def _arrow(shaft_px: Float[Array, "2 2"], stroke: float) -> Float[Array, "n 2 2"]:
    """Shaft and two barbs; an arrow that points at the camera has no room for barbs."""
    start, tip = shaft_px
    along = tip - start
    length = float(np.hypot(*along))
    if length < 3 * stroke:
        return shaft_px[None]
    unit = along / length
    across = np.array([-unit[1], unit[0]])
    barb = min(4.0 * stroke, 0.3 * length)
    barbs = [np.stack([tip, tip - unit * barb + side * across * barb * 0.5]) for side in (-1, 1)]
    return np.stack([shaft_px, *barbs])


def _box(pose: HeadPose, colour: tuple[int, int, int], stroke: float) -> list[Shape]:
    """A thin frame with strong corners around the mesh, a little wider than it."""
    left, top, right, bottom = pose.box_xyxy_px
    margin = 0.04 * max(right - left, bottom - top)
    low, high = np.array([left, top]) - margin, np.array([right, bottom]) + margin
    corners = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    frame = np.stack([corners, np.roll(corners, -1, 0)], 1)
    arm = 0.18 * float(min(high - low))
    strong = []
    for k in range(4):
        for other in (corners[k - 1], corners[(k + 1) % 4]):
            way = other - corners[k]
            strong.append([corners[k], corners[k] + way / max(np.hypot(*way), 1e-9) * arm])
    thin = max(1.0, 0.45 * stroke)
    return [
        Segments(frame, colour, thin, 0.45),
        Segments(np.array(strong), DARK, thin * 3.2, 0.4),
        Segments(np.array(strong), colour, thin * 1.9),
    ]


def _landmarks(pose: HeadPose, stroke: float) -> list[Shape]:
    points_m = pose.landmarks_68_cam_m()
    points, front = project_px(pose, points_m), points_m[:, 2] > NEAR_M
    lines = np.concatenate([np.stack([line[:-1], line[1:]], 1) for line in LANDMARK_LINES])
    return [
        Segments(points[lines[front[lines].all(1)]], LIGHT, max(0.7, 0.3 * stroke), 0.55),
        Dots(points[front], DARK, max(1.3, 0.62 * stroke), 0.6),
        Dots(points[front], LIGHT, max(0.9, 0.42 * stroke)),
    ]
