"""One frame of a video by its time, found through the nearest key frame before it."""

from __future__ import annotations

import os

import av
import numpy as np
from jaxtyping import UInt8

from demo_app.inference.input_files import printable
from demo_app.inference.video_reader import (
    Upright,
    VideoError,
    iterate_frames,
    moving_pictures,
    open_video,
)

Array = np.ndarray

HALF_TICK_S = 0.0005
"""Times went through floats; frames are further apart than that."""


def read_frame_at(path: str | os.PathLike[str], time_s: float) -> UInt8[Array, "h w 3"]:
    """The upright frame shown at `time_s` after the first one, as `iterate_frames` times them.

    Raises: VideoError.
    """
    with open_video(path) as container:
        stream = moving_pictures(container)[0]
        stream.thread_type = "AUTO"
        upright = Upright(stream)
        first_s = _first_s(container, stream)
        if first_s is None or stream.time_base is None:
            return _read_by_counting(path, time_s)
        wanted_s = first_s + time_s
        try:
            container.seek(int(wanted_s / float(stream.time_base)), stream=stream)
            for frame in container.decode(stream):
                if frame.time is not None and frame.time >= wanted_s - HALF_TICK_S:
                    return upright.rgb(frame)
        except av.error.FFmpegError:
            return _read_by_counting(path, time_s)
    return _read_by_counting(path, time_s)


def _first_s(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """Time of the first frame; None if the file does not say."""
    try:
        first = next(container.decode(stream), None)
    except av.error.FFmpegError:
        return None
    return None if first is None else first.time


def _read_by_counting(path: str | os.PathLike[str], time_s: float) -> UInt8[Array, "h w 3"]:
    """The same from the start of the file: for damaged ones and those without times."""
    for frame in iterate_frames(path):
        if frame.time_s >= time_s - HALF_TICK_S:
            return frame.image_rgb
    name = printable(os.path.basename(os.fspath(path)))  # noqa: PTH119 path may be any text
    raise VideoError(f"{name} has no frame at {time_s:.2f} s any more: give it again.")
