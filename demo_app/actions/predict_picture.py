"""One picture: read it, find its camera, its heads, and write what can be downloaded."""

from __future__ import annotations

import time
from pathlib import Path

from demo_app.actions.options import PoseOptions
from demo_app.actions.results import PictureResult, ShownFrame
from demo_app.actions.views import annotated_image, write_jpeg
from demo_app.inference.camera_choice import calibrate_from_distance, camera_for_image
from demo_app.inference.export import WRITERS, Row, atomic_file, rows_from_result
from demo_app.inference.images import LoadedImage, read_image
from demo_app.inference.output_names import safe_stem
from demo_app.services import Neutrals, Services, Visitor
from models.geometry.cameras import Camera
from viewer.render.mesh_glb import glb_from_poses

PICTURE = "picture"
"""Name of this input in `Visitor.results`."""


class NothingToDoError(ValueError):
    """The button needs something first; the message says what."""


def predict_picture(
    services: Services, visitor: Visitor, path: str, name: str, options: PoseOptions
) -> PictureResult:
    """The heads of a picture file. name: what the user calls it.

    Raises: ImageError, CameraError, CheckpointError.
    """
    loaded = read_image(path, name=name)
    camera = camera_for_image(loaded, options.camera_choice())
    return predict_loaded(services, visitor, loaded, camera, options)


def predict_loaded(
    services: Services,
    visitor: Visitor,
    loaded: LoadedImage,
    camera: Camera,
    options: PoseOptions,
) -> PictureResult:
    """The heads of a picture that was read already. Raises: CheckpointError."""
    pipeline = services.pipeline(options.model, options.pipeline_options())
    began_s = time.perf_counter()
    result = pipeline.process_still(loaded.image_rgb, camera, loaded.source)
    seconds = time.perf_counter() - began_s
    folder, stem = visitor.new_folder(PICTURE), safe_stem(loaded.source)
    picture = PictureResult(
        folder=folder,
        stem=stem,
        tables=write_tables(rows_from_result(result), folder, stem),
        loaded=loaded,
        result=result,
        triangles=pipeline.estimator.triangles,
        model_label=pipeline.estimator.model.label,
        seconds=seconds,
    )
    visitor.keep(PICTURE, picture, same_people=True)
    return picture


def picture_rows(services: Services, path: str, name: str, options: PoseOptions) -> list[Row]:
    """Rows of a picture for programs: nothing is kept or written. Raises as `predict_picture`."""
    loaded = read_image(path, name=name)
    camera = camera_for_image(loaded, options.camera_choice())
    pipeline = services.pipeline(options.model, options.pipeline_options())
    result = pipeline.process_still(loaded.image_rgb, camera, name)
    return rows_from_result(result)


def write_tables(rows: list[Row], folder: Path, stem: str) -> dict[str, Path]:
    """The rows as JSON, CSV and Parquet, by format."""
    paths = {name: folder / f"{stem}_poses.{name}" for name in WRITERS}
    for name, path in paths.items():
        WRITERS[name](rows, path)
    return paths


def write_glb(shown: ShownFrame, folder: Path, stem: str) -> Path | None:
    """All heads and the camera as a GLB; None where there is no head."""
    faces = shown.result.faces
    if not faces:
        return None
    data = glb_from_poses(
        [face.pose for face in faces],
        [face.track_id for face in faces],
        shown.triangles,
        shown.result.camera,
    )
    path = folder / f"{stem}_heads.glb"
    with atomic_file(path) as file:
        file.write(data)
    return path


def write_annotated(
    shown: ShownFrame, options: PoseOptions, neutrals: Neutrals, folder: Path, stem: str
) -> Path:
    """The annotated picture in its own size."""
    return write_jpeg(annotated_image(shown, options, neutrals), folder / f"{stem}_annotated.jpg")


def calibrated_camera(
    services: Services, picture: PictureResult, distance_cm: float, options: PoseOptions
) -> Camera:
    """The camera under which the largest face of the picture is so far away.

    Raises: CalibrationError.
    """
    estimator = services.estimator(options.model)
    faces = picture.result.faces
    if not faces:
        raise NothingToDoError("Calibration needs a picture with a face: give one first.")
    box = faces[0].pose.box_xyxy_px

    def distance_mm(camera: Camera) -> float:
        pose = estimator.predict(picture.loaded.image_rgb, camera, box[None])[0]
        return pose.distance_mm

    return calibrate_from_distance(distance_mm, picture.result.camera, distance_cm * 10.0)
