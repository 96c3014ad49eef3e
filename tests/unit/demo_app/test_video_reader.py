"""Reading videos: times, rotation, pixel shape, damage, and sentences for what is none."""

from __future__ import annotations

import gc
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from demo_app.inference import video_reader
from demo_app.inference.video_reader import (
    ReadReport,
    VideoError,
    iterate_frames,
    probe_video,
)

MakeVideo = Callable[..., Path]


def times_s(path: Path) -> list[float]:
    return [frame.time_s for frame in iterate_frames(path)]


def turn_by_metadata(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write a display matrix into the track header, as phones do; PyAV has no way to."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16
    a, b, c, d = (v << 16 for v in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001), Fraction(60)])
def test_frame_rates_are_exact_and_times_start_at_zero(make_video: MakeVideo, fps):
    path = make_video(frames=12, fps=fps)
    info = probe_video(path)
    assert info.fps == fps and info.frames == 12 and info.size_wh_px == (64, 48)
    assert info.duration_s == pytest.approx(12 / fps)
    np.testing.assert_allclose(times_s(path), np.arange(12) / float(fps), atol=1e-4)


def test_variable_frame_rates_stay_variable(make_video: MakeVideo):
    pts = [0, 40, 80, 400, 410, 1000]
    path = make_video(pts=pts, time_base=Fraction(1, 1000))
    np.testing.assert_allclose(times_s(path), np.array(pts) / 1000, atol=1e-4)


def test_a_clock_that_starts_late_starts_at_zero_here(make_video: MakeVideo):
    path = make_video("late.ts", pts=[5000, 5040, 5080], time_base=Fraction(1, 1000))
    assert probe_video(path).start_s == 5
    np.testing.assert_allclose(times_s(path), [0, 0.04, 0.08], atol=1e-4)


def test_frames_come_in_order_with_their_own_picture(make_video: MakeVideo):
    shades = [frame.image_rgb.mean() for frame in iterate_frames(make_video(frames=10))]
    assert all(np.diff(shades) > 5)  # each frame of the made video is brighter


@pytest.mark.parametrize(
    ("matrix", "red_corner"),
    [
        ((1, 0, 0, 1), "top left"),
        ((0, 1, -1, 0), "top right"),  # clockwise: what a phone held upright writes
        ((-1, 0, 0, -1), "bottom right"),
        ((0, -1, 1, 0), "bottom left"),
        ((-1, 0, 0, 1), "top right"),  # mirrored
        ((0, 1, 1, 0), "top left"),  # transposed
    ],
)
def test_rotation_and_mirror_of_the_metadata_are_applied(make_video: MakeVideo, matrix, red_corner):
    path = make_video(frames=3, fps=Fraction(25))
    turn_by_metadata(path, matrix)
    turned = matrix[0] == 0
    assert probe_video(path).size_wh_px == ((48, 64) if turned else (64, 48))
    image = next(iter(iterate_frames(path))).image_rgb
    assert image.shape == ((64, 48, 3) if turned else (48, 64, 3))
    corners = {
        "top left": image[3, 3],
        "top right": image[3, -4],
        "bottom left": image[-4, 3],
        "bottom right": image[-4, -4],
    }
    redness = {name: int(c[0]) - int(c[2]) for name, c in corners.items()}
    assert max(redness, key=redness.__getitem__) == red_corner


def test_pixels_are_made_square(make_video: MakeVideo):
    path = make_video(frames=2, pixel_aspect=Fraction(4, 3))
    assert probe_video(path).size_wh_px == (85, 48)
    assert next(iter(iterate_frames(path))).image_rgb.shape == (48, 85, 3)


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.avi", "a.mov"])
def test_other_containers(make_video: MakeVideo, name):
    path = make_video(name, frames=6, fps=Fraction(25))
    assert len(times_s(path)) == 6
    np.testing.assert_allclose(times_s(path), np.arange(6) / 25, atol=2e-3)


def test_damage_in_the_middle_is_skipped_and_reported(make_video: MakeVideo):
    path = make_video(frames=60, fps=Fraction(25), key_every=5)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 8
    middle = start + (data.index(b"moov") - start) // 2 if data.index(b"moov") > start else start
    data[middle : middle + 700] = b"\xff" * 700
    path.write_bytes(data)
    report = ReadReport()
    frames = list(iterate_frames(path, report))
    assert 30 <= len(frames) <= 60
    assert report.skipped_packets > 0 and "skipped" in report.sentences()[0]
    rising = np.diff([frame.pts for frame in frames])
    assert (rising > 0).all()


