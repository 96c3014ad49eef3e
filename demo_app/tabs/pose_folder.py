"""Several pictures or a folder: progress, Cancel, and any of the pictures in the view."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.data_classes import ListFiles

from demo_app.actions.background import BusyError, Progress
from demo_app.actions.folder_report import folder_end_html, picture_menu
from demo_app.actions.options import PoseOptions
from demo_app.actions.predict_folder import FOLDER, Picture, pictures_in, predict_pictures
from demo_app.actions.progress_text import progress_html
from demo_app.actions.results import FolderResult
from demo_app.actions.view_update import build_view
from demo_app.actions.views import notice_html
from demo_app.services import Services
from demo_app.tabs import pose_view
from demo_app.tabs.pose_options import OptionComponents
from demo_app.tabs.pose_view import ViewComponents, ViewUpdate
from demo_app.tabs.problems import EXPLAINED


class PicturesInput(gr.File):
    """gr.File for several files; its value is a list of `Picture` with the visitor's names."""

    is_template = True

    def preprocess(self, payload: ListFiles | None) -> list[Picture]:
        """The uploaded files, none for an empty input."""
        files = payload.root if payload is not None else []
        return [Picture(file.path, file.orig_name or Path(file.path).name) for file in files]


@dataclass(frozen=True)
class FolderComponents:
    """path, recursive: None where paths on the server may not be typed."""

    files: PicturesInput
    path: gr.Textbox | None
    recursive: gr.Checkbox | None
    start: gr.Button
    cancel: gr.Button
    progress: gr.HTML
    results: gr.Column
    picture: gr.Dropdown
    previous: gr.Button
    next: gr.Button
    archive: gr.DownloadButton

    def outputs(self) -> list[gr.blocks.Block]:
        """In the order of `FolderUpdate`."""
        return [getattr(self, name) for name in FolderUpdate._fields]


class FolderUpdate(NamedTuple):
    """New values of the components of the same names."""

    start: Any
    cancel: Any
    progress: Any
    results: Any
    picture: Any
    archive: Any


def build_input(services: Services) -> dict[str, gr.components.Component | None]:
    """The left side; a path can be typed only where nobody else reaches the page."""
    files = PicturesInput(label="Pictures", file_count="multiple", height=180, elem_id="pose-files")
    path = recursive = None
    if services.config.local_paths_allowed:
        path = gr.Textbox(
            label="or a folder on this computer",
            placeholder="/path/to/pictures",
            elem_id="local-path-folder",
        )
        recursive = gr.Checkbox(False, label="Sub folders too", container=False)
    with gr.Row(elem_classes="tight"):
        start = gr.Button("Estimate poses", variant="primary", elem_id="pose-run-folder")
        cancel = gr.Button("Cancel", interactive=False, elem_id="pose-cancel-folder")
    return {"files": files, "path": path, "recursive": recursive, "start": start, "cancel": cancel}


def build_output(inputs: dict[str, gr.components.Component | None]) -> FolderComponents:
    """The right side, above the view of one picture."""
    progress = gr.HTML(elem_id="pose-folder-progress", apply_default_css=False)
    with gr.Column(visible=False) as results:
        picture = gr.Dropdown(
            [], label="Picture shown below", interactive=True, elem_id="pose-folder-picture"
        )
        with gr.Row(elem_classes="downloads"):
            previous = gr.Button("Previous", size="sm", min_width=90)
            following = gr.Button("Next", size="sm", min_width=90, elem_id="pose-folder-next")
            archive = gr.DownloadButton(
                "All annotated pictures (ZIP)", size="sm", elem_id="pose-download-zip"
            )
    return FolderComponents(
        **inputs,
        progress=progress,
        results=results,
        picture=picture,
        previous=previous,
        next=following,
        archive=archive,
    )


def _update(**values: Any) -> FolderUpdate:
    kept = {name: gr.skip() for name in FolderUpdate._fields}
    return FolderUpdate(**kept | values)


def _working(progress: str, cancellable: bool = True) -> FolderUpdate:
    return _update(
        progress=progress,
        start=gr.Button(interactive=False),
        cancel=gr.Button(interactive=cancellable),
    )


