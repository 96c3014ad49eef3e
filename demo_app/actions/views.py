"""A frame of results as what the page shows: picture, table, 3D figure, matrix and code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from demo_app.actions.drawing import draw_list_of, mirrored
from demo_app.actions.face_numbers import FaceNumbers, Neutrals, face_numbers
from demo_app.actions.head_drawing import beside_heads, draw_full_heads, meshes_shown
from demo_app.actions.options import FULL_HEAD, PoseOptions
from demo_app.actions.results import ShownFrame
from demo_app.inference.export import atomic_file
from demo_app.inference.records import FacePose
from models.estimator import HeadPose
from models.geometry.cameras import Camera
from models.geometry.conventions import Convention
from viewer.render.mesh_figure import build_heads_figure
from viewer.render.overlay import draw_overlay
from viewer.render.palette import AXIS_COLOURS, LIGHT, hex_colour, track_colour

Array = np.ndarray

MAX_PREVIEW_SIDE_PX = 1600
JPEG_QUALITY = 93
AXIS_WORDS = {"x": "x, to the person's left", "up": "up", "nose": "where the nose points"}


def annotated_image(
    shown: ShownFrame, options: PoseOptions, neutrals: Neutrals
) -> UInt8[Array, "h w 3"]:
    """The picture in its own size with what the switches ask for."""
    result, left = shown.result, beside_heads(shown, options)
    drawn = draw_list_of(result.faces, shown.triangles, left, neutrals, result.camera.size_wh_px)
    return draw_overlay(draw_full_heads(shown.image_rgb, shown, result.camera), drawn)


def preview_image(
    shown: ShownFrame, options: PoseOptions, neutrals: Neutrals
) -> UInt8[Array, "h w 3"]:
    """The same in the size of a screen, and mirrored when that is asked for."""
    image_rgb, full = shown.image_rgb, shown.result.camera
    faces, camera = shown.result.faces, full
    scale = min(1.0, MAX_PREVIEW_SIDE_PX / max(full.size_wh_px))
    if scale < 1.0:
        camera = full.resized(tuple(max(1, round(side * scale)) for side in full.size_wh_px))
        image_rgb = cv2.resize(image_rgb, camera.size_wh_px, interpolation=cv2.INTER_AREA)
        faces = [replace(face, pose=_in_camera(face.pose, camera, full)) for face in faces]
    image_rgb = draw_full_heads(image_rgb, shown, camera)
    left = beside_heads(shown, options)
    drawn = draw_list_of(faces, shown.triangles, left, neutrals, camera.size_wh_px)
    if options.mirror:
        image_rgb, drawn = np.ascontiguousarray(image_rgb[:, ::-1]), mirrored(drawn)
    return draw_overlay(image_rgb, drawn)


def _in_camera(pose: HeadPose, camera: Camera, full: Camera) -> HeadPose:
    """The same pose in the same picture of another size."""
    scale = np.array(camera.size_wh_px, np.float64) / full.size_wh_px
    return replace(
        pose,
        K_image_from_cam=camera.K_image_from_cam,
        box_xyxy_px=pose.box_xyxy_px * np.tile(scale, 2),
    )


def write_jpeg(image_rgb: UInt8[Array, "h w 3"], path: Path) -> Path:
    """The picture as JPEG, whole or not at all. Raises: OSError."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), settings)
    with atomic_file(path) as file:
        file.write(data.tobytes())
    return path


def figure_json(shown: ShownFrame) -> str:
    """All heads in metres with the camera, as Plotly's JSON."""
    figure = build_heads_figure(*meshes_shown(shown), shown.result.camera)
    # our panel is wide and low: step back, so that the camera's frustum is in the picture too
    figure.update_layout(scene_camera_eye={"x": 1.0, "y": -1.5, "z": 0.75})
    figure.update_layout(scene_camera_center={"x": 0.0, "y": 0.0, "z": -0.12})
    return figure.to_json()


COLUMNS = (
    ("Yaw", "°"),
    ("Pitch", "°"),
    ("Roll", "°"),
    ("x", "mm"),
    ("y", "mm"),
    ("z", "mm"),
    ("Distance", "mm"),
    ("Uncertainty", "°"),
    ("Confidence", "%"),
)


def table_html(shown: ShownFrame, options: PoseOptions, neutrals: Neutrals) -> str:
    """The table of faces, with a line below that says what its numbers are."""
    convention = options.shown_convention()
    rows = [face_numbers(face, convention, neutrals) for face in shown.result.faces]
    if not rows:
        return '<div class="table-scroll"><p class="faces-none">No face in this picture.</p></div>'
    head = "".join(
        f'<th scope="col">{name} <span class="unit">{unit}</span></th>' for name, unit in COLUMNS
    )
    body = "".join(_table_row(row) for row in rows)
    return (
        '<div class="table-scroll"><table class="faces"><thead><tr><th scope="col">ID</th>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f'<p class="hint">{escape(_table_note(rows, convention))}</p>'
    )


