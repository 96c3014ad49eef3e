"""H.264 videos that browsers play, with the times and the sound of the video they come from."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from jaxtyping import UInt8

from demo_app.inference.video_reader import OPEN_OPTIONS, VideoError, VideoInfo

Array = np.ndarray

PRESET, CRF = "veryfast", "20"
"""Measured on 1080p frames of a talking head, 2 cores: ultrafast 20 ms of CPU and 25 kB a frame,
superfast 30 and 19, veryfast 35 and 7.7, faster 52 and 8.8, all at the same PSNR (42.5 dB)."""

COPIED_AUDIO = ("aac", "mp3")
"""Sound that MP4 carries and browsers play; other kinds become AAC."""

KEY_FRAME_EVERY = 60
"""Frames; what a player must decode at most when the user scrubs."""

BT709, LIMITED_RANGE = 1, 1
"""FFmpeg's numbers for the colours that are written."""

AAC_RATES_HZ = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


class SoundTrack:
    """The sound of a source video as packets for an output, in order and as late as asked for."""

    def __init__(
        self, source: str, output: av.container.OutputContainer, start_s: Fraction
    ) -> None:
        self.note = ""
        self._start_s = start_s
        self._input = av.open(f"file:{source}", container_options=OPEN_OPTIONS)
        self._stream = next(iter(self._input.streams.audio), None)
        self._packets: Iterator[av.Packet] = iter(())
        self._waiting: av.Packet | None = None
        if self._stream is None or self._stream.codec_context is None:
            return
        if self._stream.codec_context.name.startswith(COPIED_AUDIO):
            self._output_stream = output.add_stream_from_template(self._stream)
            self._packets = self._copied()
        else:
            name = self._stream.codec_context.name
            self._output_stream = output.add_stream("aac", rate=self._rate_hz())
            self._output_stream.layout = "mono" if self._channels() == 1 else "stereo"
            self._packets = self._transcoded()
            self.note = f"The sound was converted from {name} to AAC."

    def packets_until(self, time_s: float) -> Iterator[av.Packet]:
        """Packets that begin at or before `time_s`; damage ends the sound and is noted."""
        while True:
            if self._waiting is None:
                self._waiting = self._next()
            if self._waiting is None or _start_s(self._waiting) > time_s:
                return
            packet, self._waiting = self._waiting, None
            yield packet

    def close(self) -> None:
        self._packets = iter(())
        self._input.close()

    def _next(self) -> av.Packet | None:
        try:
            return next(self._packets, None)
        except av.error.FFmpegError as error:
            self._packets = iter(())
            self.note = f"The sound is damaged ({error.strerror}) and ends early."
            return None

    def _copied(self) -> Iterator[av.Packet]:
        for packet in self._input.demux(self._stream):
            if packet.dts is not None and packet.size:
                packet.stream = self._output_stream
                yield _earlier(packet, self._start_s)

    def _transcoded(self) -> Iterator[av.Packet]:
        context = self._output_stream.codec_context
        context.open()
        resampler = av.AudioResampler(
            format=context.format,
            layout=context.layout,
            rate=context.sample_rate,
            frame_size=context.frame_size,
        )
        for packet in self._input.demux(self._stream):
            for frame in self._decoded(packet):
                for part in resampler.resample(frame):
                    yield from self._encoded(part)
        for part in resampler.resample(None):
            yield from self._encoded(part)
        yield from self._encoded(None)

    def _encoded(self, frame: av.AudioFrame | None) -> Iterator[av.Packet]:
        for packet in self._output_stream.encode(frame):
            yield _earlier(packet, self._start_s)

    def _decoded(self, packet: av.Packet) -> list[av.AudioFrame]:
        try:
            return packet.decode()
        except av.error.InvalidDataError:
            self.note = "Damaged parts of the sound were left out."
            return []

    def _rate_hz(self) -> int:
        rate_hz = self._stream.codec_context.sample_rate
        return rate_hz if rate_hz in AAC_RATES_HZ else 48000

    def _channels(self) -> int:
        return len(self._stream.codec_context.layout.channels)


