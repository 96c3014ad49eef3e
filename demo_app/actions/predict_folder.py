"""Several pictures or a folder of them; a bad one is reported and the others go on."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2

from demo_app.actions.background import Job, Progress, removed_on_error
from demo_app.actions.head_drawing import with_full_heads
from demo_app.actions.options import PoseOptions
from demo_app.actions.predict_picture import NothingToDoError
from demo_app.actions.results import FolderResult, ShownFrame
from demo_app.actions.views import JPEG_QUALITY, annotated_image
from demo_app.inference.camera_choice import camera_for_image
from demo_app.inference.export import WRITERS, RowLog, rows_from_result
from demo_app.inference.full_heads import FullHeads
from demo_app.inference.images import ImageError, read_image
from demo_app.inference.input_files import list_images
from demo_app.inference.output_names import output_names
from demo_app.inference.pipeline import FramePipeline
from demo_app.services import Services, Visitor
from models.geometry.cameras import CameraError

FOLDER = "folder"
"""Name of this input in `Visitor.results`."""

MAX_PICTURES = 5000
"""More are cut off: the command line has no such limit."""


class Picture(NamedTuple):
    """path: where it lies. name: what the user calls it."""

    path: str
    name: str


def pictures_in(folder: str, recursive: bool) -> tuple[list[Picture], list[str]]:
    """The pictures of a folder in natural order, and a sentence for each file left out.

    Raises: NothingToDoError where there is none.
    """
    if not folder.strip():
        raise NothingToDoError("Give several pictures, or the path of a folder.")
    root = Path(folder.strip()).expanduser()
    listing = list_images([root], recursive)
    if not listing.files:
        why = listing.skipped_text(3) or "It is empty."
        raise NothingToDoError(f"There is no picture in {root}. {why}")
    names = [_below(path, root) for path in listing.paths]
    pictures = [Picture(path, name) for path, name in zip(listing.paths, names, strict=True)]
    return pictures, listing.skipped_text().splitlines()


def _below(path: str, root: Path) -> str:
    """The path as seen from the folder that was given; its own name for a single file."""
    return str(Path(path).relative_to(root)) if Path(path) != root else Path(path).name


def predict_pictures(
    services: Services,
    visitor: Visitor,
    pictures: Sequence[Picture],
    options: PoseOptions,
    notes: Sequence[str] = (),
) -> Iterator[Progress | FolderResult]:
    """Progress while it works, then the result; the visitor's Cancel ends it with what there is.

    notes: what is known to be left out already. Raises: CheckpointError, BusyError.
    """
    if not pictures:
        raise NothingToDoError("Give several pictures, or the path of a folder.")
    pipeline = services.pipeline(options.model, options.pipeline_options())
    folder, taken = visitor.new_folder(FOLDER), pictures[:MAX_PICTURES]

    def work(
        report: Callable[[int, int | None], None], cancelled: Callable[[], bool]
    ) -> FolderResult:
        result = FolderResult(
            folder=folder,
            triangles=pipeline.estimator.triangles,
            model_label=pipeline.estimator.model.label,
            problems=list(notes),
        )
        with removed_on_error(folder):
            names = output_names([picture.name for picture in taken])
            own = [
                Picture(str(visitor.adopt(picture.path, folder, name)), picture.name)
                for picture, name in zip(taken, names, strict=True)
            ]
            _work_through(
                dict(zip(names, own, strict=True)),
                pipeline,
                options,
                result,
                visitor.full_heads,
                report,
                cancelled,
            )
        if len(pictures) > MAX_PICTURES:
            result.problems.append(f"Only the first {MAX_PICTURES} pictures were taken.")
        visitor.keep(FOLDER, result)
        return result

    yield from Job(visitor, work).watch()


def _work_through(
    pictures: Mapping[str, Picture],
    pipeline: FramePipeline,
    options: PoseOptions,
    result: FolderResult,
    heads: FullHeads,
    report: Callable[[int, int | None], None],
    cancelled: Callable[[], bool],
) -> None:
    """pictures: by the stem of what is written for them."""
    result.archive = result.folder / "annotated_pictures.zip"
    with (
        RowLog(result.folder / "rows.jsonl") as log,
        zipfile.ZipFile(result.archive, "w", zipfile.ZIP_STORED) as archive,
    ):
        for i, (name, picture) in enumerate(pictures.items()):
            if cancelled():
                result.problems.append(
                    f"Cancelled after {i} of {len(pictures)} pictures; what was done is kept."
                )
                break
            try:
                shown = with_full_heads(_one(picture, pipeline, options, result), options, heads)
            except (ImageError, CameraError) as error:
                result.problems.append(str(error))
            else:
                log.append(rows_from_result(shown.result))
                archive.writestr(f"{name}_annotated.jpg", _jpeg(shown, options))
            report(i + 1, len(pictures))
        stem = result.folder / f"{result.stem}_poses"
        result.tables = dict(zip(WRITERS, log.write_all(stem, WRITERS), strict=True))


def _one(
    picture: Picture, pipeline: FramePipeline, options: PoseOptions, result: FolderResult
) -> ShownFrame:
    loaded = read_image(picture.path, name=picture.name)
    camera = camera_for_image(loaded, options.camera_choice())
    found = pipeline.process_still(loaded.image_rgb, camera, picture.name)
    result.paths.append(Path(picture.path))
    result.results.append(found)
    return ShownFrame(
        loaded.image_rgb, found, result.triangles, result.model_label, picture.name, loaded.note
    )


def _jpeg(shown: ShownFrame, options: PoseOptions) -> bytes:
    picture_bgr = cv2.cvtColor(annotated_image(shown, options, {}), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", picture_bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
