"""Videos: the store of poses, any frame again, drawing again, cancel, and the summary."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from demo_app.actions.background import BusyError, Job, Progress
from demo_app.actions.options import PoseOptions
from demo_app.actions.predict_picture import NothingToDoError
from demo_app.actions.predict_video import VIDEO, predict_video, redraw_video
from demo_app.actions.progress_text import duration_text, end_html, progress_html
from demo_app.actions.results import VideoResult
from demo_app.actions.video_frames import read_frame_at
from demo_app.actions.video_report import first_frame_with_a_face, time_figure_json, video_end_html
from demo_app.actions.view_update import build_view, set_zero
from demo_app.inference.video_reader import VideoError, iterate_frames
from demo_app.services import Services, Visitor

OPTIONS = PoseOptions().checked()
FRAMES, FPS = 40, 20


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[[int], Path]:
    """320 x 240, frame k of brightness 2 k, a key frame every ten."""

    def make(frames: int) -> Path:
        path = tmp_path / f"clip{frames}.mp4"
        with av.open(str(path), "w") as file:
            stream = file.add_stream("libx264", rate=FPS, options={"g": "10", "crf": "10"})
            stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
            for k in range(frames):
                picture = np.full((480, 640, 3), 20 + 2 * k % 200, np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            file.mux(stream.encode(None))
        return path

    return make


def _finish(job: Any) -> Any:
    """The last thing that it yields, all others being progress."""
    *progress, last = job
    assert all(isinstance(one, Progress) for one in progress)
    return last


def _run(services: Services, visitor: Visitor, path: Path, **changed: Any) -> VideoResult:
    options = OPTIONS._replace(**changed)
    return _finish(predict_video(services, visitor, str(path), "my clip.mp4", options))


def test_any_frame_comes_back_as_it_was(
    services: Services, visitor: Visitor, make_video: Callable[[int], Path], world: Any
) -> None:
    seen = []
    original = world.predict_boxes
    world.predict_boxes = lambda *a, **k: seen.append(original(*a, **k)) or seen[-1]
    result = _run(services, visitor, make_video(FRAMES), smoothing=False)
    assert len(result) == FRAMES == result.run.frames
    crops, last = world.crops, result.frame(FRAMES - 1)
    assert world.crops == crops, "the network ran again"
    truth = {tuple(pose.t_cam_from_head_mm): pose for poses in seen for pose in poses}
    for face in last.result.faces:
        pose = truth[tuple(face.pose.t_cam_from_head_mm)]
        assert np.array_equal(face.pose.R_cam_from_head, pose.R_cam_from_head)
        assert np.allclose(face.pose.vertices_head_m, pose.vertices_head_m, atol=6e-5)
        assert np.allclose(face.pose.box_xyxy_px, pose.box_xyxy_px)
        assert face.pose.uncertainty_source == pose.uncertainty_source
        assert face.raw.model == pose.model
    assert last.result.frame_index == FRAMES - 1
    assert last.result.time_s == pytest.approx((FRAMES - 1) / FPS)


def test_frames_are_found_by_their_time(make_video: Callable[[int], Path]) -> None:
    path = make_video(FRAMES)
    frames = list(iterate_frames(path))
    for index in (0, 1, 9, 10, 23, FRAMES - 1):
        found = read_frame_at(path, frames[index].time_s)
        assert np.array_equal(found, frames[index].image_rgb), index
    with pytest.raises(VideoError, match="no frame at"):
        read_frame_at(path, 99.0)


def test_rows_bear_the_visitors_name(
    services: Services, visitor: Visitor, make_video: Callable[[int], Path]
) -> None:
    result = _run(services, visitor, make_video(5))
    rows = json.loads(result.tables["json"].read_text())
    assert {row["source"] for row in rows} == {"my clip.mp4"}
    assert "my clip.mp4, frame 3" in result.frame(3).title
    assert result.annotated.name == "my clip_annotated.mp4"
    assert result.annotated.is_relative_to(visitor.folder)


def test_a_result_outlives_the_upload_and_its_zero_does_not_outlive_it(
    services: Services, visitor: Visitor, make_video: Callable[[int], Path]
) -> None:
    upload = visitor.folder.parent / "hash" / "clip.mp4"
    upload.parent.mkdir()
    make_video(5).rename(upload)
    result = _run(services, visitor, upload)
    set_zero(visitor, VIDEO, 2)
    upload.unlink()
    assert "zeroed" in build_view(visitor, VIDEO, 4, OPTIONS).numbers.table
    assert result.path.is_relative_to(visitor.folder)
    _run(services, visitor, make_video(6))
    assert "zeroed" not in build_view(visitor, VIDEO, 4, OPTIONS).numbers.table


def test_cancel_keeps_what_was_done(
    services: Services, visitor: Visitor, make_video: Callable[[int], Path], world: Any
) -> None:
    original = world.predict_boxes

    def cancel_at_ten(*given: Any, **options: Any) -> Any:
        if len(world.batches) == 10:
            visitor.cancelled.set()
        return original(*given, **options)

    world.predict_boxes = cancel_at_ten
    result = _run(services, visitor, make_video(FRAMES))
    assert 3 < len(result) < FRAMES
    assert result.run.cancelled and "Cancelled after" in video_end_html(result)
    with av.open(str(result.annotated)) as file:
        assert sum(1 for _ in file.decode(video=0)) == len(result)
    assert build_view(visitor, VIDEO, len(result) - 1, OPTIONS).numbers.face_ids


def test_drawing_again_needs_no_network(
    services: Services, visitor: Visitor, make_video: Callable[[int], Path], world: Any
) -> None:
    def greens(path: Path) -> int:
        """Pixels in the colour of the axis that points up."""
        picture = read_frame_at(path, 0.0).astype(int)
        return int((picture[..., 1] - picture[..., [0, 2]].max(2) > 60).sum())

    result = _run(services, visitor, make_video(12))
    assert greens(result.annotated) > 100
    first, crops, detections = result.annotated, world.crops, world.detections
    again = _finish(redraw_video(visitor, OPTIONS._replace(layers=())))
    assert (world.crops, world.detections) == (crops, detections)
    assert again is result and result.annotated.exists() and not first.exists()
    assert greens(result.annotated) == 0


def test_there_must_be_a_video_to_draw_again(visitor: Visitor) -> None:
    with pytest.raises(NothingToDoError, match="estimate one first"):
        next(redraw_video(visitor, OPTIONS))


def test_a_bad_video_leaves_nothing(services: Services, visitor: Visitor, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video at all" * 50)
    with pytest.raises(VideoError, match="text"):
        _finish(predict_video(services, visitor, str(bad), "bad.mp4", OPTIONS))
    assert VIDEO not in visitor.results and not list(visitor.folder.iterdir())
    assert not visitor.working.locked()


def test_the_plot_has_both_lines_in_the_chosen_convention(
    services: Services, visitor: Visitor, make_video: Callable[[int], Path], world: Any
) -> None:
    world.noise = 1.0
    result = _run(services, visitor, make_video(20))
    figures = {
        key: json.loads(time_figure_json(result, OPTIONS._replace(convention=key)))
        for key in ("300wlp", "opengl")
    }
    names = {trace["name"] for trace in figures["300wlp"]["data"]}
    assert {"yaw", "yaw raw", "z", "z raw"} <= names
    assert figures["300wlp"]["data"] != figures["opengl"]["data"]
    assert first_frame_with_a_face(result) == 0


def test_one_job_a_visitor_and_a_closed_watcher_cancels(visitor: Visitor) -> None:
    def work(report: Any, cancelled: Any) -> int:
        for i in itertools.count():
            report(i, None)
            if cancelled():
                return i
        return 0

    watching = Job(visitor, work).watch()
    assert isinstance(next(watching), Progress)
    with pytest.raises(BusyError, match="still running"):
        next(Job(visitor, work).watch())
    watching.close()
    assert visitor.working.acquire(timeout=5.0), "the job did not end"
    visitor.working.release()


def test_an_error_in_the_job_reaches_its_watcher(visitor: Visitor) -> None:
    def work(report: Any, cancelled: Any) -> int:
        raise VideoError("broken")

    with pytest.raises(VideoError, match="broken"):
        list(Job(visitor, work).watch())
    assert not visitor.working.locked()


def test_progress_in_words() -> None:
    text = progress_html(Progress(30, 90, 10.0), "frames")
    assert "30 of 90 frames" in text and "3.0 per second" in text and "20 s left" in text
    assert "width:33.3%" in text
    unknown = progress_html(Progress(30, None, 10.0), "frames")
    assert "30 frames" in unknown and "left" not in unknown
    assert duration_text(185) == "3 min 5 s"
    many = end_html("Done.", [f"note {i}" for i in range(20)])
    assert many.count("<li>") == 9 and "And 12 more." in many