class VideoWriter:
    """An MP4 that grows frame by frame under a temporary name and takes its own when closed.

    Frames whose size is not the file's own are fitted into it. Nothing is left behind when no frame
    was written. Every method raises VideoError when the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        size_wh_px: tuple[int, int],
        time_base: Fraction,
        source_info: VideoInfo,
        sound_from: str | None = None,
    ) -> None:
        """size_wh_px: odd sizes are made even by repeating the last row or column.

        time_base: unit of every pts to come. source_info: where the source's clock starts, and its
        frame rate as a hint for the encoder; the pts decide.
        """
        self.path, self.frames = path, 0
        self._temporary = path.with_name(f".{secrets.token_hex(8)}.mp4.tmp")
        self._time_base, self._start_s, self._last_s = time_base, source_info.start_s, 0.0
        self._sound: SoundTrack | None = None
        self._closed = False
        with self._write_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._output = av.open(
                f"file:{self._temporary}",
                "w",
                format="mp4",
                container_options={"movflags": "+faststart"},
            )
        self._stream = self._video_stream(size_wh_px, source_info.fps)
        if sound_from is not None and source_info.has_audio:
            self._sound = SoundTrack(sound_from, self._output, self._start_s)

    def _video_stream(self, size_wh_px: tuple[int, int], fps: Fraction | None) -> av.VideoStream:
        hint = fps if fps is not None and 1 <= fps <= 120 else Fraction(30)
        options = {"preset": PRESET, "crf": CRF, "g": str(KEY_FRAME_EVERY)}
        stream = self._output.add_stream("libx264", rate=hint, options=options)
        width, height = size_wh_px
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = self._time_base
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED_RANGE
        return stream

    @contextmanager
    def _write_errors(self) -> Iterator[None]:
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            raise VideoError(
                f"{self.path.name} cannot be written ({error.strerror}): check the folder and the "
                "space on the disk."
            ) from error

    @property
    def notes(self) -> list[str]:
        return [self._sound.note] if self._sound is not None and self._sound.note else []

    def write(self, image_rgb: UInt8[Array, "h w 3"], pts: int) -> None:
        """Add a frame. pts must rise strictly."""
        frame = av.VideoFrame.from_ndarray(self._fitted(image_rgb), format="rgb24")
        frame = frame.reformat(
            format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG", threads=1
        )
        frame.pts = pts - round(self._start_s / self._time_base)
        frame.time_base = self._time_base
        with self._write_errors():
            self._mux_video(self._stream.encode(frame))
        self._last_s = float(frame.pts * self._time_base)
        self.frames += 1

    def close(self, whole_sound: bool = True) -> None:
        """Finish the file. whole_sound=False cuts the sound where the picture ends."""
        if self._closed:
            return
        self._closed = True
        try:
            with self._write_errors():
                if self.frames:
                    self._mux_video(self._stream.encode(None))
                    self._mux_sound(float("inf") if whole_sound else self._last_s)
                self._output.close()
                if self.frames:
                    self._temporary.replace(self.path)
        finally:
            if self._sound is not None:
                self._sound.close()
            self._temporary.unlink(missing_ok=True)

    def _mux_video(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            self._mux_sound(_start_s(packet))
            self._output.mux(packet)

    def _mux_sound(self, until_s: float) -> None:
        if self._sound is not None:
            for packet in self._sound.packets_until(until_s):
                self._output.mux(packet)

    def _fitted(self, image_rgb: UInt8[Array, "h w 3"]) -> UInt8[Array, "h2 w2 3"]:
        """The picture in the size of the file; what does not have its shape gets black edges."""
        width, height = self._stream.width, self._stream.height
        h, w = image_rgb.shape[:2]
        if not (width - 1 <= w <= width and height - 1 <= h <= height):
            scale = min(width / w, height / h)
            w, h = max(1, round(w * scale)), max(1, round(h * scale))
            image_rgb = cv2.resize(image_rgb, (w, h), interpolation=cv2.INTER_AREA)
            left, top = (width - w) // 2, (height - h) // 2
            return cv2.copyMakeBorder(
                image_rgb, top, height - h - top, left, width - w - left, cv2.BORDER_CONSTANT
            )
        if (w, h) == (width, height):
            return np.ascontiguousarray(image_rgb)
        return cv2.copyMakeBorder(image_rgb, 0, height - h, 0, width - w, cv2.BORDER_REPLICATE)


def _start_s(packet: av.Packet) -> float:
    """When the packet must be decoded, which is the order in which a file holds packets."""
    at = packet.dts if packet.dts is not None else packet.pts
    return 0.0 if at is None else float(at * packet.time_base)


def _earlier(packet: av.Packet, start_s: Fraction) -> av.Packet:
    """The packet on a clock that starts `start_s` later."""
    ticks = round(start_s / packet.time_base)
    if packet.pts is not None:
        packet.pts -= ticks
    if packet.dts is not None:
        packet.dts -= ticks
    return packet
