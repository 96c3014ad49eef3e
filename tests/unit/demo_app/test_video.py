"""A whole video: frame times, sound, odd sizes, cancel, errors, and bounded memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from demo_app.inference import video as video_module
from demo_app.inference.export import RowLog
from demo_app.inference.records import FacePose, FrameResult
from demo_app.inference.video import FRAMES_AHEAD, VideoOutputs, process_video
from demo_app.inference.video_reader import VideoError, iterate_frames, probe_video
from demo_app.inference.video_writer import VideoWriter
from models.geometry.cameras import camera_from_horizontal_fov

MakeVideo = Callable[..., Path]


class OneHead:
    """Stands in for a FramePipeline: the same head in every frame."""

    def __init__(self, world) -> None:
        self.world, self.resets, self.seen = world, 0, []

    def reset(self) -> None:
        self.resets += 1

    def process(self, image_rgb, frame_index, time_s, camera, source="") -> FrameResult:
        self.seen.append((frame_index, time_s, image_rgb.shape, camera.size_wh_px))
        pose = self.world.pose(np.eye(3), np.array([0.0, 0, 600]), camera, 0.9)
        faces = (FacePose(1, pose, pose),)
        return FrameResult(source, frame_index, time_s, camera, faces, frame_index == 0)


class Rows:
    def __init__(self) -> None:
        self.rows = []

    def append(self, rows) -> None:
        self.rows.extend(rows)


@pytest.fixture
def pipeline(head_world) -> OneHead:
    return OneHead(head_world({}))


def camera_of_size(size_wh_px):
    return camera_from_horizontal_fov(size_wh_px, 60.0)


def draw_corner(image_rgb, result) -> np.ndarray:
    """A green square at the bottom left."""
    drawn = image_rgb.copy()
    drawn[-12:, :12] = (0, 255, 0)
    return drawn


def annotate(path: Path, pipeline, **options) -> video_module.VideoRun:
    outputs = VideoOutputs(annotated=path.with_name("out.mp4"), draw=draw_corner)
    return process_video(path, pipeline, camera_of_size, outputs, **options)


def frame_times(path: Path) -> list[float]:
    return [frame.time_s for frame in iterate_frames(path)]


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(audio=0) if packet.size]


def sound_samples(path: Path) -> np.ndarray:
    with av.open(str(path)) as file:
        return np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])


def leftovers(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.endswith(".tmp")]


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001)])
def test_the_annotated_video_has_the_frames_and_times_of_the_source(
    make_video: MakeVideo, pipeline, fps
):
    path = make_video(frames=40, fps=fps)
    run = annotate(path, pipeline)
    info = probe_video(run.annotated)
    assert (run.frames, info.frames, info.codec) == (40, 40, "h264")
    assert info.fps == fps
    np.testing.assert_allclose(frame_times(run.annotated), frame_times(path), atol=1e-6)
    assert run.notes == () and not run.cancelled and leftovers(path.parent) == []


def test_variable_frame_rates_stay_variable(make_video: MakeVideo, pipeline):
    pts = [0, 33, 70, 500, 510, 900, 2000]
    path = make_video("vfr.mkv", pts=pts, time_base=Fraction(1, 1000))
    run = annotate(path, pipeline)
    np.testing.assert_allclose(frame_times(run.annotated), np.array(pts) / 1000, atol=1e-3)


def test_browsers_can_play_it(make_video: MakeVideo, pipeline):
    """H.264, 4:2:0, 8 bit, index in front of the data, square pixels, tagged colours."""
    run = annotate(make_video(frames=5), pipeline)
    data = run.annotated.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    with av.open(str(run.annotated)) as file:
        context = file.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert context.profile in ("High", "Main", "Constrained Baseline")
        assert (context.colorspace, context.color_range) == (1, 1)


def test_what_is_drawn_arrives_and_colours_stay(make_video: MakeVideo, pipeline):
    path = make_video(frames=5, size_wh_px=(128, 96))
    run = annotate(path, pipeline)
    for before, after in zip(iterate_frames(path), iterate_frames(run.annotated), strict=True):
        assert np.abs(after.image_rgb[-9:-3, 3:9].astype(int) - [0, 255, 0]).max() < 25
        same = np.abs(after.image_rgb.astype(int) - before.image_rgb)[:80].mean()
        assert same < 4


@pytest.mark.parametrize("size_wh_px", [(65, 48), (64, 49), (65, 49)])
def test_odd_sizes_are_padded_at_the_right_and_bottom(make_video, pipeline, size_wh_px):
    def cross(image_rgb, result):
        drawn = image_rgb // 4
        drawn[20], drawn[:, 30] = 255, 255
        return drawn

    path = make_video(frames=4, size_wh_px=size_wh_px)
    outputs = VideoOutputs(annotated=path.with_name("out.mp4"), draw=cross)
    run = process_video(path, pipeline, camera_of_size, outputs)
    assert pipeline.seen[0][3] == size_wh_px
    image = next(iterate_frames(run.annotated)).image_rgb.astype(float)
    width, height = size_wh_px
    assert image.shape == (height + height % 2, width + width % 2, 3)
    assert image.mean((1, 2)).argmax() == 20 and image.mean((0, 2)).argmax() == 30


@pytest.mark.parametrize(("name", "sound"), [("a.mp4", "aac"), ("a.mkv", "libmp3lame")])
def test_sound_that_mp4_carries_is_copied_bit_by_bit(make_video, pipeline, name, sound):
    path = make_video(name, frames=30, sound=sound)
    run = annotate(path, pipeline)
    assert sound_packets(run.annotated) == sound_packets(path) and run.notes == ()
    assert probe_video(run.annotated).audio_codec.startswith(sound.removeprefix("lib")[:3])


@pytest.mark.parametrize(("name", "sound"), [("a.mov", "pcm_s16le"), ("a.webm", "libopus")])
def test_other_sound_becomes_aac_and_stays_in_step(make_video, pipeline, name, sound):
    options = {"sound_rate_hz": 48000} if sound == "libopus" else {}
    path = make_video(name, frames=30, fps=Fraction(30), sound=sound, silence_s=0.5, **options)
    run = annotate(path, pipeline)
    info = probe_video(run.annotated)
    assert info.audio_codec == "aac" and "converted" in run.notes[0]
    with av.open(str(run.annotated)) as file:
        rate_hz = file.streams.audio[0].rate
    samples = np.abs(sound_samples(run.annotated))
    begins_s = np.argmax(samples > 0.1) / rate_hz
    assert begins_s == pytest.approx(0.5, abs=0.05)


def test_a_late_clock_starts_at_zero_with_picture_and_sound_in_step(make_video, pipeline):
    """An MPEG-TS recording whose clock begins at 5 s."""
    pts = [90000 * 5 + 3600 * i for i in range(25)]
    path = make_video(
        "late.ts", pts=pts, time_base=Fraction(1, 90000), sound="aac", sound_start_s=5.2
    )
    run = annotate(path, pipeline)
    with av.open(str(run.annotated)) as file:
        start = {
            stream.type: float(stream.start_time * stream.time_base) for stream in file.streams
        }
    assert start["video"] == pytest.approx(0.0, abs=0.03)
    assert start["audio"] - start["video"] == pytest.approx(0.2, abs=0.05)


def test_no_sound_no_sound_track(make_video: MakeVideo, pipeline):
    assert not probe_video(annotate(make_video(frames=3), pipeline).annotated).has_audio


def test_rotation_is_in_the_pixels_and_no_longer_in_the_metadata(make_video, pipeline):
    path = make_video(frames=3)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    quarter = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    data[at : at + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in quarter)
    path.write_bytes(data)
    run = annotate(path, pipeline)
    assert pipeline.seen[0][3] == (48, 64)
    with av.open(str(run.annotated)) as file:
        frame = next(file.decode(video=0))
        assert (frame.rotation, frame.width, frame.height) == (0, 48, 64)


def test_rows_arrive_frame_by_frame_and_survive_in_a_log(make_video, pipeline, tmp_path):
    path = make_video(frames=12)
    with RowLog(tmp_path / "rows.jsonl") as log:
        lengths = []
        run = process_video(
            path,
            pipeline,
            camera_of_size,
            VideoOutputs(rows=log),
            progress=lambda done, total: lengths.append((done, total, len(list(log.rows())))),
        )
        rows = list(log.rows())
    assert lengths == [(i, 12, i) for i in range(1, 13)]
    assert [row["frame_index"] for row in rows] == list(range(12))
    assert rows[3]["source"] == str(path) and rows[3]["time_s"] == pytest.approx(0.1)
    assert run.annotated is None and run.track_ids == (1,) and run.frames_with_a_face == 12


def test_results_are_handed_out_and_the_pipeline_starts_anew(make_video, pipeline):
    results = []
    outputs = VideoOutputs(on_result=results.append)
    run = process_video(make_video(frames=6, fps=Fraction(30)), pipeline, camera_of_size, outputs)
    assert [result.frame_index for result in results] == list(range(6))
    assert pipeline.resets == 1
    assert run.end_s == pytest.approx(5 / 30)


@pytest.mark.parametrize("after", [1, 7])
def test_cancel_keeps_what_was_done_playable(make_video, pipeline, after):
    path = make_video(frames=60, fps=Fraction(30), sound="aac", sound_s=2.0)
    rows = Rows()
    outputs = VideoOutputs(rows, path.with_name("out.mp4"), draw_corner)
    run = process_video(
        path, pipeline, camera_of_size, outputs, cancelled=lambda: len(rows.rows) >= after
    )
    assert run.cancelled and run.frames == after and len(rows.rows) == after
    assert len(frame_times(run.annotated)) == after
    assert 0 <= len(sound_samples(run.annotated)) / 44100 < after / 30 + 0.1
    assert run.notes == (f"Cancelled after {after} of about 60 frames; what was done is kept.",)
    assert leftovers(path.parent) == []


def test_cancel_before_the_first_frame_leaves_nothing(make_video, pipeline):
    path = make_video(frames=5)
    run = annotate(path, pipeline, cancelled=lambda: True)
    assert run.cancelled and run.frames == 0 and run.annotated is None
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["made.mp4"]


@pytest.mark.parametrize("where", ["process", "draw", "progress", "rows"])
def test_an_error_anywhere_ends_threads_and_keeps_the_video(make_video, pipeline, where):
    """No deadlock on a full queue, no thread left, the frames before it playable."""
    path = make_video(frames=60)

    def fail_at_5(*_):
        if len(pipeline.seen) > 5:
            raise RuntimeError("planted")

    rows = Rows()
    draw = draw_corner
    if where == "process":
        answer = pipeline.process
        pipeline.process = lambda *args: (fail_at_5(), answer(*args))[1]
    elif where == "draw":
        draw = lambda image, result: (fail_at_5(), image)[1]  # noqa: E731
    elif where == "rows":
        rows.append = fail_at_5
    outputs = VideoOutputs(rows, path.with_name("out.mp4"), draw)
    with pytest.raises(RuntimeError, match="planted"):
        process_video(
            path,
            pipeline,
            camera_of_size,
            outputs,
            progress=fail_at_5 if where == "progress" else None,
        )
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]
    assert 5 <= len(frame_times(path.with_name("out.mp4"))) <= 6
    assert leftovers(path.parent) == []


def test_damage_in_the_file_is_noted_and_the_rest_is_done(make_video, pipeline):
    path = make_video("a.mkv", frames=60, key_every=5)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    run = annotate(path, pipeline)
    assert 20 <= run.frames < 60
    assert len(frame_times(run.annotated)) == run.frames
    assert "should last 2.0 s" in run.notes[-1]


def test_text_named_mp4_is_a_sentence(tmp_path, pipeline):
    path = tmp_path / "a.mp4"
    path.write_text("hello " * 50)
    with pytest.raises(VideoError, match="holds text"):
        annotate(path, pipeline)


def test_a_folder_that_cannot_be_written_is_a_sentence(make_video, pipeline, tmp_path):
    (tmp_path / "taken").write_text("a file, no folder")
    outputs = VideoOutputs(annotated=tmp_path / "taken" / "out.mp4", draw=draw_corner)
    with pytest.raises(VideoError, match="cannot be written"):
        process_video(make_video(frames=3), pipeline, camera_of_size, outputs)


def test_a_camera_is_asked_for_again_when_the_size_changes(pipeline, make_video, monkeypatch):
    first, second = (
        make_video("a.mp4", frames=3),
        make_video("b.mp4", frames=3, size_wh_px=(32, 48)),
    )

    def both(path, report):
        yield from iterate_frames(first)
        for frame in iterate_frames(second):
            yield type(frame)(
                frame.frame_index + 3,
                1 + frame.time_s,
                frame.image_rgb,
                frame.pts + 99999,
                frame.time_base,
            )

    monkeypatch.setattr(video_module, "iterate_frames", both)
    run = annotate(first, pipeline)
    assert [seen[3] for seen in pipeline.seen] == [(64, 48)] * 3 + [(32, 48)] * 3
    frames = list(iterate_frames(run.annotated))
    assert {frame.image_rgb.shape for frame in frames} == {(48, 64, 3)}
    assert frames[-1].image_rgb[:, :12].max() < 30  # a tall picture in a wide one: black sides


def test_frames_in_memory_do_not_grow_with_the_length(make_video, pipeline, monkeypatch):
    """The decoder is never further ahead of the network than the queue is long."""
    made = 0
    ahead = []

    def counted(path, report):
        nonlocal made
        for frame in iterate_frames(path):
            made += 1
            yield frame

    monkeypatch.setattr(video_module, "iterate_frames", counted)
    process_video(
        make_video(frames=120),
        pipeline,
        camera_of_size,
        progress=lambda done, total: (
            time.sleep(0.02 if done < 5 else 0),
            ahead.append(made - done),
        ),
    )
    assert len(ahead) == 120 and max(ahead) <= FRAMES_AHEAD + 1


def test_a_full_disk_is_a_sentence_and_leaves_no_rubbish(make_video, tmp_path, monkeypatch):
    path = make_video(frames=2)
    writer = VideoWriter(
        tmp_path / "out.mp4", (64, 48), Fraction(1, 30), probe_video(path), str(path)
    )
    image = next(iterate_frames(path)).image_rgb
    for pts in range(60):
        writer.write(image, pts)
    assert leftovers(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_mux_video", full)
    with pytest.raises(VideoError, match="No space left"):
        writer.close()
    writer.close()
    assert leftovers(tmp_path) == []


def test_annotating_needs_a_path_and_a_brush():
    with pytest.raises(ValueError, match="both"):
        VideoOutputs(annotated=Path("a.mp4"))


def test_demo_video(shared_data, pipeline, tmp_path):
    path = shared_data / "samples" / "faces" / "demo.mp4"
    outputs = VideoOutputs(annotated=tmp_path / "out.mp4", draw=draw_corner)
    count = 0

    def ten() -> bool:
        nonlocal count
        count += 1
        return count > 10

    run = process_video(path, pipeline, camera_of_size, outputs, cancelled=ten)
    np.testing.assert_allclose(frame_times(run.annotated), np.arange(10) * 1001 / 30000, atol=1e-4)
    assert probe_video(run.annotated).has_audio