def _idle(**values: Any) -> FolderUpdate:
    buttons = {"start": gr.Button(interactive=True), "cancel": gr.Button(interactive=False)}
    return _update(**buttons, **values)


def _finished(result: FolderResult) -> FolderUpdate:
    return _idle(
        progress=folder_end_html(result),
        results=gr.Column(visible=len(result) > 0),
        picture=gr.Dropdown(choices=picture_menu(result), value=0 if len(result) else None),
        archive=gr.DownloadButton(value=str(result.archive)),
    )


def connect(
    folder: FolderComponents, options: OptionComponents, view: ViewComponents, services: Services
) -> None:
    """Start, Cancel and the choice of the picture."""

    def run(
        request: gr.Request, pictures: list[Picture], path: str, recursive: bool, values: Any
    ) -> Iterator[FolderUpdate]:
        visitor = services.visitors.get(request.session_hash)
        yield _working('<p class="status">Loading the network …</p>', cancellable=False)
        try:
            checked, notes = PoseOptions(*values).checked(), []
            if path and services.config.local_paths_allowed:
                listed, notes = pictures_in(path, recursive)
                pictures = [*pictures, *listed]
            for news in predict_pictures(services, visitor, pictures, checked, notes):
                if isinstance(news, Progress):
                    yield _working(progress_html(news, "pictures"))
                else:
                    yield _finished(news)
        except (*EXPLAINED, BusyError) as error:
            yield _idle(progress=notice_html(str(error)))

    def on_start(
        request: gr.Request, pictures: list[Picture], *options: Any
    ) -> Iterator[FolderUpdate]:
        yield from run(request, pictures, "", False, options)

    def on_start_with_path(
        request: gr.Request, pictures: list[Picture], path: str, recursive: bool, *options: Any
    ) -> Iterator[FolderUpdate]:
        yield from run(request, pictures, path, recursive, options)

    handler, sources = on_start, [folder.files]
    if folder.path is not None and folder.recursive is not None:
        handler, sources = on_start_with_path, [folder.files, folder.path, folder.recursive]
    started = folder.start.click(
        handler,
        [*sources, *options.switches.inputs()],
        folder.outputs(),
        api_visibility="private",
        concurrency_id="jobs",
        concurrency_limit=2,
        show_progress="hidden",
    )
    _connect_choice(folder, started, options, view, services)


def _connect_choice(
    folder: FolderComponents,
    started: gr.events.Dependency,
    options: OptionComponents,
    view: ViewComponents,
    services: Services,
) -> None:
    def on_picture(request: gr.Request, index: int | None, *options: Any) -> ViewUpdate:
        visitor = services.visitors.get(request.session_hash)
        if index is None or FOLDER not in visitor.results:
            return pose_view.unchanged()
        try:
            checked = PoseOptions(*options).checked()
            return pose_view.shown(FOLDER, index, build_view(visitor, FOLDER, index, checked))
        except EXPLAINED as error:
            return pose_view.failed(error)

    def step(request: gr.Request, index: int | None, by: int) -> int | None:
        result = services.visitors.get(request.session_hash).results.get(FOLDER)
        if result is None or len(result) == 0:
            return index
        return ((index or 0) + by) % len(result)

    def on_previous(request: gr.Request, index: int | None) -> int | None:
        return step(request, index, -1)

    def on_next(request: gr.Request, index: int | None) -> int | None:
        return step(request, index, 1)

    def on_cancel(request: gr.Request) -> gr.Button:
        services.visitors.get(request.session_hash).cancelled.set()
        return gr.Button(interactive=False)

    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    inputs = [folder.picture, *options.switches.inputs()]
    shown_at = {"api_visibility": "private", "show_progress": "hidden"}
    started.then(on_picture, inputs, view.outputs(), **shown_at)
    folder.picture.input(on_picture, inputs, view.outputs(), **shown_at)
    for button, handler in ((folder.previous, on_previous), (folder.next, on_next)):
        moved = button.click(handler, folder.picture, folder.picture, queue=False, **quiet)
        moved.then(on_picture, inputs, view.outputs(), **shown_at)
    folder.cancel.click(on_cancel, None, folder.cancel, queue=False, **quiet)
