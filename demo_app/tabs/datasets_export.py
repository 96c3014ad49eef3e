"""Export: the filtered samples as a file, and flags as CSV in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from demo_app.actions.background import BusyError, Progress
from demo_app.actions.dataset_exports import MAX_OVERLAYS, export_formats, export_samples
from demo_app.actions.dataset_flags import export_flags, import_flags, may_write
from demo_app.actions.dataset_page import count_samples
from demo_app.actions.dataset_picture import DEFAULT_LAYERS, LAYER_TITLES
from demo_app.actions.progress_text import progress_html
from demo_app.actions.views import notice_html
from demo_app.services import Services
from demo_app.tabs.datasets_model import WHAT
from demo_app.tabs.datasets_state import QUIET, Here
from demo_app.tabs.problems import EXPLAINED

FLAGS = (
    '<p class="hint">Flags, tags and notes lie in your own folder, never in that of the data set. '
    "A CSV takes them to another machine.</p>"
)


@dataclass(frozen=True)
class ExportComponents:
    """file: the finished export. flags_file: the finished CSV."""

    here: gr.State
    what: gr.HTML
    format: gr.Radio
    layers: gr.CheckboxGroup
    start: gr.Button
    cancel: gr.Button
    progress: gr.HTML
    file: gr.DownloadButton
    make_flags: gr.Button
    flags_file: gr.DownloadButton
    flags_in: gr.UploadButton
    flags_said: gr.HTML

    def outputs(self) -> list[gr.blocks.Block]:
        """In the order of `ExportUpdate`."""
        return [getattr(self, name) for name in ExportUpdate._fields]


class ExportUpdate(NamedTuple):
    """New values of the components of the same names."""

    start: Any
    cancel: Any
    progress: Any
    file: Any


def build(services: Services) -> dict[str, Any]:
    """Two cards; the one of flags only where they may be set."""
    with gr.Row(elem_classes="ds-export"):
        with gr.Column(elem_classes="card ds-card", min_width=300):
            gr.HTML('<h3 class="ds-title">Samples</h3>', apply_default_css=False)
            samples = _build_samples()
        with gr.Column(elem_classes="card ds-card", min_width=300, visible=may_write(services)):
            gr.HTML('<h3 class="ds-title">Flags, tags and notes</h3>', apply_default_css=False)
            gr.HTML(FLAGS, apply_default_css=False)
            with gr.Row(elem_classes="downloads"):
                make_flags = gr.Button("Make CSV", size="sm", elem_id="ds-flags-make")
                flags_in = gr.UploadButton(
                    "Import CSV", size="sm", file_types=[".csv"], elem_id="ds-flags-import"
                )
            flags_file = gr.DownloadButton(
                "Download CSV", size="sm", visible=False, elem_id="ds-flags-file"
            )
            flags_said = gr.HTML(elem_id="ds-flags-said", apply_default_css=False)
    return {
        **samples, "make_flags": make_flags, "flags_file": flags_file, "flags_in": flags_in,
        "flags_said": flags_said,
    }  # fmt: skip


def _build_samples() -> dict[str, Any]:
    what = gr.HTML(elem_id="ds-export-what", apply_default_css=False)
    kind = gr.Radio([], label="Format", elem_id="ds-export-format")
    layers = gr.CheckboxGroup(
        [(title, name) for name, title in LAYER_TITLES.items()],
        value=list(DEFAULT_LAYERS),
        label="Drawn on the pictures",
        info=f"Of at most {MAX_OVERLAYS} samples.",
        visible=False,
        elem_id="ds-export-layers",
    )
    with gr.Row(elem_classes="tight"):
        start = gr.Button("Export", variant="primary", elem_id="ds-export-start")
        cancel = gr.Button("Cancel", visible=False, elem_id="ds-export-cancel")
    progress = gr.HTML(elem_id="ds-export-progress", apply_default_css=False)
    file = gr.DownloadButton("Download", variant="primary", visible=False, elem_id="ds-export-file")
    return {
        "what": what, "format": kind, "layers": layers, "start": start, "cancel": cancel,
        "progress": progress, "file": file,
    }  # fmt: skip


def looked_at(services: Services, here: Here) -> tuple[str, gr.Radio]:
    """How many samples there are and in which formats they can be had.

    Raises: IndexMissingError, FilterError, DatasetActionError.
    """
    formats = export_formats(services, here.data_id)
    count = count_samples(services, here.data_id, here.filters, here.model)
    return WHAT.format(f"{count:,}"), gr.Radio(choices=list(formats), value=formats[0][1])


def connect(export: ExportComponents, services: Services) -> None:
    """Export, cancel, flags."""

    def on_export(
        request: gr.Request, here: Here, kind: str, layers: list[str]
    ) -> Iterator[ExportUpdate]:
        visitor = services.visitors.get(request.session_hash)
        if not here.data_id or not kind:
            yield _idle(notice_html("Open a data set and choose a format first.", "info"))
            return
        yield _working('<p class="status">Writing …</p>')
        try:
            jobs = export_samples(
                services, visitor, here.data_id, here.filters, kind, tuple(layers), here.model
            )
            for news in jobs:
                if isinstance(news, Progress):
                    yield _working(progress_html(news, "samples"))
                else:
                    label = f"Download {news.name}"
                    yield _idle("", gr.DownloadButton(label, value=str(news), visible=True))
        except (*EXPLAINED, BusyError) as error:
            yield _idle(notice_html(str(error)))

    def on_cancel(request: gr.Request) -> gr.Button:
        services.visitors.get(request.session_hash).cancelled.set()
        return gr.Button(interactive=False)

    def on_format(kind: str) -> gr.CheckboxGroup:
        return gr.CheckboxGroup(visible=kind == "overlays")

    export.start.click(
        on_export,
        [export.here, export.format, export.layers],
        export.outputs(),
        concurrency_id="jobs",
        **QUIET,
    )
    export.cancel.click(on_cancel, None, export.cancel, queue=False, **QUIET)
    export.format.change(on_format, export.format, export.layers, queue=False, **QUIET)
    _connect_flags(export, services)


def _working(progress: str) -> ExportUpdate:
    return ExportUpdate(
        start=gr.Button(interactive=False),
        cancel=gr.Button(visible=True, interactive=True),
        progress=progress,
        file=gr.DownloadButton(visible=False),
    )


def _idle(progress: str, file: Any = None) -> ExportUpdate:
    return ExportUpdate(
        start=gr.Button(interactive=True),
        cancel=gr.Button(visible=False),
        progress=progress,
        file=gr.skip() if file is None else file,
    )


def _connect_flags(export: ExportComponents, services: Services) -> None:
    def on_make(request: gr.Request, here: Here) -> tuple[gr.DownloadButton, str]:
        visitor = services.visitors.get(request.session_hash)
        try:
            path = export_flags(services, visitor, here.data_id)
        except EXPLAINED as error:
            return gr.DownloadButton(visible=False), notice_html(str(error), "warning")
        return gr.DownloadButton(f"Download {path.name}", value=str(path), visible=True), ""

    def on_import(here: Here, path: str) -> str:
        try:
            sentence = import_flags(services, here.data_id, path)
        except EXPLAINED as error:
            return notice_html(str(error), "warning")
        return notice_html(sentence, "info")

    export.make_flags.click(on_make, export.here, [export.flags_file, export.flags_said], **QUIET)
    export.flags_in.upload(on_import, [export.here, export.flags_in], export.flags_said, **QUIET)
