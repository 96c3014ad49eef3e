"""A video: poses of every frame, the annotated copy, plots and tables; all of it kept on cancel."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from demo_app.actions.background import Job, Progress, removed_on_error
from demo_app.actions.head_drawing import with_full_heads
from demo_app.actions.options import PoseOptions
from demo_app.actions.pose_store import PoseStore
from demo_app.actions.predict_picture import NothingToDoError
from demo_app.actions.results import ShownFrame, VideoResult
from demo_app.actions.views import annotated_image
from demo_app.inference.camera_choice import camera_for_size
from demo_app.inference.export import WRITERS, Row, RowLog
from demo_app.inference.full_heads import FullHeads, HeadFollower
from demo_app.inference.output_names import safe_stem
from demo_app.inference.pipeline import FramePipeline
from demo_app.inference.records import FrameResult
from demo_app.inference.video import VideoOutputs, process_video
from demo_app.services import Neutrals, Services, Visitor
from models.face_detection.mtcnn import MIN_FACE_FRACTION_VIDEO
from models.geometry.cameras import Camera

Array = np.ndarray
Report = Callable[[int, int | None], None]
Cancelled = Callable[[], bool]
Draw = Callable[[UInt8[Array, "h w 3"], FrameResult], UInt8[Array, "h w 3"]]

VIDEO = "video"
"""Name of this input in `Visitor.results`."""


def predict_video(
    services: Services, visitor: Visitor, path: str, name: str, options: PoseOptions
) -> Iterator[Progress | VideoResult]:
    """Progress while it works, then the result; the visitor's Cancel ends it with what there is.

    name: what the user calls the file; it stands in the rows.
    Raises: VideoError, CameraError, CheckpointError, BusyError.
    """
    pipeline = services.pipeline(options.model, options.pipeline_options(), MIN_FACE_FRACTION_VIDEO)
    folder = visitor.new_folder(VIDEO)

    def work(report: Report, cancelled: Cancelled) -> VideoResult:
        with removed_on_error(folder):
            own = visitor.adopt(path, folder, safe_stem(name))
            draw = _drawer(pipeline.estimator.triangles, options, {}, visitor.full_heads)
            result = _work_through(own, name, pipeline, options, folder, draw, report, cancelled)
        visitor.keep(VIDEO, result)
        return result

    yield from Job(visitor, work).watch()


def _work_through(
    path: Path,
    name: str,
    pipeline: FramePipeline,
    options: PoseOptions,
    folder: Path,
    draw: Draw,
    report: Report,
    cancelled: Cancelled,
) -> VideoResult:
    estimator, stem = pipeline.estimator, safe_stem(name)
    store = PoseStore(
        folder / "poses.bin",
        len(estimator.model.mesh.template_vertices_m),
        estimator.landmark_68_ids,
        estimator.name,
    )
    with RowLog(folder / "rows.jsonl") as log:
        outputs = VideoOutputs(
            rows=_NamedRows(log, name),
            annotated=folder / f"{stem}_annotated.mp4",
            draw=draw,
            on_result=store.append,
        )
        run = process_video(
            path,
            pipeline,
            _camera_of_size(options),
            outputs,
            progress=report,
            cancelled=cancelled,
        )
        tables = dict(zip(WRITERS, log.write_all(folder / f"{stem}_poses", WRITERS), strict=True))
    store.close()
    return VideoResult(
        folder=folder,
        stem=stem,
        path=path,
        title=name,
        triangles=estimator.triangles,
        model_label=estimator.model.label,
        store=store,
        tables=tables,
        run=run,
        annotated=run.annotated,
    )


def redraw_video(visitor: Visitor, options: PoseOptions) -> Iterator[Progress | VideoResult]:
    """The annotated copy once more with other drawing switches, without the network.

    Raises: NothingToDoError, VideoError, BusyError.
    """
    result: VideoResult | None = visitor.results.get(VIDEO)
    if result is None:
        raise NothingToDoError("There is no video to draw again: estimate one first.")

    def work(report: Report, cancelled: Cancelled) -> VideoResult:
        replay, neutrals = Replay(result.store), visitor.neutrals.get(VIDEO, {})
        folder = result.folder / f"drawn-{secrets.token_hex(4)}"
        run = process_video(
            result.path,
            replay,
            _camera_of_size(options),
            VideoOutputs(
                annotated=folder / f"{result.stem}_annotated.mp4",
                draw=_drawer(result.triangles, options, neutrals, visitor.full_heads),
            ),
            progress=lambda done, _: report(done, len(result)),
            cancelled=lambda: cancelled() or replay.is_over,
        )
        if cancelled() or run.annotated is None:
            shutil.rmtree(folder, ignore_errors=True)
            raise NothingToDoError("Drawing was cancelled; the video is as it was.")
        earlier, result.annotated = result.annotated, run.annotated
        if earlier is not None:
            earlier.unlink(missing_ok=True)
        return result

    yield from Job(visitor, work).watch()


class Replay:
    """Stands for a `FramePipeline` that has seen every frame already."""

    def __init__(self, store: PoseStore) -> None:
        self._store, self._next = store, 0

    @property
    def is_over(self) -> bool:
        """All frames that were worked on have been given again."""
        return self._next >= len(self._store)

    def reset(self) -> None:
        self._next = 0

    def process(
        self, image_rgb: Array, frame_index: int, time_s: float, camera: Camera, source: str = ""
    ) -> FrameResult:
        """What was found in the frame."""
        self._next = frame_index + 1
        return self._store.result(frame_index)


class _NamedRows:
    """Rows under the name that the user knows, not the path on the server."""

    def __init__(self, log: RowLog, name: str) -> None:
        self._log, self._name = log, name

    def append(self, rows: Iterable[Row]) -> None:
        self._log.append([row | {"source": self._name} for row in rows])


def _camera_of_size(options: PoseOptions) -> Callable[[tuple[int, int]], Camera]:
    choice = options.camera_choice()
    return lambda size_wh_px: camera_for_size(size_wh_px, choice)


def _drawer(triangles: Array, options: PoseOptions, neutrals: Neutrals, heads: FullHeads) -> Draw:
    follower = HeadFollower(heads)

    def draw(image_rgb: UInt8[Array, "h w 3"], result: FrameResult) -> UInt8[Array, "h w 3"]:
        shown = ShownFrame(image_rgb, result, triangles, "", "")
        shown = with_full_heads(shown, options, heads, follower.of_faces)
        return annotated_image(shown, options, neutrals)

    return draw
