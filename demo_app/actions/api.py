"""What the named endpoints return: rows as in the JSON export, nothing kept on the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from demo_app.actions.options import PoseOptions
from demo_app.actions.predict_picture import NothingToDoError
from demo_app.inference.camera_choice import camera_for_image, camera_for_size
from demo_app.inference.export import Row, rows_from_result
from demo_app.inference.images import read_image
from demo_app.inference.records import FrameResult
from demo_app.inference.video import VideoOutputs, process_video
from demo_app.services import Services


class NamedFile(Protocol):
    """path: where it lies. name: what the caller calls it."""

    path: str
    name: str


def predict_image_rows(
    services: Services, photo: NamedFile | None, model: str, horizontal_fov_deg: float | None
) -> list[Row]:
    """Rows of one picture. Raises: NothingToDoError, ImageError, OptionError, CheckpointError."""
    if photo is None:
        raise NothingToDoError("Give a picture.")
    return predict_files_rows(services, [photo], model, horizontal_fov_deg)


def predict_files_rows(
    services: Services, files: Sequence[NamedFile], model: str, horizontal_fov_deg: float | None
) -> list[Row]:
    """Rows of several pictures, in their order. Raises as `predict_image_rows`."""
    options = _options(model, horizontal_fov_deg)
    pipeline = services.pipeline(options.model, options.pipeline_options())
    rows: list[Row] = []
    for file in files:
        loaded = read_image(file.path, name=file.name)
        camera = camera_for_image(loaded, options.camera_choice())
        rows += rows_from_result(pipeline.process_still(loaded.image_rgb, camera, file.name))
    return rows


def predict_video_rows(
    services: Services,
    video: NamedFile | None,
    model: str,
    horizontal_fov_deg: float | None,
    smoothing: bool,
) -> list[Row]:
    """Rows of all frames of a video. Raises: as `predict_image_rows`, and VideoError."""
    if video is None:
        raise NothingToDoError("Give a video.")
    options = _options(model, horizontal_fov_deg)._replace(smoothing=smoothing)
    rows: list[Row] = []

    def keep(result: FrameResult) -> None:
        rows.extend(row | {"source": video.name} for row in rows_from_result(result))

    process_video(
        video.path,
        services.pipeline(options.model, options.pipeline_options()),
        lambda size_wh_px: camera_for_size(size_wh_px, options.camera_choice()),
        VideoOutputs(on_result=keep),
    )
    return rows


def _options(model: str, horizontal_fov_deg: float | None) -> PoseOptions:
    """A field of view of 0 or None means: from EXIF, else assumed."""
    if not horizontal_fov_deg:
        return PoseOptions(model=model).checked()
    return PoseOptions(
        model=model, camera_mode="fov", horizontal_fov_deg=horizontal_fov_deg
    ).checked()
