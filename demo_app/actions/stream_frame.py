"""One frame of Gradio's own webcam streaming, the fallback of live mode."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from demo_app.actions.head_drawing import with_full_heads
from demo_app.actions.options import PoseOptions
from demo_app.actions.results import ShownFrame
from demo_app.actions.views import preview_image, table_html
from demo_app.inference.camera_choice import camera_for_size
from demo_app.inference.full_heads import HeadFollower
from demo_app.inference.pipeline import FramePipeline
from demo_app.services import Services, Visitor
from models.face_detection.mtcnn import MIN_FACE_FRACTION_WEBCAM

Array = np.ndarray


@dataclass
class Stream:
    """A visitor's pipeline and heads between two frames, and the settings they were made for."""

    pipeline: FramePipeline
    follower: HeadFollower
    made_for: tuple[Any, ...]
    frames: int = 0


def stream_frame(
    services: Services,
    visitor: Visitor,
    image_rgb: UInt8[Array, "h w 3"],
    options: PoseOptions,
) -> tuple[str, str]:
    """The annotated frame and its table as HTML; the picture is inside, so no file is written.

    Raises: CameraError, CheckpointError, FlameFileError.
    """
    made_for = (options.model, options.smoothing, options.smoothing_strength)
    stream = visitor.stream
    if stream is None or stream.made_for != made_for:
        pipeline = services.pipeline(
            options.model,
            options.pipeline_options(uncertainty=False),
            MIN_FACE_FRACTION_WEBCAM,
        )
        stream = visitor.stream = Stream(pipeline, HeadFollower(visitor.full_heads), made_for)
    camera = camera_for_size(
        (image_rgb.shape[1], image_rgb.shape[0]), options.camera_choice(webcam=True)
    )
    result = stream.pipeline.process(image_rgb, stream.frames, time.monotonic(), camera)
    stream.frames += 1
    estimator = stream.pipeline.estimator
    shown = ShownFrame(image_rgb, result, estimator.triangles, estimator.model.label, "webcam")
    shown = with_full_heads(shown, options, visitor.full_heads, stream.follower.of_faces)
    return _picture_html(preview_image(shown, options, {})), table_html(shown, options, {})


def _picture_html(image_rgb: UInt8[Array, "h w 3"]) -> str:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))
    text = base64.b64encode(data.tobytes()).decode()
    source = f"data:image/jpeg;base64,{text}"
    return f'<img class="streamed" alt="Webcam picture with head poses" src="{source}">'
