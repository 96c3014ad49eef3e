"""One sample: its picture, pose in every convention, 3D view, raw fields and neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from demo_app.actions.dataset_annotation import annotation_of, figure_content, other_pose
from demo_app.actions.dataset_picture import (
    BLANK_WH_PX,
    DEFAULT_LAYERS,
    LAYER_TITLES,
    LAYERS,
    picture_address,
)
from demo_app.actions.dataset_predictions import errors_html, stored_prediction
from demo_app.actions.dataset_shelf import (
    flags_of,
    index_of,
    known_row,
    read_detail,
    shelf_of,
)
from demo_app.actions.views import AXIS_WORDS
from demo_app.services import Services
from models.geometry.conventions import CONVENTIONS, Convention
from models.geometry.rotations import geodesic_deg
from viewer.datasets.source import DatasetInfo, OtherPose, SampleDetail
from viewer.index.check_table import CHECK_BY_NAME, sentence
from viewer.index.schema import CHECK_PREFIX
from viewer.render.annotation import BOX_COLOUR, MESH_COLOUR, Annotation, point_colours
from viewer.render.annotation_figure import build_annotation_figure
from viewer.render.palette import AXIS_COLOURS, LIGHT, hex_colour

Array = np.ndarray

SAMPLE_LAYERS = LAYER_TITLES | {"model": "Model’s axes"}
"""Title by name: those of pictures, and the axes of the model that is looked at."""

MAX_PLAYED = 1000
MAX_RAW_CHARACTERS = 2000
ORTHONORMAL_TO = 1e-3


@dataclass(frozen=True)
class SampleView:
    """Everything on the screen about one sample.

    picture: address of the drawn picture. has_picture: whether it is drawn on a photo.
    layers: those that this sample can show, "model" among them where a model is asked about; shown:
    those that are drawn. poses: names of the other readings of its label ("" is the label itself),
    such as BIWI's uncalibrated one; one name where there is nothing to switch. figure: Plotly's
    JSON, "" where there is nothing metric and no mesh. frames: how many the sequence has;
    previous_key, next_key: None at its ends. findings_html: sentences of the checks. errors_html:
    of the model. tags: joined with ", ".
    """

    key: str
    title_html: str
    picture: str
    has_picture: bool
    layers: tuple[str, ...]
    shown: tuple[str, ...]
    legend_html: str
    poses: tuple[str, ...]
    pose_note: str
    conventions_html: str
    figure: str
    raw_html: str
    notes_html: str
    findings_html: str
    errors_html: str
    previous_key: str | None
    next_key: str | None
    frames: int
    is_flagged: bool
    tags: str
    note: str


def view_sample(
    services: Services,
    data_id: str,
    key: str,
    layers: Sequence[str] | None = None,
    pose: str = "",
    model: str = "",
) -> SampleView:
    """layers: to draw, of `SAMPLE_LAYERS`; None: what is drawn on a sample at first.

    model: whose stored answer is shown. Raises: DatasetActionError (damaged files included),
    IndexMissingError, PredictionError.
    """
    opened, index = shelf_of(services).get(data_id), index_of(services, data_id)
    row = known_row(services, data_id, key)
    detail = read_detail(opened, key)
    other = other_pose(detail, pose)
    drawn = annotation_of(detail, _size(row), other)
    answer = stored_prediction(opened.folder, model, key)
    there = (*drawn.layers(), *(["model"] if model else []))
    wanted = _first_layers(detail) if layers is None else layers
    shown = tuple(name for name in SAMPLE_LAYERS if name in wanted and name in there)
    seen_model = model if answer is not None and "model" in shown else ""
    content = figure_content(detail, other)
    previous_key, next_key = index.neighbours(key)
    flag = flags_of(services, data_id).get(key)
    return SampleView(
        key=key,
        title_html=_title_html(detail, row),
        picture=picture_of(data_id, key, shown, pose if other else "", seen_model),
        has_picture=detail.sample.image is not None,
        layers=there,
        shown=shown,
        legend_html=_legend_html(drawn, shown, seen_model),
        poses=("", *(found.name for found in detail.other_poses)),
        pose_note="" if other is None else other.note,
        conventions_html=conventions_html(detail, other),
        figure="" if content.is_empty() else build_annotation_figure(content).to_json(),
        raw_html=_raw_html(detail.raw),
        notes_html=_notes_html(opened.info, detail),
        findings_html=findings_html(row),
        errors_html=errors_html(answer, model),
        previous_key=previous_key,
        next_key=next_key,
        frames=len(index.sequence_keys(key)),
        is_flagged=flag.is_flagged,
        tags=", ".join(flag.tags),
        note=flag.note,
    )


def _first_layers(detail: SampleDetail) -> tuple[str, ...]:
    return ("mesh",) if detail.sample.image is None else (*DEFAULT_LAYERS, "model")


def picture_of(data_id: str, key: str, shown: Sequence[str], pose: str, model: str) -> str:
    """Address of the picture with layers of `SAMPLE_LAYERS`."""
    drawn = [name for name in LAYERS if name in shown]
    return picture_address(data_id, key, drawn, pose, model if "model" in shown else "")


def play_addresses(
    services: Services,
    data_id: str,
    key: str,
    layers: Sequence[str],
    pose: str = "",
    model: str = "",
) -> tuple[tuple[str, str], ...]:
    """(key, picture's address) of the sequence, for the page's play button; at most `MAX_PLAYED`
    around this sample. Raises: DatasetActionError, IndexMissingError."""
    keys = _around(index_of(services, data_id).sequence_keys(key), key)
    return tuple((one, picture_of(data_id, one, layers, pose, model)) for one in keys)


def _size(row: Mapping[str, object]) -> tuple[int, int]:
    """Of the picture, from the index; that of the blank one where there is none."""
    width, height = row.get("width_px"), row.get("height_px")
    return BLANK_WH_PX if not width or not height else (int(width), int(height))


def _around(keys: Sequence[str], key: str) -> tuple[str, ...]:
    """The keys of the sequence, or `MAX_PLAYED` of them around this one."""
    if len(keys) <= MAX_PLAYED:
        return tuple(keys)
    first = min(max(0, keys.index(key) - MAX_PLAYED // 2), len(keys) - MAX_PLAYED)
    return tuple(keys[first : first + MAX_PLAYED])


def _title_html(detail: SampleDetail, row: Mapping[str, object]) -> str:
    sample = detail.sample
    parts = [
        f"{name} {escape(str(value))}"
        for name, value in (
            ("split", sample.split),
            ("subject", sample.subject),
            ("sequence", sample.sequence),
            ("frame", "" if sample.frame is None else sample.frame),
        )
        if value != ""
    ]
    if row.get("width_px") and row.get("height_px"):
        parts.append(f"{row['width_px']} × {row['height_px']} px")
    if sample.camera is not None:
        parts.append(f"f {sample.camera.fx_px:.1f} px ({escape(sample.camera.source)})")
    said = f'<p class="hint">{" · ".join(parts)}</p>' if parts else ""
    return f'<h3 class="ds-title">{escape(sample.key)}</h3>{said}'


def _legend_html(drawn: Annotation, shown: Sequence[str], model: str) -> str:
    """What the drawn lines mean, in the Pose tab's classes."""
    entries: list[tuple[str, str, str]] = []
    if "axes" in shown:
        entries += [("line", hex_colour(AXIS_COLOURS[k]), text) for k, text in AXIS_WORDS.items()]
    if model:
        entries.append(("dashes", hex_colour(AXIS_COLOURS["x"]), f"{model}, the same axes dashed"))
    if "box" in shown:
        entries.append(("frame", hex_colour(BOX_COLOUR), "box of the label"))
    if "mesh" in shown:
        entries.append(("mesh", hex_colour(MESH_COLOUR), "mesh of the label"))
    if "landmarks" in shown:
        entries.append(("dot", hex_colour(LIGHT), "68 landmarks"))
    if "points" in shown:
        colours = point_colours(drawn.points_px)
        entries += [("dot", hex_colour(colour), name) for name, colour in colours.items()]
    if "depth" in shown:
        entries.append(("dot", hex_colour((160, 218, 57)), "depth: yellow near, violet far"))
    spans = "".join(
        f'<span class="key"><i class="key-{kind}" style="--key:{colour}"></i>{escape(text)}</span>'
        for kind, colour, text in entries
    )
    return f'<div class="legend">{spans}</div>'


def conventions_html(detail: SampleDetail, other: OtherPose | None = None) -> str:
    """The pose as everybody writes it down: angles, translation; the matrix behind a disclosure."""
    sample = detail.sample
    R = sample.R_cam_from_head if other is None else other.R_cam_from_head
    t_mm = sample.t_cam_from_head_mm
    if other is not None and other.t_cam_from_head_mm is not None:
        t_mm = other.t_cam_from_head_mm
    if R is None:
        return '<p class="hint">The label has no rotation.</p>'
    if np.abs(R.T @ R - np.eye(3)).max() > ORTHONORMAL_TO or np.linalg.det(R) < 0:
        return (
            '<div class="notice notice-error">The label’s matrix is no rotation, so it has no '
            f"angles.</div>{_matrix_html(R)}"
        )
    rows = "".join(_convention_row(one, R, t_mm) for one in CONVENTIONS.values())
    head = "".join(
        f'<th scope="col">{name} <span class="unit">{unit}</span></th>'
        for name, unit in (("Yaw", "°"), ("Pitch", "°"), ("Roll", "°"), ("Translation", ""))
    )
    frontal = float(geodesic_deg(R, np.eye(3)))
    distance = "" if t_mm is None else f" · distance {np.linalg.norm(t_mm):.1f} mm"
    return (
        '<div class="table-scroll"><table class="faces ds-conventions"><thead><tr>'
        f'<th scope="col">Convention</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f'<p class="hint">Angle from frontal {frontal:.3f}°{distance}</p>'
        f"<details><summary>R from head to camera, OpenCV axes</summary>{_matrix_html(R)}</details>"
    )


def _convention_row(convention: Convention, R: Array, t_mm: Array | None) -> str:
    yaw, pitch, roll = convention.ypr_deg(R)
    said = "–"
    if t_mm is not None and convention.unit:
        full = convention.matrix4(R, t_mm)
        t = full[3, :3] if np.abs(full[3, :3]).max() > 0 else full[:3, 3]
        digits = 1 if convention.unit == "mm" else 4
        said = ", ".join(f"{value:.{digits}f}" for value in t.round(digits) + 0.0)
        said += f" {convention.unit}"
    cells = "".join(f"<td>{round(angle, 3) + 0.0:.3f}</td>" for angle in (yaw, pitch, roll))
    return (
        f'<tr title="{escape(convention.description)}"><th scope="row">{escape(convention.label)}'
        f"</th>{cells}<td>{said}</td></tr>"
    )


def _matrix_html(R: Array) -> str:
    rows = "".join(
        "<tr>" + "".join(f"<td>{value:.6f}</td>" for value in row) + "</tr>" for row in R.tolist()
    )
    return f'<div class="table-scroll"><table class="matrix">{rows}</table></div>'


def _raw_html(raw: Mapping[str, str]) -> str:
    if not raw:
        return '<p class="hint">There are no further fields.</p>'
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(_cut(value))}</td></tr>'
        for name, value in raw.items()
    )
    return f'<div class="table-scroll"><table class="ds-raw"><tbody>{rows}</tbody></table></div>'


def _cut(text: str) -> str:
    """A long field's beginning, and how much there is."""
    if len(text) <= MAX_RAW_CHARACTERS:
        return text
    return f"{text[:MAX_RAW_CHARACTERS]} … ({len(text):,} characters)"


def _notes_html(info: DatasetInfo, detail: SampleDetail) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in (*detail.notes, *info.facts))
    return f'<ul class="notes">{items}</ul>' if items else ""


def findings_html(row: Mapping[str, object]) -> str:
    """Sentences of the checks that found something, and how many found nothing."""
    found = set(row.get("findings") or ())
    scores = {
        name: float(row[CHECK_PREFIX + name])
        for name in CHECK_BY_NAME
        if row.get(CHECK_PREFIX + name) is not None
    }
    items = "".join(
        f"<li>{escape(sentence(CHECK_BY_NAME[name], score))}</li>"
        for name, score in scores.items()
        if name in found
    )
    clean = len(scores) - sum(name in found for name in scores)
    said = f'<p class="hint">{clean} checks found nothing.</p>' if scores else ""
    return (f'<ul class="notes ds-findings">{items}</ul>' if items else "") + said
