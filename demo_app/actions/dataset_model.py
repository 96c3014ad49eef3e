"""A model beside the labels: run on a sample or the filtered set, errors, worst samples first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from demo_app.actions.dataset_open import job_html
from demo_app.actions.dataset_page import Card, card_of
from demo_app.actions.dataset_picture import DEFAULT_LAYERS
from demo_app.actions.dataset_predictions import predict_sample
from demo_app.actions.dataset_shelf import (
    DatasetActionError,
    JobState,
    Report,
    flags_of,
    index_of,
    known_row,
    read_sample,
    shelf_of,
)
from demo_app.actions.views import notice_html
from demo_app.services import Services
from viewer.datasets.sample import UnreadablePictureError
from viewer.datasets.source import DatasetError
from viewer.index.filters import Filters, Sort
from viewer.index.predictions import (
    has_predictions,
    predicted_keys,
    write_predictions,
)
from viewer.index.query import Index
from viewer.index.stats import yaw_pitch_density
from viewer.render.charts import build_error_map

Array = np.ndarray

MODEL_JOB = "model"
STORE_EVERY_S = 20.0
ROWS_AT_ONCE = 5000
WORST = 12


@dataclass(frozen=True)
class ModelReport:
    """is_stored: whether the model was ever run on this data set. count: samples with a stored
    error among the filtered ones. html: mean, median, worst of the geodesic and translation errors,
    and what was compared with what. bins: Plotly's JSON, mean geodesic error by yaw and pitch
    (clickable like the density). worst: cards, largest first."""

    is_stored: bool
    count: int
    html: str
    bins: str
    worst: tuple[Card, ...]


def compare_sample(services: Services, data_id: str, key: str, model: str) -> None:
    """Run the model on one sample and store the result: `view_sample` shows it from then on.

    Raises: DatasetActionError (no picture, damaged files), CheckpointError.
    """
    opened = shelf_of(services).get(data_id)
    known_row(services, data_id, key)
    sample = read_sample(opened, key)
    if sample.image is None:
        raise DatasetActionError("This sample has no picture for a model to look at.")
    try:
        found = predict_sample(services.estimator(model), sample)
    except UnreadablePictureError as error:
        raise DatasetActionError("The picture of this sample cannot be read.") from error
    write_predictions(opened.folder, model, [found])


def start_comparison(services: Services, data_id: str, filters: Filters, model: str) -> JobState:
    """Run the model on the filtered set in the background; samples that have a result are left
    out. One job a data set. Raises: CheckpointError, FilterError, DatasetActionError."""
    shelf = shelf_of(services)
    opened, index = shelf.get(data_id), index_of(services, data_id)
    estimator = services.estimator(model)
    flagged = flags_of(services, data_id).flagged_keys()
    had = has_predictions(opened.folder, model)
    asked = index.keys(filters, Sort(), flagged, model=model if had else "")

    def work(report: Report, cancelled: Callable[[], bool]) -> str:
        known = predicted_keys(opened.folder, model)
        keys = [key for key in asked if key not in known]
        unread, headless, fresh, stored_s, done = 0, 0, [], time.monotonic(), 0
        for key in keys:
            if cancelled():
                break
            try:
                fresh.append(predict_sample(estimator, opened.dataset.read(key)))
                headless += fresh[-1].R_cam_from_head is None
            except (DatasetError, UnreadablePictureError):
                unread += 1
            done += 1
            report(done, len(keys))
            if time.monotonic() - stored_s > STORE_EVERY_S:
                write_predictions(opened.folder, model, fresh)
                fresh, stored_s = [], time.monotonic()
        if fresh:
            write_predictions(opened.folder, model, fresh)
        said = _end_sentence(model, done, len(keys), len(asked) - len(keys))
        said += f" {headless:,} without a head found." if headless else ""
        return said + (f" {unread:,} without a readable picture." if unread else "")

    return shelf.start(data_id, MODEL_JOB, work).state


def _end_sentence(model: str, done: int, asked: int, known: int) -> str:
    said = f"{model} has looked at {done:,} of {asked:,} samples"
    return said + (f"; {known:,} had a result already." if known else ".")


def comparison_state(services: Services, data_id: str) -> JobState:
    """For a timer, as `dataset_open.index_state`."""
    return shelf_of(services).state(data_id, MODEL_JOB)


def cancel_comparison(services: Services, data_id: str) -> None:
    """End with what there is; it is stored."""
    shelf_of(services).cancel(data_id, MODEL_JOB)


def comparison_html(services: Services, data_id: str) -> str:
    """Progress bar, or how it ended."""
    return job_html(comparison_state(services, data_id), "samples")


def model_report(
    services: Services,
    data_id: str,
    filters: Filters,
    model: str,
    layers: tuple[str, ...] = DEFAULT_LAYERS,
) -> ModelReport:
    """Raises: IndexMissingError, FilterError, DatasetActionError."""
    opened, index = shelf_of(services).get(data_id), index_of(services, data_id)
    if not has_predictions(opened.folder, model):
        return ModelReport(False, 0, notice_html(f"{model} was not run here yet.", "info"), "", ())
    store = flags_of(services, data_id)
    flagged = store.flagged_keys()
    rows = _rows_with_error(index, filters, flagged, model)
    if not rows:
        text = f"{model} has no result among the samples that are shown."
        return ModelReport(True, 0, notice_html(text, "info"), "", ())
    flags = {flag.key: flag for flag in store.all()}
    worst = tuple(card_of(data_id, row, layers, flags, "geodesic_deg") for row in rows[:WORST])
    bins = _bins_json(index, filters, flagged, model)
    return ModelReport(True, len(rows), _report_html(rows, model), bins, worst)


def _rows_with_error(
    index: Index, filters: Filters, flagged: Sequence[str], model: str
) -> list[dict[str, object]]:
    """Largest error first."""
    rows: list[dict[str, object]] = []
    while True:
        part = index.page(
            filters,
            Sort("geodesic_deg", descending=True),
            offset=len(rows),
            limit=ROWS_AT_ONCE,
            flagged_keys=flagged,
            model=model,
        )
        having = [row for row in part if row.get("geodesic_deg") is not None]
        rows += having
        if len(having) < ROWS_AT_ONCE:
            return rows


def _column(rows: list[dict[str, object]], name: str) -> Array:
    """Numbers of the rows; NaN where there is none."""
    found = [row.get(name) for row in rows]
    return np.array([np.nan if value is None else value for value in found], np.float64)


def _report_html(rows: list[dict[str, object]], model: str) -> str:
    lines = [_error_row("Rotation", _column(rows, "geodesic_deg"), "°", 2)]
    t_error = _column(rows, "t_error_mm")
    if np.isfinite(t_error).any():
        lines.append(_error_row("Position", t_error[np.isfinite(t_error)], " mm", 1))
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("", "Mean", "Median", "90 %", "Worst", "Samples")
    )
    return (
        '<div class="table-scroll"><table class="faces ds-errors"><thead><tr>'
        f"{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
        f'<p class="hint">{escape(model)} against the labels. Rotation: angle between both. It '
        "looks where the label says that the head is; without a metric camera in the data set the "
        "default field of view is assumed and positions are not compared.</p>"
    )


def _error_row(name: str, errors: Array, unit: str, digits: int) -> str:
    figures = (errors.mean(), np.median(errors), np.percentile(errors, 90), errors.max())
    cells = "".join(f"<td>{value:.{digits}f}{unit}</td>" for value in figures)
    return f'<tr><th scope="row">{name}</th>{cells}<td>{len(errors):,}</td></tr>'


def _bins_json(index: Index, filters: Filters, flagged: Sequence[str], model: str) -> str:
    """Mean rotation error by yaw and pitch."""
    density = yaw_pitch_density(index, filters, flagged, model, mean_of="geodesic_deg")
    if density.mean is None or not density.counts.sum():
        return ""
    figure = build_error_map(
        ("yaw_deg", "pitch_deg"),
        ("Yaw (°)", "Pitch (°)"),
        density.yaw_edges_deg,
        density.pitch_edges_deg,
        density.mean,
        density.counts,
    )
    return figure.to_json()
