"""LiveSession: one webcam's frames on the shared network. Knows no sockets; one thread uses it."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from demo_app.actions.drawing import draw_list_of
from demo_app.actions.face_numbers import face_numbers
from demo_app.actions.options import PoseOptions
from demo_app.actions.views import camera_text
from demo_app.inference.camera_choice import camera_for_size
from demo_app.inference.pipeline import FramePipeline
from demo_app.inference.records import FrameResult
from demo_app.inference.zero import NeutralPose, neutral_from_poses
from demo_app.live.meshes import LiveDrawing, LiveMeshes
from demo_app.live.messages import LiveCommand, LiveFrame, decode_jpeg
from demo_app.services import Services
from models.estimator import HeadPose
from models.face_detection.mtcnn import MIN_FACE_FRACTION_WEBCAM

ZERO_FRAMES = 8
"""A zero is the mean over so many frames before the button was pressed."""


class LiveSession:
    """Frames in, what to draw and the numbers out. Frames are looked at and forgotten."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._options = PoseOptions(model=services.config.default_model)
        self._pipeline: FramePipeline | None = None
        self._pipeline_options: tuple[Any, ...] = ()
        self._meshes = LiveMeshes(services.full_heads)
        self._neutrals: dict[int, NeutralPose] = {}
        self._recent: dict[int, deque[HeadPose]] = {}
        self._start_s = time.monotonic()
        self.frames = 0

    def obey(self, command: LiveCommand) -> None:
        """Take new settings, set or clear the zero. Raises: ValueError where zero has no face."""
        if command.kind == "settings" and command.options is not None:
            self._options = command.options
        elif command.kind == "zero":
            if not self._recent:
                neutral_from_poses([])
            self._neutrals = {key: neutral_from_poses(kept) for key, kept in self._recent.items()}
        elif command.kind == "clear_zero":
            self._neutrals = {}

    def process(self, frame: LiveFrame) -> dict[str, Any]:
        """The answer to one frame, ready for JSON.

        Raises: LiveMessageError for a bad frame, CameraError for a camera that does not fit it,
        FlameFileError for a head model that cannot be used, and as `Services.estimator`.
        """
        began_s = time.perf_counter()
        image_rgb = decode_jpeg(frame.jpeg)
        size_wh_px = (image_rgb.shape[1], image_rgb.shape[0])
        camera = camera_for_size(size_wh_px, self._options.camera_choice(webcam=True))
        pipeline = self._current_pipeline()
        time_s = time.monotonic() - self._start_s
        result = pipeline.process(image_rgb, self.frames, time_s, camera)
        self.frames += 1
        self._remember(result)
        triangles = pipeline.estimator.triangles
        drawing = self._meshes.draw(image_rgb, result, triangles, self._options.mesh)
        return self._answer(frame.number, result, pipeline, drawing) | {
            "server_ms": round((time.perf_counter() - began_s) * 1000.0, 1)
        }

    def _current_pipeline(self) -> FramePipeline:
        """The pipeline for the present settings; a new model or smoothing starts a new one."""
        options = self._options
        wanted = (
            options.model,
            options.smoothing,
            options.smoothing_strength,
            options.average_mirror,
        )
        if self._pipeline is None or wanted != self._pipeline_options:
            self._pipeline = self._services.pipeline(
                options.model,
                options.pipeline_options(uncertainty=False),
                MIN_FACE_FRACTION_WEBCAM,
            )
            self._pipeline_options = wanted
            self._neutrals, self._recent = {}, {}
            self._meshes = LiveMeshes(self._services.full_heads)
        return self._pipeline

    def _remember(self, result: FrameResult) -> None:
        before = self._recent
        self._recent = {
            face.track_id: before.get(face.track_id, deque(maxlen=ZERO_FRAMES))
            for face in result.faces
        }
        for face in result.faces:
            self._recent[face.track_id].append(face.pose)

    def _answer(
        self,
        number: int,
        result: FrameResult,
        pipeline: FramePipeline,
        drawing: LiveDrawing | None,
    ) -> dict[str, Any]:
        convention = self._options.shown_convention()
        patch = None if drawing is None else drawing.patch
        lines = self._options if drawing is None else self._options._replace(mesh="none")
        draw_list = draw_list_of(
            result.faces,
            pipeline.estimator.triangles,
            lines,
            self._neutrals,
            result.camera.size_wh_px,
        )
        numbers = [face_numbers(face, convention, self._neutrals) for face in result.faces]
        return {
            "type": "frame",
            "frame": number,
            "camera": camera_text(result.camera),
            "model": pipeline.estimator.model.label,
            "detector_ran": result.detector_ran,
            "faces": [one.to_json() for one in numbers],
            "patch": None if patch is None else patch.to_json(),
            "mesh_note": "" if drawing is None else drawing.note,
            "draw": draw_list.to_json(),
        }
