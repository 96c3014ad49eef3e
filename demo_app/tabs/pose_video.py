"""Video input: progress, Cancel, player, plot over time, and any of its frames in the view."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.data_classes import FileData

from demo_app.actions.background import BusyError, Progress
from demo_app.actions.options import PoseOptions
from demo_app.actions.predict_video import VIDEO, predict_video, redraw_video
from demo_app.actions.progress_text import progress_html
from demo_app.actions.results import VideoResult
from demo_app.actions.video_report import first_frame_with_a_face, time_figure_json, video_end_html
from demo_app.actions.view_update import build_view
from demo_app.actions.views import notice_html
from demo_app.services import Services
from demo_app.tabs import pose_full_head, pose_view
from demo_app.tabs.figure import build_figure
from demo_app.tabs.pose_full_head import VideoHeadsComponents
from demo_app.tabs.pose_options import OptionComponents
from demo_app.tabs.pose_view import ViewComponents, ViewUpdate
from demo_app.tabs.problems import EXPLAINED, explaining
from demo_app.tabs.uploads import Upload


class VideoInput(gr.Video):
    """gr.Video that hands over the uploaded file as it is; its value is an `Upload`."""

    is_template = True

    def preprocess(self, payload: FileData | None) -> Upload | None:
        """The uploaded file."""
        if payload is None:
            return None
        return Upload(payload.path, payload.orig_name or Path(payload.path).name)


@dataclass(frozen=True)
class VideoComponents:
    """player, plot, frame: what only a video has; the view below shows the chosen frame."""

    video: VideoInput
    start: gr.Button
    cancel: gr.Button
    progress: gr.HTML
    results: gr.Column
    player: gr.Video
    download: gr.DownloadButton
    redraw: gr.Button
    plot: gr.HTML
    frame: gr.Slider
    heads: VideoHeadsComponents

    def outputs(self) -> list[gr.blocks.Block]:
        """In the order of `VideoUpdate`."""
        return [getattr(self, name) for name in VideoUpdate._fields]


class VideoUpdate(NamedTuple):
    """New values of the components of the same names."""

    start: Any
    cancel: Any
    progress: Any
    results: Any
    player: Any
    download: Any
    redraw: Any
    plot: Any
    frame: Any


def build_input() -> dict[str, gr.components.Component]:
    """The left side."""
    video = VideoInput(label="Video", sources=["upload"], height=260, elem_id="pose-video")
    with gr.Row(elem_classes="tight"):
        start = gr.Button("Estimate poses", variant="primary", elem_id="pose-run-video")
        cancel = gr.Button("Cancel", interactive=False, elem_id="pose-cancel-video")
    return {"video": video, "start": start, "cancel": cancel}


def build_output(inputs: dict[str, gr.components.Component]) -> VideoComponents:
    """The right side, above the view of one frame."""
    progress = gr.HTML(elem_id="pose-video-progress", apply_default_css=False)
    with gr.Column(visible=False) as results:
        player = gr.Video(
            show_label=False,
            interactive=False,
            buttons=[],
            elem_id="pose-video-player",
            elem_classes="picture",
        )
        with gr.Row(elem_classes="downloads"):
            download = gr.DownloadButton(
                "Annotated video", size="sm", elem_id="pose-download-video", min_width=90
            )
            redraw = gr.Button(
                "Redraw with these switches", size="sm", elem_id="pose-redraw", min_width=90
            )
        with gr.Accordion("Over time", open=True, elem_classes="panel"):
            plot = build_figure("pose-time", "Angles and position over time")
            gr.HTML('<p class="hint">Thin lines: before smoothing.</p>', apply_default_css=False)
        heads = pose_full_head.build_video()
        frame = gr.Slider(
            0, 1, value=0, step=1, label="Frame shown below", precision=0, elem_id="pose-frame"
        )
    return VideoComponents(
        **inputs,
        progress=progress,
        results=results,
        player=player,
        download=download,
        redraw=redraw,
        plot=plot,
        frame=frame,
        heads=heads,
    )


def _update(**values: Any) -> VideoUpdate:
    kept = {name: gr.skip() for name in VideoUpdate._fields}
    return VideoUpdate(**kept | values)


def _working(progress: str, cancellable: bool = True) -> VideoUpdate:
    return _update(
        progress=progress,
        start=gr.Button(interactive=False),
        cancel=gr.Button(interactive=cancellable),
        redraw=gr.Button(interactive=False),
    )


def _idle(**values: Any) -> VideoUpdate:
    buttons = {
        "start": gr.Button(interactive=True),
        "cancel": gr.Button(interactive=False),
        "redraw": gr.Button(interactive=True),
    }
    return _update(**buttons, **values)


def _finished(result: VideoResult, frame: int, options: PoseOptions) -> VideoUpdate:
    path = None if result.annotated is None else str(result.annotated)
    return _idle(
        progress=video_end_html(result),
        results=gr.Column(visible=True),
        player=path,
        download=gr.DownloadButton(value=path, interactive=path is not None),
        plot=time_figure_json(result, options),
        frame=gr.Slider(maximum=max(1, len(result) - 1), value=frame),
    )


class _Handlers:
    """What the buttons of this input do; values in, updates out."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def start(
        self, request: gr.Request, given: Upload | None, *options: Any
    ) -> Iterator[VideoUpdate]:
        visitor = self._services.visitors.get(request.session_hash)
        if given is None:
            yield _idle(progress=notice_html("Give a video first.", "warning"))
            return
        yield _working('<p class="status">Loading the network …</p>', cancellable=False)
        try:
            checked = PoseOptions(*options).checked()
            for news in predict_video(self._services, visitor, given.path, given.name, checked):
                if isinstance(news, Progress):
                    yield _working(progress_html(news, "frames"))
                else:
                    yield _finished(news, first_frame_with_a_face(news), checked)
        except (*EXPLAINED, BusyError) as error:
            yield _idle(progress=notice_html(str(error)))

    def redraw(self, request: gr.Request, *options: Any) -> Iterator[VideoUpdate]:
        visitor = self._services.visitors.get(request.session_hash)
        try:
            checked = PoseOptions(*options).checked()
            for news in redraw_video(visitor, checked):
                if isinstance(news, Progress):
                    yield _working(progress_html(news, "frames"))
                else:
                    path = str(news.annotated)
                    done = video_end_html(news)
                    yield _idle(progress=done, player=path, download=gr.DownloadButton(value=path))
        except (*EXPLAINED, BusyError) as error:
            yield _idle(progress=notice_html(str(error), "warning"))

    def frame(self, request: gr.Request, frame: float, *options: Any) -> ViewUpdate:
        visitor = self._services.visitors.get(request.session_hash)
        if VIDEO not in visitor.results:
            return pose_view.unchanged()
        try:
            checked = PoseOptions(*options).checked()
            return pose_view.shown(
                VIDEO, int(frame), build_view(visitor, VIDEO, int(frame), checked)
            )
        except EXPLAINED as error:
            return pose_view.failed(error)

    def cancel(self, request: gr.Request) -> gr.Button:
        self._services.visitors.get(request.session_hash).cancelled.set()
        return gr.Button(interactive=False)

    def convention(self, request: gr.Request, source: str, *options: Any) -> Any:
        result = self._services.visitors.get(request.session_hash).results.get(VIDEO)
        if result is None or source != VIDEO:
            return gr.skip()
        with explaining():
            return time_figure_json(result, PoseOptions(*options).checked())


