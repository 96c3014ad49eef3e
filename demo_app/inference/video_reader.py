"""Videos as upright RGB frames with their own times, whatever container, rotation or damage."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8

from demo_app.inference.input_files import HEAD_BYTES, kind_of, printable

Array = np.ndarray

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,mjpeg,h264,"
    "hevc,m4v,ivf,obu,mxf,nut,dv,wtv"
)
"""Demuxers that may open a user's file. Playlists (HLS, DASH, concat), which make FFmpeg read other
files and addresses, and those that take text for a picture (tty) are not among them."""

OPEN_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}

MAX_FRAME_PIXELS = 40_000_000
"""8K has 33 million."""

HD_HEIGHT_PX = 720
"""From this height on an untagged video is BT.709, below BT.601, as players have it."""

UNSPECIFIED_COLORSPACE = 2


class VideoError(ValueError):
    """The video cannot be read; the one-sentence message names the file and says what to do."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says of itself.

    fps: mean rate, exact; None where the file does not know. frames: an estimate; None if unknown.
    duration_s: None if unknown. start_s: where the file's clock starts, picture and sound alike.
    size_wh_px: upright, with square pixels.
    """

    fps: Fraction | None
    frames: int | None
    duration_s: float | None
    start_s: Fraction
    size_wh_px: tuple[int, int]
    has_audio: bool
    codec: str
    audio_codec: str


@dataclass(frozen=True)
class VideoFrame:
    """One frame. time_s: from the first frame's. pts: rising strictly, in units of `time_base`."""

    frame_index: int
    time_s: float
    image_rgb: UInt8[Array, "h w 3"]
    pts: int
    time_base: Fraction


@dataclass
class ReadReport:
    """What went wrong while reading, filled in as it happens."""

    skipped_packets: int = 0
    ended_early: bool = False

    def sentences(self) -> list[str]:
        """For the screen; empty if all went well."""
        found = []
        if self.skipped_packets:
            plural = "packet" if self.skipped_packets == 1 else "packets"
            found.append(f"{self.skipped_packets} damaged {plural} of the video skipped.")
        if self.ended_early:
            found.append("The file is damaged or cut short: the frames up to there were used.")
        return found


def probe_video(path: str | os.PathLike[str]) -> VideoInfo:
    """Facts about a video; decodes its first frame, so a file that passes can be worked on.

    Raises: VideoError.
    """
    with open_video(path) as container:
        stream = moving_pictures(container)[0]
        first = next(_decoded(container, stream, ReadReport()), None)
        if first is None:
            raise _no_frame(path)
        upright = Upright(stream)
        fps = stream.average_rate or stream.guessed_rate or None
        duration_s = None
        if stream.duration is not None and stream.time_base is not None:
            duration_s = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            duration_s = container.duration / av.time_base
        frames = stream.frames or None
        if frames is None and fps and duration_s:
            frames = max(1, round(duration_s * fps))
        audio = container.streams.audio
        return VideoInfo(
            fps=fps,
            frames=frames,
            duration_s=duration_s,
            start_s=Fraction(container.start_time or 0, av.time_base),
            size_wh_px=upright.size_wh_px(first),
            has_audio=bool(audio),
            codec=stream.codec_context.name,
            audio_codec=audio[0].codec_context.name if audio else "",
        )


def iterate_frames(
    path: str | os.PathLike[str], report: ReadReport | None = None
) -> Generator[VideoFrame, None, None]:
    """Frames in order of display, one at a time. Damage is skipped and counted in `report`.

    Times are the file's own (variable frame rates stay variable); a frame without one, or not later
    than the one before, follows that by the smallest step. Raises: VideoError.
    """
    report = report or ReadReport()
    with open_video(path) as container:
        stream = moving_pictures(container)[0]
        stream.thread_type = "AUTO"
        step_s = 1 / (stream.average_rate or stream.guessed_rate or Fraction(25))
        upright, first_s, pts = Upright(stream), None, 0
        for index, frame in enumerate(_decoded(container, stream, report)):
            time_base = frame.time_base or stream.time_base or Fraction(1, 90000)
            if first_s is None:
                pts = frame.pts or 0
                first_s = pts * time_base
            elif frame.pts is None:
                pts += max(1, round(step_s / time_base))
            else:
                pts = max(frame.pts, pts + 1)
            time_s = float(pts * time_base - first_s)
            yield VideoFrame(index, time_s, upright.rgb(frame), pts, time_base)
        if first_s is None:
            raise _no_frame(path)