def _table_row(row: FaceNumbers) -> str:
    unknown = "–"
    uncertainty = unknown if row.uncertainty_deg is None else f"± {row.uncertainty_deg:.1f}"
    cells = [
        ("yaw", f"{row.yaw_deg:.1f}"),
        ("pitch", f"{row.pitch_deg:.1f}"),
        ("roll", f"{row.roll_deg:.1f}"),
        ("x", f"{row.x_mm:.0f}"),
        ("y", f"{row.y_mm:.0f}"),
        ("z", f"{row.z_mm:.0f}"),
        ("distance", f"{row.distance_mm:.0f}"),
        ("uncertainty", uncertainty),
        ("confidence", f"{row.confidence * 100:.0f}"),
    ]
    tds = "".join(f'<td data-field="{name}">{text}</td>' for name, text in cells)
    mark = ' <span class="zeroed" title="relative to this person\'s zero">0</span>'
    chip = f'<i class="track" style="--key:{hex_colour(track_colour(row.track_id))}"></i>'
    number = f"{chip}{row.track_id}{mark if row.relative else ''}"
    return f'<tr><th scope="row" data-field="id">{number}</th>{tds}</tr>'


def _table_note(rows: Sequence[FaceNumbers], convention: Convention) -> str:
    sources = ", ".join(sorted({row.uncertainty_source for row in rows}))
    note = (
        f"Angles: {convention.label}. Position: OpenCV camera axes (x right, y down, z forward). "
        f"Uncertainty: expected error of the rotation, from {sources}."
    )
    if any(row.relative for row in rows):
        note += " Rows marked 0 are relative to that person's zero, in its own axes."
    return note


def legend_html(options: PoseOptions) -> str:
    """What the drawn lines mean."""
    entries: list[tuple[str, str, str]] = []
    if "axes" in options.layers:
        entries += [
            ("line", hex_colour(AXIS_COLOURS[key]), text) for key, text in AXIS_WORDS.items()
        ]
    if "box" in options.layers:
        entries.append(("frame", hex_colour(track_colour(1)), "box, in the face's colour"))
    if options.mesh != "none":
        name = "full head" if options.mesh == FULL_HEAD else f"{options.mesh} mesh"
        entries.append(("mesh", hex_colour(track_colour(1)), name))
    if "landmarks" in options.layers:
        entries.append(("dot", hex_colour(LIGHT), "68 landmarks"))
    spans = "".join(
        f'<span class="key"><i class="key-{kind}" style="--key:{colour}"></i>{escape(text)}</span>'
        for kind, colour, text in entries
    )
    return f'<div class="legend">{spans}</div>'


def status_html(shown: ShownFrame, seconds: float | None = None) -> str:
    """One line: how many faces, which camera, which model, how long it took."""
    n = len(shown.result.faces)
    parts = [
        f"<b>{n} {'face' if n == 1 else 'faces'}</b>" if n else "<b>No face found</b>",
        f"Camera: {escape(camera_text(shown.result.camera))}",
        escape(shown.model_label),
    ]
    if seconds is not None:
        parts.append(f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s")
    if shown.note:
        parts.append(escape(shown.note))
    return f'<p class="status">{" · ".join(parts)}</p>'


def camera_text(camera: Camera) -> str:
    """The camera in use, in words and numbers."""
    focal = f"f {camera.fx_px:.0f} px"
    if abs(camera.fx_px - camera.fy_px) > 0.5:
        focal = f"fx {camera.fx_px:.0f}, fy {camera.fy_px:.0f} px"
    source = camera.source.replace(" deg", "°")
    width = "" if "field of view" in source else f", {camera.horizontal_fov_deg:.1f}° wide"
    return f"{source}, {focal}{width}"


def notice_html(text: str, kind: str = "error") -> str:
    """A sentence in place of results. kind: "error", "warning" or "info"."""
    return f'<div class="notice notice-{kind}" role="status">{escape(text)}</div>'


def matrix_html(face: FacePose | None, options: PoseOptions) -> str:
    """The pose of a face as the convention writes it down, with the convention's own words."""
    convention = options.shown_convention()
    note = f'<p class="hint">{escape(convention.description)}</p>'
    if face is None:
        return note
    matrix = convention.matrix(face.pose.R_cam_from_head, face.pose.t_cam_from_head_mm)
    digits = 1 if convention.unit == "mm" else 4
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{_matrix_cell(v, i, j, digits)}</td>" for j, v in enumerate(row))
        + "</tr>"
        for i, row in enumerate(matrix)
    )
    unit = f" · translation in {convention.unit}" if convention.unit else " · rotation only"
    title = f'<p class="matrix-title">Face {face.track_id} · {escape(convention.label)}{unit}</p>'
    return f'{title}<div class="table-scroll"><table class="matrix">{rows}</table></div>{note}'


def _matrix_cell(value: float, row: int, column: int, translation_digits: int) -> str:
    """Rotations to 4 decimals; large numbers can only be translations."""
    in_rotation = row < 3 and column < 3
    digits = 4 if in_rotation else translation_digits
    text = f"{value:.{digits}f}"
    return "0" if float(text) == 0.0 and not in_rotation else text


def code_to_copy(face: FacePose | None, options: PoseOptions) -> str:
    """Python that turns the pose of a face into the convention's matrix and angles."""
    if face is None:
        return ""
    pose = face.pose
    return options.shown_convention().code_line(pose.R_cam_from_head, pose.t_cam_from_head_mm)