def connect(
    video: VideoComponents, options: OptionComponents, view: ViewComponents, services: Services
) -> None:
    """Start, Cancel and the choice of the frame."""
    switches = options.switches
    do = _Handlers(services)
    job = {"api_visibility": "private", "concurrency_id": "jobs", "concurrency_limit": 2}
    hidden = {"show_progress": "hidden"}
    inputs = switches.inputs()
    show = {
        "inputs": [video.frame, *inputs],
        "outputs": view.outputs(),
        "api_visibility": "private",
        "trigger_mode": "always_last",
        "show_progress": "minimal",
        "show_progress_on": view.status,
    }
    started = video.start.click(do.start, [video.video, *inputs], video.outputs(), **job, **hidden)
    started.then(do.frame, **show).then(
        pose_full_head.forgotten,
        None,
        video.heads.outputs(),
        api_visibility="private",
        **hidden,
    )
    pose_full_head.connect_video(video.heads, services)
    video.frame.input(do.frame, **show)
    video.redraw.click(do.redraw, inputs, video.outputs(), **job, **hidden)
    switches.convention.change(
        do.convention, [view.source, *inputs], video.plot, api_visibility="private", **hidden
    )
    video.cancel.click(
        do.cancel, None, video.cancel, queue=False, api_visibility="private", **hidden
    )
