"""The full heads below the picture: which head it is, how well it fits, and its files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from demo_app.actions.background import BusyError, Progress
from demo_app.actions.full_head import HEAD_FILES, HeadsView, VideoHeads, export_video_heads
from demo_app.actions.progress_text import progress_html
from demo_app.actions.views import notice_html
from demo_app.services import Services
from demo_app.tabs.problems import EXPLAINED

VIDEO_HINT = '<p class="hint">Fits a head to every frame; a person keeps one identity.</p>'


@dataclass(frozen=True)
class HeadsComponents:
    """The heads of the frame on screen."""

    heads: gr.Column
    heads_note: gr.HTML
    heads_glb: gr.DownloadButton
    heads_obj: gr.DownloadButton
    heads_ply: gr.DownloadButton
    heads_npz: gr.DownloadButton

    def outputs(self) -> list[gr.blocks.Block]:
        """In the order of `HeadsUpdate`."""
        return [getattr(self, name) for name in HeadsUpdate._fields]


class HeadsUpdate(NamedTuple):
    """New values of the components of the same names."""

    heads: Any
    heads_note: Any
    heads_glb: Any
    heads_obj: Any
    heads_ply: Any
    heads_npz: Any


def build() -> HeadsComponents:
    """Hidden until heads are asked for."""
    with gr.Column(visible=False, elem_id="pose-heads") as heads:
        note = gr.HTML(elem_id="pose-heads-note", apply_default_css=False)
        with gr.Row(elem_classes="downloads"):
            buttons = {
                f"heads_{kind}": gr.DownloadButton(
                    label, size="sm", min_width=90, elem_id=f"pose-download-head-{kind}"
                )
                for kind, label in HEAD_FILES.items()
            }
    return HeadsComponents(heads, note, **buttons)


def as_heads(view: HeadsView | None) -> HeadsUpdate:
    """The update that shows them, or hides what was shown of others."""
    if view is None:
        return HeadsUpdate(gr.Column(visible=False), *(gr.skip() for _ in HeadsUpdate._fields[1:]))
    files = [gr.DownloadButton(value=str(view.files[kind])) for kind in HEAD_FILES]
    return HeadsUpdate(gr.Column(visible=True), view.note, *files)


@dataclass(frozen=True)
class VideoHeadsComponents:
    """The heads of a whole video, as files."""

    fit: gr.Button
    note: gr.HTML
    csv: gr.DownloadButton
    parameters: gr.DownloadButton

    def outputs(self) -> list[gr.blocks.Block]:
        """In the order of `VideoHeadsUpdate`."""
        return [getattr(self, name) for name in VideoHeadsUpdate._fields]


class VideoHeadsUpdate(NamedTuple):
    """New values of the components of the same names."""

    fit: Any
    note: Any
    csv: Any
    parameters: Any


def build_video() -> VideoHeadsComponents:
    """Below the player."""
    with gr.Accordion("Full heads", open=False, elem_classes="panel", elem_id="pose-video-heads"):
        note = gr.HTML(VIDEO_HINT, elem_id="pose-video-heads-note", apply_default_css=False)
        with gr.Row(elem_classes="downloads"):
            fit = gr.Button("Fit all frames", size="sm", elem_id="pose-fit-video", min_width=90)
            csv = _waiting("ARKit blendshapes (CSV)", "pose-download-video-csv")
            parameters = _waiting("Parameters (npz)", "pose-download-video-npz")
    return VideoHeadsComponents(fit, note, csv, parameters)


def _waiting(label: str, elem_id: str) -> gr.DownloadButton:
    return gr.DownloadButton(label, size="sm", min_width=90, elem_id=elem_id, interactive=False)


def connect_video(video: VideoHeadsComponents, services: Services) -> None:
    """Fit all frames, with progress; Cancel of the video ends it."""

    def on_fit(request: gr.Request) -> Iterator[VideoHeadsUpdate]:
        visitor = services.visitors.get(request.session_hash)
        try:
            for news in export_video_heads(visitor):
                if isinstance(news, Progress):
                    waiting = gr.Button(interactive=False)
                    yield forgotten()._replace(fit=waiting, note=progress_html(news, "frames"))
                else:
                    yield _finished(news)
        except (*EXPLAINED, BusyError) as error:
            yield forgotten()._replace(note=notice_html(str(error), "warning"))

    video.fit.click(
        on_fit,
        None,
        video.outputs(),
        api_visibility="private",
        concurrency_id="jobs",
        concurrency_limit=2,
        show_progress="hidden",
    )


def forgotten() -> VideoHeadsUpdate:
    """The update for a video whose heads were not fitted."""
    empty = gr.DownloadButton(value=None, interactive=False)
    return VideoHeadsUpdate(gr.Button(interactive=True), VIDEO_HINT, empty, empty)


def _finished(made: VideoHeads) -> VideoHeadsUpdate:
    blendshapes = None if made.blendshapes is None else str(made.blendshapes)
    return VideoHeadsUpdate(
        gr.Button(interactive=True),
        f'<p class="status">{made.note}</p>',
        gr.DownloadButton(value=blendshapes, interactive=blendshapes is not None),
        gr.DownloadButton(value=str(made.parameters), interactive=True),
    )