def test_a_file_that_was_cut_short_gives_its_beginning(make_video: MakeVideo):
    path = make_video("a.mkv", frames=60, fps=Fraction(25), key_every=5)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert 20 <= len(list(iterate_frames(path, ReadReport()))) < 60


def test_an_mp4_without_its_index_says_so(make_video: MakeVideo):
    path = make_video(frames=30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoError, match="damaged or cut short"):
        probe_video(path)


def test_sound_alone_is_no_video(tmp_path, make_video: MakeVideo):
    path = make_video("a.m4a", frames=0, sound="aac")
    with pytest.raises(VideoError, match="sound only"):
        probe_video(path)


def test_a_song_with_a_cover_is_no_video(tmp_path, make_video: MakeVideo):
    song = make_video("song.m4a", frames=0, sound="aac")
    path = tmp_path / "cover.m4a"
    with av.open(str(song)) as source, av.open(str(path), "w", format="mp4") as output:
        sound = output.add_stream_from_template(source.streams.audio[0])
        cover = output.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
        output.mux(cover.encode(picture))
        output.mux(cover.encode(None))
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                output.mux(packet)
    with av.open(str(path)) as file:
        assert len(file.streams.video) == 1, "the test does not make what it means to"
    with pytest.raises(VideoError, match="sound only"):
        probe_video(path)


def test_missing_and_repeated_times_become_rising_ones(make_video: MakeVideo, monkeypatch):
    decoded = video_reader._decoded

    def with_bad_times(container, stream, report):
        bad = [0, 0, None, 3000, 2000, 3100]
        for frame, pts in zip(decoded(container, stream, report), bad, strict=True):
            frame.pts = pts
            yield frame

    monkeypatch.setattr(video_reader, "_decoded", with_bad_times)
    frames = list(iterate_frames(make_video(frames=6, fps=Fraction(30))))
    step = round(frames[0].time_base.denominator / 30)
    assert [frame.pts for frame in frames] == [0, 1, 1 + step, 3000, 3001, 3100]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.mp4", b"hello " * 100, "holds text"),
        ("a.txt", b"hello " * 100, "holds text"),
        ("a.mp4", b"", "empty"),
        ("a.mp4", bytes(range(256)) * 20, "no video"),
        ("a.mp4", b"\xff\xd8\xff\xe0" + bytes(500), "is a picture"),
        (
            "a.m3u8",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
            "holds text",
        ),
        ("a.ffconcat", b"ffconcat version 1.0\nfile secret.mp4\n", "holds text"),
    ],
)
def test_what_is_no_video_gets_a_sentence_with_its_name(tmp_path, name, content, sentence):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(VideoError, match=sentence) as caught:
        probe_video(path)
    assert str(caught.value).startswith(name)
    with pytest.raises(VideoError, match=sentence):
        next(iterate_frames(path))


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(VideoError, match="does not exist"):
        probe_video(tmp_path / "no.mp4")
    with pytest.raises(VideoError, match="is a folder"):
        probe_video(tmp_path)


def test_a_playlist_cannot_make_us_read_another_video(tmp_path, make_video: MakeVideo):
    """The video it names is fine: it is the playlist that must be refused."""
    other = make_video(frames=5)
    path = tmp_path / "list.mp4"
    path.write_text(f"ffconcat version 1.0\nfile '{other}'\n")
    with pytest.raises(VideoError):
        probe_video(path)


def test_names_that_look_like_protocols_are_files(tmp_path, make_video: MakeVideo, monkeypatch):
    video = make_video(frames=3)
    odd = tmp_path / "concat:a|b.mp4"
    odd.write_bytes(video.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert probe_video("concat:a|b.mp4").frames == 3


def test_huge_frames_are_refused_before_they_fill_the_memory(make_video, monkeypatch):
    monkeypatch.setattr("demo_app.inference.video_reader.MAX_FRAME_PIXELS", 1000)
    with pytest.raises(VideoError, match="scale it down"):
        probe_video(make_video(frames=1))


def test_reading_holds_no_frame_back(make_video: MakeVideo):
    """Decoded frames die as they pass, without waiting for Python's cycle collector."""
    path = make_video(frames=60)
    gc.collect()
    gc.disable()
    try:
        for frame in iterate_frames(path):
            if frame.frame_index % 15:
                continue
            decoded = sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
            assert decoded <= 8, f"{decoded} alive at frame {frame.frame_index}"
    finally:
        gc.enable()


def test_demo_video(shared_data):
    info = probe_video(shared_data / "samples" / "faces" / "demo.mp4")
    assert info.fps == Fraction(30000, 1001) and info.frames == 150 and info.has_audio
