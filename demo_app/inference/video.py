"""A whole video through the pipeline: rows and an annotated copy, kept when it is cancelled."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from demo_app.inference.export import Row, rows_from_result
from demo_app.inference.pipeline import FramePipeline
from demo_app.inference.prefetch import prefetched
from demo_app.inference.records import FrameResult
from demo_app.inference.video_reader import (
    ReadReport,
    VideoFrame,
    VideoInfo,
    iterate_frames,
    probe_video,
)
from demo_app.inference.video_writer import VideoWriter
from models.geometry.cameras import Camera

Array = np.ndarray

FRAMES_AHEAD = 4
"""Frames decoded ahead of the network; with the ones in hand 6 at most are in memory."""


class RowSink(Protocol):
    """Where rows go as they are made, such as `export.RowLog`."""

    def append(self, rows: Iterable[Row]) -> None: ...


@dataclass(frozen=True)
class VideoOutputs:
    """What is wanted of a video; all of it is optional.

    rows: gets the rows of each frame at once. annotated: where the drawn MP4 goes, with `draw`.
    on_result: sees every result, for previews and plots. draw must not change the frame it gets.
    """

    rows: RowSink | None = None
    annotated: Path | None = None
    draw: Callable[[UInt8[Array, "h w 3"], FrameResult], UInt8[Array, "h w 3"]] | None = None
    on_result: Callable[[FrameResult], None] | None = None

    def __post_init__(self) -> None:
        if (self.annotated is None) != (self.draw is None):
            raise ValueError("An annotated video needs both its path and how to draw it.")


@dataclass(frozen=True)
class VideoRun:
    """What was done of a video.

    frames: worked on. end_s: time of the last of them. annotated: the MP4, None if none was asked
    for. notes: sentences for the screen about damage, sound and the cancel; empty if all went well.
    """

    source: str
    info: VideoInfo
    frames: int
    frames_with_a_face: int
    track_ids: tuple[int, ...]
    end_s: float
    cancelled: bool
    annotated: Path | None
    notes: tuple[str, ...]


def process_video(
    path: str | os.PathLike[str],
    pipeline: FramePipeline,
    camera_of_size: Callable[[tuple[int, int]], Camera],
    outputs: VideoOutputs | None = None,
    *,
    progress: Callable[[int, int | None], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> VideoRun:
    """Work through a video frame by frame; memory does not grow with its length.

    camera_of_size: the camera of the upright frames; asked again when their size changes.
    progress: gets frames done and their estimated number, None where the file does not tell.
    cancelled: asked before every frame; once True, what was done is finished into playable files.

    The annotated file has the source's frame times and sound. It is finished too when an exception
    ends the work, and the rows are in their sink by then. The pipeline is reset first.

    Raises: VideoError for a file that cannot be read or written, CameraError, and what callbacks
        raise.
    """
    report = ReadReport()
    pipeline.reset()
    job = _Job(os.fspath(path), probe_video(path), pipeline, camera_of_size, outputs)
    was_cancelled = False
    try:
        with closing(prefetched(iterate_frames(path, report), FRAMES_AHEAD)) as frames:
            for frame in frames:
                if cancelled is not None and cancelled():
                    was_cancelled = True
                    break
                job.work(frame)
                if progress is not None:
                    progress(job.frames, job.frames_expected)
        job.finish(whole_sound=not was_cancelled)
    finally:
        job.finish(whole_sound=False)
    return job.record(was_cancelled, report)


class _Job:
    """One video being worked on: what is open and what was counted."""

    def __init__(
        self,
        source: str,
        info: VideoInfo,
        pipeline: FramePipeline,
        camera_of_size: Callable[[tuple[int, int]], Camera],
        outputs: VideoOutputs | None,
    ) -> None:
        self._source, self._info, self._pipeline = source, info, pipeline
        self._camera_of_size = camera_of_size
        self._outputs = outputs or VideoOutputs()
        self._camera: Camera | None = None
        self._writer: VideoWriter | None = None
        self._track_ids: set[int] = set()
        self._with_a_face = 0
        self._end_s = 0.0
        self.frames = 0

    @property
    def frames_expected(self) -> int | None:
        """The file's own estimate, corrected once there are more."""
        return None if self._info.frames is None else max(self._info.frames, self.frames)

    def work(self, frame: VideoFrame) -> None:
        """One frame through the pipeline and into every output."""
        size_wh_px = (frame.image_rgb.shape[1], frame.image_rgb.shape[0])
        if self._camera is None or tuple(self._camera.size_wh_px) != size_wh_px:
            self._camera = self._camera_of_size(size_wh_px)
        result = self._pipeline.process(
            frame.image_rgb, frame.frame_index, frame.time_s, self._camera, self._source
        )
        outputs = self._outputs
        if outputs.rows is not None:
            outputs.rows.append(rows_from_result(result))
        if outputs.annotated is not None and outputs.draw is not None:
            self._write(outputs.annotated, outputs.draw(frame.image_rgb, result), frame)
        self.frames += 1
        self._with_a_face += bool(result.faces)
        self._track_ids.update(face.track_id for face in result.faces)
        self._end_s = result.time_s
        if outputs.on_result is not None:
            outputs.on_result(result)

    def finish(self, whole_sound: bool) -> None:
        """Make a playable file of what was written; nothing the second time."""
        if self._writer is not None:
            self._writer.close(whole_sound)

    def record(self, was_cancelled: bool, report: ReadReport) -> VideoRun:
        notes = report.sentences()
        if self._writer is not None:
            notes += self._writer.notes
        length_s = self._info.duration_s or 0.0
        if was_cancelled:
            of = "" if self._info.frames is None else f" of about {self._info.frames}"
            notes.append(f"Cancelled after {self.frames}{of} frames; what was done is kept.")
        elif self._end_s < 0.9 * length_s - 1.0:
            notes.append(
                f"The file should last {length_s:.1f} s, but its picture ends at "
                f"{self._end_s:.1f} s."
            )
        return VideoRun(
            source=self._source,
            info=self._info,
            frames=self.frames,
            frames_with_a_face=self._with_a_face,
            track_ids=tuple(sorted(self._track_ids)),
            end_s=self._end_s,
            cancelled=was_cancelled,
            annotated=None if self._writer is None else self._writer.path,
            notes=tuple(notes),
        )

    def _write(self, path: Path, image_rgb: Array, frame: VideoFrame) -> None:
        if self._writer is None:
            size_wh_px = (image_rgb.shape[1], image_rgb.shape[0])
            self._writer = VideoWriter(
                path, size_wh_px, frame.time_base, self._info, sound_from=self._source
            )
        self._writer.write(image_rgb, frame.pts)
