"""Named endpoints for programs (`gradio_client`): what the Pose tab does, without its page."""

from __future__ import annotations

from typing import Any

import gradio as gr

from demo_app.actions.api import predict_files_rows, predict_image_rows, predict_video_rows
from demo_app.services import Services
from demo_app.tabs.pose_folder import Picture, PicturesInput
from demo_app.tabs.pose_video import VideoInput
from demo_app.tabs.problems import explaining
from demo_app.tabs.uploads import PhotoInput, Upload


def connect(services: Services) -> None:
    """/predict_image, /predict_video, /predict_files, /models; rows as in the JSON export."""
    with gr.Column(visible=False):
        photo = PhotoInput(type="filepath", image_mode=None, label="Picture")
        video = VideoInput(label="Video")
        files = PicturesInput(file_count="multiple", label="Pictures")
        model = gr.Textbox(services.config.default_model, label="Model")
        fov = gr.Number(0, label="Horizontal field of view in degrees; 0: EXIF, else assumed")
        smoothing = gr.Checkbox(False, label="Smooth over time")
        rows = gr.JSON(label="Rows")
        names = gr.JSON(label="Models")
        run = gr.Button()

    def predict_image(
        photo: Upload | None, model: str, horizontal_fov_deg: float | None
    ) -> list[dict[str, Any]]:
        """Head poses of one picture as rows of the JSON export."""
        with explaining():
            return predict_image_rows(services, photo, model, horizontal_fov_deg)

    def predict_video(
        video: Upload | None, model: str, horizontal_fov_deg: float | None, smoothing: bool
    ) -> list[dict[str, Any]]:
        """Head poses of every frame of a video as rows of the JSON export."""
        with explaining():
            return predict_video_rows(services, video, model, horizontal_fov_deg, smoothing)

    def predict_files(
        files: list[Picture], model: str, horizontal_fov_deg: float | None
    ) -> list[dict[str, Any]]:
        """Head poses of several pictures; a picture that cannot be read is an error."""
        with explaining():
            return predict_files_rows(services, files, model, horizontal_fov_deg)

    def list_models() -> list[dict[str, Any]]:
        """The networks that there are, and what is missing of those that are not installed."""
        return services.model_list()

    job = {"concurrency_id": "api", "concurrency_limit": 1}
    run.click(predict_image, [photo, model, fov], rows, api_name="predict_image", **job)
    run.click(predict_video, [video, model, fov, smoothing], rows, api_name="predict_video", **job)
    run.click(predict_files, [files, model, fov], rows, api_name="predict_files", **job)
    run.click(list_models, None, names, api_name="models")