@contextmanager
def open_video(path: str | os.PathLike[str]) -> Iterator[av.container.InputContainer]:
    """An open file that has a moving picture. Raises: VideoError."""
    text = os.fspath(path)
    shown = printable(Path(text).name or text)
    try:
        if Path(text).is_dir():
            raise VideoError(f"{shown} is a folder: give a video, or use the folder input.")
        if not Path(text).is_file():
            raise VideoError(f"{shown} does not exist: check the path ({printable(text)}).")
        if Path(text).stat().st_size == 0:
            raise VideoError(f"{shown} is empty (0 bytes): save or download it again.")
    except OSError as error:
        raise VideoError(
            f"{shown} cannot be opened ({error.strerror}): check the path and its permissions."
        ) from error
    try:
        # "file:" keeps a name such as "concat:a.mp4" from being taken for a protocol
        container = av.open(f"file:{text}", container_options=OPEN_OPTIONS)
    except av.error.PermissionError as error:
        raise VideoError(f"{shown} cannot be opened: check its permissions.") from error
    except (av.error.FFmpegError, UnicodeError) as error:
        raise VideoError(_refusal(text, shown)) from error
    with container:
        if not moving_pictures(container):
            what = "sound only" if container.streams.audio else "no picture track"
            raise VideoError(f"{shown} has {what}: give a file with a moving picture.")
        context = moving_pictures(container)[0].codec_context
        if context.width * context.height > MAX_FRAME_PIXELS:
            raise VideoError(
                f"{shown} has {context.width} x {context.height} pixels a frame, more than can be "
                f"worked on ({MAX_FRAME_PIXELS // 10**6} million): scale it down."
            )
        yield container


def _refusal(path: str, shown: str) -> str:
    with Path(path).open("rb") as file:
        kind = kind_of(file.read(HEAD_BYTES))
    reason = {
        "image": "is a picture, not a video: give it to the picture input.",
        "heic": "is a HEIC photo, not a video: export it as JPEG for the picture input.",
        "text": "holds text, not a video: give MP4, MOV, WebM, MKV or AVI.",
        "video": "is damaged or cut short: copy or export it again.",
    }.get(kind, "is no video that can be read here: give MP4, MOV, WebM, MKV or AVI.")
    return f"{shown} {reason}"


def moving_pictures(container: av.container.InputContainer) -> list[av.VideoStream]:
    """Video streams that are not the cover of a piece of music and that can be decoded."""
    cover = av.stream.Disposition.attached_pic
    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & cover and stream.codec_context is not None
    ]


def _no_frame(path: str | os.PathLike[str]) -> VideoError:
    shown = printable(Path(os.fspath(path)).name)
    return VideoError(f"{shown} has no frame that can be decoded: export it again.")


def _decoded(
    container: av.container.InputContainer, stream: av.VideoStream, report: ReadReport
) -> Iterator[av.VideoFrame]:
    """Frames of the packets that can be decoded."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            report.ended_early = True
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            report.skipped_packets += 1
            continue
        yield from frames


class Upright:
    """Turns the decoded frames of one stream into what a player shows."""

    def __init__(self, stream: av.VideoStream) -> None:
        aspect = stream.sample_aspect_ratio or Fraction(1)
        self._pixel_aspect = aspect if Fraction(1, 8) <= aspect <= 8 else Fraction(1)
        self._rotation_deg: int | None = None
        self._matrix = (1, 0, 0, 1)

    def size_wh_px(self, frame: av.VideoFrame) -> tuple[int, int]:
        width, height = self._stored_wh_px(frame)
        return (height, width) if self._is_turned(frame) else (width, height)

    def rgb(self, frame: av.VideoFrame) -> UInt8[Array, "h w 3"]:
        """Square pixels, turned and mirrored by the display matrix."""
        width, height = self._stored_wh_px(frame)
        hd_untagged = frame.colorspace == UNSPECIFIED_COLORSPACE and frame.height >= HD_HEIGHT_PX
        image = frame.to_ndarray(
            format="rgb24",
            width=width,
            height=height,
            src_colorspace="ITU709" if hd_untagged else None,
        )
        turned = self._is_turned(frame)
        a, b, c, d = self._matrix
        if turned:
            image, a, d = image.swapaxes(0, 1), c, b
        if a < 0:
            image = image[:, ::-1]
        if d < 0:
            image = image[::-1]
        return np.ascontiguousarray(image)

    def _stored_wh_px(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Size with square pixels before turning: the width is stretched by the pixel aspect."""
        return max(1, round(frame.width * self._pixel_aspect)), frame.height

    def _is_turned(self, frame: av.VideoFrame) -> bool:
        if frame.rotation != self._rotation_deg:
            # side_data makes a cycle that keeps the frame until Python's collector runs: not often
            self._rotation_deg, self._matrix = frame.rotation, _display_matrix(frame)
        a, b, c, d = self._matrix
        return abs(b) + abs(c) > abs(a) + abs(d)


def _display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """(a, b, c, d) of x' = a x + c y, y' = b x + d y from stored to upright, up to scale."""
    for side_data in frame.side_data:
        if side_data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5].tolist()
            return a, b, c, d
    return 1, 0, 0, 1
