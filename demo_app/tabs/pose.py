"""The Pose tab: four inputs on the left, their results on the right, one set of switches."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from demo_app.actions.options import PoseOptions
from demo_app.actions.predict_folder import FOLDER
from demo_app.actions.predict_picture import PICTURE
from demo_app.actions.predict_video import VIDEO
from demo_app.actions.view_update import build_view
from demo_app.services import Services
from demo_app.tabs import (
    pose_api,
    pose_folder,
    pose_image,
    pose_live,
    pose_options,
    pose_video,
    pose_view,
)
from demo_app.tabs.pose_view import ViewUpdate
from demo_app.tabs.problems import EXPLAINED

LIVE = "live"


@dataclass(frozen=True)
class PoseComponents:
    """tabs: one for each input. outputs: the column of each input's own results, by its name."""

    tabs: dict[str, gr.Tab]
    outputs: dict[str, gr.Column]
    shared_view: gr.Column
    image: pose_image.ImageComponents
    video: pose_video.VideoComponents
    folder: pose_folder.FolderComponents
    live: pose_live.LiveComponents
    options: pose_options.OptionComponents
    view: pose_view.ViewComponents


def build(services: Services) -> PoseComponents:
    """Inputs, results, switches: side by side on a wide screen, in this order on a phone."""
    with gr.Row(elem_classes="pose-grid"):
        with gr.Column(elem_classes="pose-input", min_width=300), gr.Tabs():
            with gr.Tab("Image", elem_id="tab-image") as image_tab:
                image = pose_image.build()
            with gr.Tab("Video", elem_id="tab-video") as video_tab:
                video_input = pose_video.build_input()
            with gr.Tab("Folder", elem_id="tab-folder") as folder_tab:
                folder_input = pose_folder.build_input(services)
            with gr.Tab("Live", elem_id="tab-live") as live_tab:
                pose_live.build_input()
        with gr.Column(elem_classes="pose-output", min_width=300):
            with gr.Column(visible=False) as video_output:
                video = pose_video.build_output(video_input)
            with gr.Column(visible=False) as folder_output:
                folder = pose_folder.build_output(folder_input)
            with gr.Column(visible=False) as live_output:
                live = pose_live.build_output()
            with gr.Column() as shared_view:
                view = pose_view.build()
        with gr.Column(elem_classes="pose-options", min_width=300):
            options = pose_options.build(services)
    return PoseComponents(
        tabs={PICTURE: image_tab, VIDEO: video_tab, FOLDER: folder_tab, LIVE: live_tab},
        outputs={VIDEO: video_output, FOLDER: folder_output, LIVE: live_output},
        shared_view=shared_view,
        image=image,
        video=video,
        folder=folder,
        live=live,
        options=options,
        view=view,
    )


def connect(pose: PoseComponents, banner: gr.HTML, services: Services) -> None:
    """All events of the tab."""
    pose_options.connect(pose.options, banner, services)
    pose_view.connect(pose.view, pose.options, services)
    pose_image.connect(pose.image, pose.options, pose.view, services)
    pose_video.connect(pose.video, pose.options, pose.view, services)
    pose_folder.connect(pose.folder, pose.options, pose.view, services)
    pose_live.connect(pose.live, pose.options, services)
    pose_api.connect(services)
    for source, tab in pose.tabs.items():
        _connect_tab(pose, source, tab, services)


def _connect_tab(pose: PoseComponents, source: str, tab: gr.Tab, services: Services) -> None:
    """Choosing an input shows its results, whatever another input showed."""
    columns = [*pose.outputs.values(), pose.shared_view, pose.options.switches.mirror]
    shown = [name == source for name in pose.outputs] + [source != LIVE] * 2
    updates = ", ".join(f'{{__type__: "update", visible: {str(on).lower()}}}' for on in shown)

    def on_select(request: gr.Request, *options: object) -> ViewUpdate:
        visitor = services.visitors.get(request.session_hash)
        if source == LIVE:
            return pose_view.unchanged()
        if source not in visitor.results:
            return pose_view.hidden(pose_view.empty_html(source))
        try:
            checked = PoseOptions(*options).checked()
            index = visitor.shown.get(source, 0)
            return pose_view.shown(source, index, build_view(visitor, source, index, checked))
        except EXPLAINED as error:
            return pose_view.failed(error)

    tab.select(fn=None, outputs=columns, js=f"() => [{updates}]")
    tab.select(
        on_select,
        pose.options.switches.inputs(),
        pose.view.outputs(),
        show_progress="hidden",
        api_visibility="private",
    )
