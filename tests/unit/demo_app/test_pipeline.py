"""FramePipeline: what it asks of the networks, what it hands out, and when it starts anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from demo_app.inference.pipeline import FramePipeline, PipelineOptions
from demo_app.inference.smoothing import SmoothingOptions
from demo_app.inference.tracking import TrackingOptions
from models.geometry.cameras import camera_from_horizontal_fov
from models.geometry.rotations import about_y, geodesic_deg


@pytest.fixture
def two_people(head_world, straight_path):
    return head_world({"ann": straight_path((-150, 0, 700)), "bob": straight_path((150, 0, 900))})


def run(pipeline, world, times_s):
    return [
        pipeline.process(world.picture(t), i, t, world.camera, "a.mp4")
        for i, t in enumerate(times_s)
    ]


def test_a_result_says_where_and_when(two_people):
    result = run(FramePipeline(two_people, two_people), two_people, [0.0, 0.5])[1]
    assert (result.source, result.frame_index, result.time_s) == ("a.mp4", 1, 0.5)
    assert result.camera is two_people.camera
    assert [face.track_id for face in result.faces] == [1, 2]


def test_all_faces_of_a_frame_go_through_the_network_in_one_batch(two_people):
    run(FramePipeline(two_people, two_people), two_people, np.arange(10) / 30)
    assert two_people.batches == [2] * 10


def test_a_result_is_of_its_own_frame(head_world, straight_path):
    """No frame of delay: the pose moves with the face, frame by frame."""
    world = head_world({"ann": straight_path((-200, 0, 600), (400, 0, 0))}, noise=0.0)
    for result in run(FramePipeline(world, world), world, np.arange(20) / 30):
        expected = -200 + 400 * result.time_s
        assert result.faces[0].pose.t_cam_from_head_mm[0] == pytest.approx(expected, abs=1e-6)


def test_without_smoothing_raw_is_what_is_shown(two_people):
    for result in run(FramePipeline(two_people, two_people), two_people, [0.0, 0.1]):
        assert all(face.pose is face.raw for face in result.faces)


def test_smoothing_calms_and_keeps_raw(two_people):
    options = PipelineOptions(smoothing=SmoothingOptions())
    results = run(FramePipeline(two_people, two_people, options), two_people, np.arange(60) / 30)
    for person in (0, 1):
        z_mm = {
            kind: np.std(
                [getattr(r.faces[person], kind).t_cam_from_head_mm[2] for r in results[15:]]
            )
            for kind in ("raw", "pose")
        }
        assert z_mm["pose"] < 0.7 * z_mm["raw"]
    face = results[-1].faces[0]
    assert face.raw.confidence == face.pose.confidence


def test_smoothing_starts_anew_after_a_loss(head_world, straight_path):
    """Back from behind a hand with the head turned: no slow swing from the old pose."""
    before, after = straight_path((0, 0, 600)), straight_path((0, 0, 600), yaw_deg=60)

    def path(t):
        return before(t) if t < 0.5 else None if t < 0.8 else after(t)

    world = head_world({"ann": path}, noise=0.0)
    options = PipelineOptions(smoothing=SmoothingOptions())
    results = run(FramePipeline(world, world, options), world, np.arange(36) / 30)
    back = next(r for r in results if r.time_s >= 0.8 and r.faces)
    assert back.faces[0].track_id == 1
    assert geodesic_deg(back.faces[0].pose.R_cam_from_head, about_y(60.0)) < 1e-6


def test_another_camera_starts_the_smoothing_anew(head_world, straight_path):
    """Distances under two focal lengths must not be mixed."""
    world = head_world({"ann": straight_path((0, 0, 600))}, noise=0.0)
    options = PipelineOptions(smoothing=SmoothingOptions())
    pipeline = FramePipeline(world, world, options)
    run(pipeline, world, np.arange(10) / 30)
    wide = camera_from_horizontal_fov(world.size_wh_px, 45.0)
    result = pipeline.process(world.picture(10 / 30), 10, 10 / 30, wide)
    assert [face.track_id for face in result.faces] == [1]
    np.testing.assert_array_equal(
        result.faces[0].pose.t_cam_from_head_mm, result.faces[0].raw.t_cam_from_head_mm
    )


def test_frames_may_change_their_size_and_keep_the_numbers(head_world, straight_path):
    """A call whose resolution drops: the same view, half the pixels."""
    world = head_world({"ann": straight_path((80, -40, 700))})
    pipeline = FramePipeline(world, world)
    assert [f.track_id for f in run(pipeline, world, [0.0, 0.03])[-1].faces] == [1]
    world.size_wh_px = (320, 240)
    world.camera = world.camera.resized((320, 240))
    detections = world.detections
    result = pipeline.process(world.picture(0.06), 2, 0.06, world.camera)
    assert [f.track_id for f in result.faces] == [1] and world.detections == detections
    assert np.all(result.faces[0].pose.box_xyxy_px[2:] <= [320, 240])


def test_without_uncertainty_the_second_view_is_looked_at_now_and_then(two_people):
    views = []
    answer = two_people.predict_boxes

    def spy(image_rgb, camera, ray_boxes, **options):
        poses = answer(image_rgb, camera, ray_boxes, **options)
        if options["passes"] == 2:
            return poses
        views.append(len(options["views"]))
        if len(options["views"]) == 2:
            return poses
        return [replace(pose, confidence=1.0, uncertainty_source="one view") for pose in poses]

    two_people.predict_boxes = spy
    pipeline = FramePipeline(two_people, two_people, PipelineOptions(uncertainty=False))
    results = run(pipeline, two_people, np.arange(31) / 30)
    assert set(views) == {1, 2} and 4 <= views.count(2) <= 7
    shown = [face.raw for result in results for face in result.faces]
    assert {pose.uncertainty_source for pose in shown} == {"made up"}
    assert max(pose.confidence for pose in shown) < 1.0
    views.clear()
    run(FramePipeline(two_people, two_people), two_people, np.arange(10) / 30)
    assert set(views) == {2}


def test_a_still_picture_leaves_the_stream_alone(two_people):
    pipeline = FramePipeline(two_people, two_people)
    run(pipeline, two_people, [0.0, 0.03])
    still = pipeline.process_still(two_people.picture(9.0), two_people.camera, "a.jpg")
    assert [face.track_id for face in still.faces] == [1, 2]
    assert (still.source, still.frame_index, still.time_s) == ("a.jpg", 0, 0.0)
    assert all(face.pose is face.raw for face in still.faces)
    result = pipeline.process(two_people.picture(0.06), 2, 0.06, two_people.camera)
    assert [face.track_id for face in result.faces] == [1, 2]


def test_max_faces_holds_for_stills_too(two_people):
    options = PipelineOptions(tracking=TrackingOptions(max_faces=1))
    still = FramePipeline(two_people, two_people, options).process_still(
        two_people.picture(0.0), two_people.camera
    )
    assert len(still.faces) == 1


def test_reset_forgets_faces_but_no_numbers(two_people):
    pipeline = FramePipeline(two_people, two_people)
    run(pipeline, two_people, [0.0, 0.03])
    pipeline.reset()
    assert [f.track_id for f in run(pipeline, two_people, [0.0])[0].faces] == [3, 4]


def test_a_picture_without_faces_gives_an_empty_result(head_world):
    world = head_world({})
    result = FramePipeline(world, world).process(world.picture(0), 0, 0.0, world.camera)
    assert result.faces == () and result.detector_ran


@pytest.mark.parametrize(
    "frame",
    [np.zeros((480, 640), np.uint8), np.zeros((480, 640, 3)), np.zeros((480, 640, 4), np.uint8)],
)
def test_what_is_no_rgb_picture_is_refused(two_people, frame):
    pipeline = FramePipeline(two_people, two_people)
    with pytest.raises(ValueError, match="uint8 RGB"):
        pipeline.process(frame, 0, 0.0, two_people.camera)
    with pytest.raises(ValueError, match="uint8 RGB"):
        pipeline.process_still(frame, two_people.camera)


def test_a_camera_of_another_size_is_refused(two_people):
    with pytest.raises(ValueError, match="640 x 360"):
        FramePipeline(two_people, two_people).process(
            np.zeros((360, 640, 3), np.uint8), 0, 0.0, two_people.camera
        )
