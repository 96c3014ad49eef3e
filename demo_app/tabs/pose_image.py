"""Image input of the Pose tab: upload, clipboard, webcam snapshot or example."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from demo_app.actions.options import PoseOptions
from demo_app.actions.predict_picture import PICTURE, calibrated_camera, predict_picture
from demo_app.actions.view_update import build_view
from demo_app.actions.views import camera_text, notice_html
from demo_app.services import Services
from demo_app.tabs import pose_view
from demo_app.tabs.pose_options import OptionComponents
from demo_app.tabs.pose_view import ViewComponents, ViewUpdate
from demo_app.tabs.problems import EXPLAINED
from demo_app.tabs.uploads import PhotoInput, Upload

EXAMPLES_FOLDER = Path(__file__).resolve().parents[2] / "assets" / "examples"
FX_MISSING = "Give fx in pixels and press Enter; without fy, cx, cy pixels are square and centred."
EXAMPLE_KINDS = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class ImageComponents:
    """photo: the picture given. again: runs it again."""

    photo: PhotoInput
    again: gr.Button


def build() -> ImageComponents:
    """The input with its examples below."""
    photo = PhotoInput(
        label="Photo",
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard", "webcam"],
        webcam_options=gr.WebcamOptions(mirror=False),
        height=260,
        elem_id="pose-photo",
    )
    again = gr.Button("Estimate pose", variant="primary", elem_id="pose-run-image")
    examples = example_paths()
    if examples:
        gr.Examples(
            [[str(path)] for path in examples],
            inputs=[photo],
            label="Examples",
            elem_id="pose-examples",
            api_visibility="private",
        )
    return ImageComponents(photo, again)


def example_paths() -> list[Path]:
    """Pictures that ship with the app."""
    if not EXAMPLES_FOLDER.is_dir():
        return []
    return sorted(p for p in EXAMPLES_FOLDER.iterdir() if p.suffix.lower() in EXAMPLE_KINDS)


def connect(
    image: ImageComponents, options: OptionComponents, view: ViewComponents, services: Services
) -> None:
    """Estimate when a picture is given and when the model or the camera changes."""
    switches = options.switches

    def on_photo(request: gr.Request, photo: Upload | None, *options: Any) -> ViewUpdate:
        visitor = services.visitors.get(request.session_hash)
        if photo is None:
            visitor.results.pop(PICTURE, None)
            return pose_view.hidden(pose_view.empty_html(PICTURE))
        try:
            checked = PoseOptions(*options).checked()
            predict_picture(services, visitor, photo.path, photo.name, checked)
            return pose_view.shown(PICTURE, 0, build_view(visitor, PICTURE, 0, checked))
        except EXPLAINED as error:
            return pose_view.failed(error)

    def on_camera(
        request: gr.Request, source: str, photo: Upload | None, *options: Any
    ) -> ViewUpdate:
        if photo is None or source != PICTURE:
            return pose_view.unchanged()
        given = PoseOptions(*options)
        if given.camera_mode == "intrinsics" and not given.fx_px:
            return pose_view.said(notice_html(FX_MISSING, "info"))
        return on_photo(request, photo, *options)

    inputs = [image.photo, *switches.inputs()]
    shared = {
        "outputs": view.outputs(),
        "api_visibility": "private",
        "concurrency_id": "still",
        "concurrency_limit": 2,
        "trigger_mode": "always_last",
        "show_progress": "minimal",
        "show_progress_on": view.status,
    }
    image.photo.change(on_photo, inputs, **shared)
    image.again.click(on_photo, inputs, **shared)
    numbers = (switches.fx_px, switches.fy_px, switches.cx_px, switches.cy_px)
    again_when = [
        switches.model.input,
        switches.average_mirror.input,
        switches.camera_mode.change,
        switches.horizontal_fov_deg.change,
        *(number.submit for number in numbers),
        *(number.blur for number in numbers),
    ]
    for event in again_when:
        event(on_camera, [view.source, *inputs], **shared)
    _connect_calibration(options, services)


def _connect_calibration(options: OptionComponents, services: Services) -> None:
    """Sets the field of view, whose change then estimates the picture again."""
    switches = options.switches

    def on_calibrate(
        request: gr.Request, distance_cm: float | None, *options: Any
    ) -> tuple[str, gr.Radio, gr.Slider]:
        """The calibrated field of view becomes the one in use."""
        skip = (gr.skip(), gr.skip())
        picture = services.visitors.get(request.session_hash).results.get(PICTURE)
        if picture is None or not distance_cm:
            sentence = "Give a picture of your face, and its distance from the camera in cm."
            return notice_html(sentence, "warning"), *skip
        try:
            checked = PoseOptions(*options).checked()
            camera = calibrated_camera(services, picture, distance_cm, checked)
        except EXPLAINED as error:
            return notice_html(str(error), "warning"), *skip
        note = camera_text(camera).capitalize()
        return (
            f'<p class="hint">{note}. The field of view is set to it.</p>',
            gr.Radio(value="fov"),
            gr.Slider(value=round(camera.horizontal_fov_deg, 2)),
        )

    options.calibrate.click(
        on_calibrate,
        [options.distance_cm, *switches.inputs()],
        [options.calibration_note, switches.camera_mode, switches.horizontal_fov_deg],
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=options.calibration_note,
        concurrency_id="still",
    )
