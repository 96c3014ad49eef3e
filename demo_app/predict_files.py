"""The verb `predict`: every input to its own files; one bad input costs nothing else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from demo_app.inference.camera_choice import CameraChoice, camera_for_image, camera_for_size
from demo_app.inference.export import WRITERS, RowLog, atomic_file, rows_from_result
from demo_app.inference.images import ImageError, read_image
from demo_app.inference.input_files import InputFile, list_inputs, printable
from demo_app.inference.output_names import output_names
from demo_app.inference.pipeline import FramePipeline, PipelineOptions
from demo_app.inference.records import FrameResult
from demo_app.inference.smoothing import SmoothingOptions
from demo_app.inference.video import VideoOutputs, process_video
from demo_app.inference.video_reader import VideoError
from models.estimator import HeadPoseEstimator
from models.face_detection.mtcnn import MIN_FACE_FRACTION_VIDEO
from models.geometry.cameras import DEFAULT_HORIZONTAL_FOV_DEG, CameraError
from viewer.render.mesh_glb import glb_from_poses
from viewer.render.overlay import OverlayOptions, build_draw_list, draw_overlay

Array = np.ndarray
Format = Literal["json", "csv", "parquet", "glb"]
JPEG_QUALITY = 95
PROGRESS_EVERY_S = 2.0


@dataclass(frozen=True)
class PredictJob:
    """What the command line asked for; see `demo_app.cli.Predict`."""

    inputs: tuple[str, ...]
    out: Path
    model: str
    fov_deg: float | None
    intrinsics: tuple[float, float, float, float] | None
    insist_on_exif: bool
    formats: tuple[Format, ...]
    draw: bool
    mesh: Literal["none", "wireframe", "shaded"]
    smooth: bool
    average_mirror: bool
    recursive: bool
    device: str | None

    def camera_choice(self) -> CameraChoice:
        if self.intrinsics is not None:
            fx, fy, cx, cy = self.intrinsics
            return CameraChoice("intrinsics", fx_px=fx, fy_px=fy, cx_px=cx, cy_px=cy)
        if self.fov_deg is not None:
            return CameraChoice("fov", horizontal_fov_deg=self.fov_deg)
        mode = "exif" if self.insist_on_exif else "auto"
        return CameraChoice(mode, horizontal_fov_deg=DEFAULT_HORIZONTAL_FOV_DEG)


def predict_files(job: PredictJob, say: Callable[[str], None]) -> int:
    """Run the job, telling each result in a line. Returns 0, or 1 if any input failed.

    Raises: CheckpointError for unusable weights, CameraError for impossible camera numbers.
    """
    listing = list_inputs(job.inputs, job.recursive)
    if listing.skipped:
        say(listing.skipped_text())
    if not listing.files:
        say("There is nothing to work on: no picture and no video was found.")
        return 1
    estimator = HeadPoseEstimator.load(job.model, device=job.device)
    job.out.mkdir(parents=True, exist_ok=True)
    stems = output_names(listing.paths)
    failed = 0
    for file, stem in zip(listing.files, stems, strict=True):
        shown = printable(file.path)
        try:
            say(f"{shown}: {_predict_one(job, estimator, file, job.out / stem)}")
        except (ImageError, VideoError, CameraError, OSError) as error:
            failed += 1
            say(f"{shown}: FAILED. {error}")
    say(f"{len(stems) - failed} of {len(stems)} inputs done, results in {job.out}")
    return 1 if failed else 0


def _predict_one(job: PredictJob, estimator: HeadPoseEstimator, file: InputFile, stem: Path) -> str:
    options = PipelineOptions(
        smoothing=SmoothingOptions() if job.smooth else None, average_mirror=job.average_mirror
    )
    if file.kind == "video":
        video_pipeline = FramePipeline(
            estimator, estimator.detector.with_min_face_fraction(MIN_FACE_FRACTION_VIDEO), options
        )
        return _predict_video(job, video_pipeline, file.path, stem)
    return _predict_image(
        job, FramePipeline(estimator, estimator.detector, options), file.path, stem
    )


def _predict_image(job: PredictJob, pipeline: FramePipeline, path: str, stem: Path) -> str:
    loaded = read_image(path)
    camera = camera_for_image(loaded, job.camera_choice())
    result = pipeline.process_still(loaded.image_rgb, camera, path)
    rows = rows_from_result(result)
    for name in job.formats:
        if name == "glb":
            glb = glb_from_poses(*_heads(result), pipeline.estimator.triangles, camera)
            _write(stem.with_name(stem.name + ".glb"), glb)
        else:
            WRITERS[name](rows, stem.with_name(f"{stem.name}.{name}"))
    if job.draw:
        drawn = _draw(job, pipeline, loaded.image_rgb, result)
        _write_jpeg(stem.with_name(stem.name + "_annotated.jpg"), drawn)
    note = f" {loaded.note}." if loaded.note else ""
    return f"{_faces(len(rows))}; camera: {camera.source}.{note}"


def _predict_video(job: PredictJob, pipeline: FramePipeline, path: str, stem: Path) -> str:
    choice = job.camera_choice()
    annotated = stem.with_name(stem.name + "_annotated.mp4") if job.draw else None
    tables = [name for name in job.formats if name != "glb"]
    with RowLog(stem.with_name(stem.name + ".rows.jsonl")) as log:
        try:
            run = process_video(
                path,
                pipeline,
                lambda size_wh_px: camera_for_size(size_wh_px, choice),
                VideoOutputs(
                    rows=log,
                    annotated=annotated,
                    draw=(lambda image, result: _draw(job, pipeline, image, result))
                    if annotated
                    else None,
                ),
                progress=_ProgressLine(),
            )
        except KeyboardInterrupt:
            log.write_all(stem, tables)  # what was done is kept
            raise
        log.write_all(stem, tables)
    log.path.unlink()
    camera = camera_for_size(run.info.size_wh_px, choice)
    notes = " ".join(run.notes)
    no_glb = " GLB is for pictures only." if "glb" in job.formats else ""
    return (
        f"{run.frames} frames, {run.frames_with_a_face} with a face, "
        f"{len(run.track_ids)} tracks; camera: {camera.source}.{no_glb} {notes}".rstrip()
    )


def _heads(result: FrameResult) -> tuple[list, list[int]]:
    return [face.pose for face in result.faces], [face.track_id for face in result.faces]


def _draw(job: PredictJob, pipeline: FramePipeline, image_rgb: Array, result: FrameResult) -> Array:
    size_wh_px = (image_rgb.shape[1], image_rgb.shape[0])
    shapes = build_draw_list(
        *_heads(result), pipeline.estimator.triangles, OverlayOptions(mesh=job.mesh), size_wh_px
    )
    return draw_overlay(image_rgb, shapes)


def _faces(count: int) -> str:
    return {0: "no face", 1: "1 face"}.get(count, f"{count} faces")


def _write(path: Path, data: bytes) -> None:
    with atomic_file(path) as file:
        file.write(data)


def _write_jpeg(path: Path, image_rgb: Array) -> None:
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), settings)
    _write(path, data.tobytes())


class _ProgressLine:
    """Frames done and the time that is left, on standard error, every few seconds."""

    def __init__(self) -> None:
        self._start_s = self._last_s = time.monotonic()

    def __call__(self, done: int, expected: int | None) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s < PROGRESS_EVERY_S or done == 0:
            return
        self._last_s = now_s
        rate = done / (now_s - self._start_s)
        left = f" of {expected}, {max(0, expected - done) / rate:.0f} s left" if expected else ""
        sys.stderr.write(f"  {done} frames{left} ({rate:.1f} frames/s)\n")
