"""What is drawn over a picture of results: the renderer's draw list with this page's labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from demo_app.actions.face_numbers import FaceNumbers, Neutrals, face_numbers
from demo_app.actions.options import PoseOptions
from demo_app.inference.records import FacePose
from viewer.render.labels import plate_wh_px
from viewer.render.overlay import build_draw_list, label_text
from viewer.render.shapes import DrawList, Label, Shape

Array = np.ndarray


def draw_list_of(
    faces: Sequence[FacePose],
    triangles: Array,
    options: PoseOptions,
    neutrals: Neutrals,
    size_wh_px: tuple[int, int],
) -> DrawList:
    """What the switches ask for; labels say the same numbers as the table."""
    draw_list = build_draw_list(
        [face.pose for face in faces],
        [face.track_id for face in faces],
        triangles,
        options.overlay(),
        size_wh_px,
    )
    convention = options.shown_convention()
    texts = {
        label_text(face.pose, face.track_id): _label(face_numbers(face, convention, neutrals))
        for face in faces
    }
    return _relabelled(draw_list, texts)


def _label(row: FaceNumbers) -> str:
    return (
        f"{row.track_id}  Y {row.yaw_deg:+.0f}°  P {row.pitch_deg:+.0f}°  R {row.roll_deg:+.0f}°"
        f"  {row.distance_mm / 1000:.2f} m"
    )


def _relabelled(draw_list: DrawList, texts: Mapping[str, str]) -> DrawList:
    shapes = tuple(
        replace(shape, text=texts.get(shape.text, shape.text))
        if isinstance(shape, Label)
        else shape
        for shape in draw_list.shapes
    )
    return DrawList(shapes, draw_list.size_wh_px)


def mirrored(draw_list: DrawList) -> DrawList:
    """The same over the mirrored picture; labels stay readable and say the same."""
    width = draw_list.size_wh_px[0]
    return DrawList(
        tuple(_mirrored_shape(shape, width) for shape in draw_list.shapes), draw_list.size_wh_px
    )


def _mirrored_shape(shape: Shape, width_px: int) -> Shape:
    if isinstance(shape, Label):
        plate_px, _ = plate_wh_px(shape.text, shape.height_px)
        x_px = float(np.clip(width_px - shape.x_px - plate_px, 2, max(2.0, width_px - plate_px)))
        return replace(shape, x_px=x_px)
    return replace(shape, points_px=shape.points_px * [-1, 1] + [width_px, 0])
