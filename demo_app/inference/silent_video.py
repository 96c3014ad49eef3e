"""Pictures as an MP4 that browsers play: turntables and animations."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from demo_app.inference.video_reader import VideoInfo
from demo_app.inference.video_writer import VideoWriter

Array = np.ndarray

FPS = 30


def write_silent_mp4(
    path: Path, frames_rgb: Iterable[UInt8[Array, "h w 3"]], fps: int = FPS
) -> int:
    """Pictures one after the other at an even pace; returns their number.

    Raises: VideoError when the file cannot be written, ValueError if there is no picture.
    """
    writer: VideoWriter | None = None
    try:
        for i, frame in enumerate(frames_rgb):
            if writer is None:
                writer = VideoWriter(path, frame.shape[1::-1], Fraction(1, fps), _info(frame, fps))
            writer.write(frame, i)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise ValueError("There is no picture to make a video of.")
    return writer.frames


def _info(frame_rgb: UInt8[Array, "h w 3"], fps: int) -> VideoInfo:
    return VideoInfo(
        fps=Fraction(fps),
        frames=None,
        duration_s=None,
        start_s=Fraction(0),
        size_wh_px=frame_rgb.shape[1::-1],
        has_audio=False,
        codec="h264",
        audio_codec="",
    )
