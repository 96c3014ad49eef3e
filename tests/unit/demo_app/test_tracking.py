"""Identities in a made-up world: crossings, occlusion, loss, re-entry, collapse, thrift."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from demo_app.inference.pipeline import FramePipeline, PipelineOptions
from demo_app.inference.tracking import Observation, Tracker, TrackingOptions
from models.geometry.cameras import camera_from_horizontal_fov

FPS = 30.0


def run(world, times_s, options=None):
    """Per frame: {track id: whose face it is on}."""
    pipeline = FramePipeline(world, world, options or PipelineOptions())
    return [
        {
            face.track_id: world.name_at(face.raw)
            for face in pipeline.process(world.picture(t), i, t, world.camera).faces
        }
        for i, t in enumerate(times_s)
    ]


def frames(until_s: float, fps: float = FPS) -> np.ndarray:
    return np.arange(0, until_s, 1 / fps)


def owners(history) -> dict[int, set[str]]:
    """Track id -> names it was ever on."""
    found: dict[int, set[str]] = {}
    for frame in history:
        for track_id, name in frame.items():
            found.setdefault(track_id, set()).add(name)
    return found


def test_one_still_face_keeps_number_1_and_the_detector_rests(head_world, straight_path):
    world = head_world({"ann": straight_path((0, 0, 600))})
    history = run(world, frames(3.0))
    assert all(frame == {1: "ann"} for frame in history)
    assert 3 <= world.detections <= 4  # the first frame and once a second
    assert world.batches[0] == 1 and set(world.batches) == {1}


@pytest.mark.parametrize("fps", [30.0, 12.0])
@pytest.mark.parametrize("rear_mm", [850, 1000, 1400])
@pytest.mark.parametrize("speed_mm_s", [300, 700])
def test_two_that_pass_each_other_keep_their_numbers(
    head_world, straight_path, fps, rear_mm, speed_mm_s
):
    """The rear face is hidden for a while; the crops of both tracks then show the front one."""
    seconds = 520 / speed_mm_s
    world = head_world(
        {
            "front": straight_path((-250, 0, 700), (speed_mm_s, 0, 0)),
            "rear": straight_path((300, 0, rear_mm), (-speed_mm_s, 0, 0)),
        }
    )
    history = run(world, frames(seconds, fps))
    hidden = [frame for frame in history if len(frame) == 1]
    assert hidden, "the scene does not test occlusion"
    assert len(history[-1]) == 2, "the rear face did not come back"
    assert owners(history) == {
        next(k for k, v in history[0].items() if v == "front"): {"front"},
        next(k for k, v in history[0].items() if v == "rear"): {"rear"},
    }


def test_one_who_walks_behind_another_who_sits(head_world, straight_path):
    world = head_world(
        {
            "sits": straight_path((0, 0, 600)),
            "walks": straight_path((-350, 0, 900), (500, 0, 0)),
        }
    )
    history = run(world, frames(1.4))
    assert any(len(frame) == 1 for frame in history)
    assert all(len(names) == 1 for names in owners(history).values())
    assert len(owners(history)) == 2 and len(history[-1]) == 2


def test_overlapping_faces_that_stay_apart_are_both_followed(head_world, straight_path):
    """Two who sit close, one partly behind the other, for longer than any memory."""
    world = head_world({"left": straight_path((-65, 0, 700)), "right": straight_path((65, 0, 850))})
    history = run(world, frames(4.0))
    assert all(len(frame) == 2 for frame in history)
    assert len(owners(history)) == 2


@pytest.mark.parametrize("gone_s", [0.1, 0.4, 1.2])
def test_a_short_loss_keeps_the_number(head_world, straight_path, gone_s):
    """A face that moves on while it cannot be seen, such as behind a hand."""

    def path(time_s):
        hidden = 1.0 <= time_s < 1.0 + gone_s
        return None if hidden else straight_path((-100, 0, 600), (60, 0, 0))(time_s)

    history = run(head_world({"ann": path}), frames(3.0))
    assert owners(history) == {1: {"ann"}}
    back = next(i for i, t in enumerate(frames(3.0)) if t >= 1.0 + gone_s)
    assert history[back + 6] == {1: "ann"}, "more than 0.2 s to find it again"


def test_a_long_loss_gives_a_new_number_and_none_twice(head_world, straight_path):
    def path(time_s):
        return None if 1.0 <= time_s < 3.0 else straight_path((0, 0, 600))(time_s)

    history = run(head_world({"ann": path}), frames(4.5))
    assert owners(history) == {1: {"ann"}, 2: {"ann"}}
    assert history[-1] == {2: "ann"}


def test_one_unreadable_frame_costs_one_frame_and_no_second_detection(head_world, straight_path):
    def path(time_s):
        blurred = 0.5 <= time_s < 0.5 + 0.9 / FPS
        return None if blurred else straight_path((0, 0, 600))(time_s)

    world = head_world({"ann": path})
    history = run(world, frames(0.9))
    assert [i for i, frame in enumerate(history) if frame != {1: "ann"}] == [15]
    assert world.detections == 2


def test_two_who_move_on_in_the_dark_are_told_apart_by_their_motion(head_world, straight_path):
    """Hidden for 0.4 s in which they change places: the nearest place would be the wrong one."""

    def path(sign):
        def at(time_s):
            dark = 0.6 <= time_s < 1.0
            return (
                None
                if dark
                else straight_path((-240 * sign, 50 * sign, 800), (300 * sign, 0, 0))(time_s)
            )

        return at

    history = run(head_world({"ann": path(1), "bob": path(-1)}), frames(1.5))
    assert len(history[-1]) == 2
    assert owners(history) == {k: {v} for k, v in history[0].items()}


def test_somebody_else_elsewhere_does_not_take_the_number_of_a_lost_face(head_world, straight_path):
    world = head_world(
        {
            "ann": straight_path((-250, 0, 700), until_s=1.0),
            "bob": straight_path((350, 0, 900), from_s=1.2),
        }
    )
    assert owners(run(world, frames(2.5))) == {1: {"ann"}, 2: {"bob"}}


def test_leaving_the_picture_ends_the_track_there(head_world, straight_path):
    world = head_world({"ann": straight_path((0, 0, 600), (500, 0, 0))})
    history = run(world, frames(2.0))
    last = max(i for i, frame in enumerate(history) if frame) / FPS
    assert 0.5 < last < 0.9  # 346 mm from the middle is the edge


def test_two_tracks_on_one_face_become_one(head_world, straight_path):
    """The younger one goes where both explain the face alike."""
    world = head_world({"ann": straight_path((0, 0, 600))})
    tracker = Tracker(TrackingOptions(), world.min_confidence)
    world.picture(0.0)
    tracker.start_frame(world.camera, 0.0)
    tracker.follow([], [])
    pose = world.pose(*straight_path((0, 0, 600))(0), world.camera, 0.9)
    beside = world.pose(*straight_path((80, 0, 600))(0), world.camera, 0.9)
    tracker.adopt([Observation(p, world.ray_box_from_pose(p)) for p in (pose, beside)])
    assert [track.track_id for track in tracker.visible] == [1, 2]
    tracker.start_frame(world.camera, 1 / FPS)
    tracks = [track for track, _ in tracker.followed()]
    tracker.follow(tracks, [Observation(pose, world.ray_box_from_pose(pose))] * 2)
    assert [track.track_id for track in tracker.visible] == [1]


def test_a_turn_and_a_jump_are_followed(head_world, straight_path):
    """0.12 m and 40 degrees within one frame."""
    still, moved = straight_path((-60, 0, 600)), straight_path((60, 0, 600), yaw_deg=40)
    world = head_world({"ann": lambda t: still(t) if t < 1.0 else moved(t)})
    assert owners(run(world, frames(2.0))) == {1: {"ann"}}


def test_an_empty_view_costs_less_and_less(head_world):
    world = head_world({})
    run(world, frames(20.0))
    assert 20 < world.detections < 45
    assert world.crops == 0


def test_somebody_who_appears_is_found_within_a_second(head_world, straight_path):
    world = head_world({"ann": straight_path((0, 0, 600), from_s=10.0)})
    history = run(world, frames(12.0))
    first = next(i for i, frame in enumerate(history) if frame) / FPS
    assert 10.0 <= first <= 11.05


def test_max_faces_limits_tracks_and_the_detector(head_world, straight_path):
    world = head_world(
        {
            name: straight_path((x, 0, 900))
            for name, x in zip("abcd", (-350, -120, 120, 350), strict=True)
        }
    )
    options = PipelineOptions(tracking=TrackingOptions(max_faces=2))
    history = run(world, frames(3.0), options)
    assert all(len(frame) == 2 for frame in history)
    assert world.detections == 1


def test_low_confidence_brings_the_detector_at_once(head_world, straight_path):
    """A face that moves far between two frames of a slow stream is found again by the detector."""
    world = head_world(
        {"ann": lambda t: straight_path((-200 if int(t * 2) % 2 else 200, 0, 700))(t)}
    )
    times_s = np.arange(0, 3.0, 0.25)
    history = run(world, times_s)
    assert all(len(frame) == 1 for frame in history)


def test_time_that_runs_back_starts_anew(head_world, straight_path):
    world = head_world({"ann": straight_path((0, 0, 600))})
    history = run(world, [0.0, 0.1, 0.2, 0.0, 0.1])
    assert [list(frame) for frame in history] == [[1], [1], [1], [2], [2]]


def test_a_moved_focal_length_slider_keeps_the_numbers(head_world):
    world = head_world({})
    pipeline = FramePipeline(world, world)
    ids = []
    for i, t in enumerate(frames(0.5)):
        camera = camera_from_horizontal_fov(world.size_wh_px, 60.0 if i < 8 else 35.0)
        # the picture stays: the same pixels under another K
        world.heads = {
            "ann": _same_pixels(world, (60, 30, 600), camera),
            "bob": _same_pixels(world, (-150, 0, 800), camera),
        }
        ids.append([f.track_id for f in pipeline.process(world.picture(t), i, t, camera).faces])
    assert ids == [[1, 2]] * len(ids)


def _same_pixels(world, place_mm, camera):
    """Where a head must be to look the same in another camera, before the world scales z by f."""
    x, y, z = place_mm
    return lambda _: (np.eye(3), np.array([x, y, z], np.float64))


def test_another_shape_of_the_picture_starts_anew(head_world, straight_path):
    world = head_world({"ann": straight_path((0, 0, 600))})
    pipeline = FramePipeline(world, world)
    assert [f.track_id for f in pipeline.process(world.picture(0), 0, 0, world.camera).faces] == [1]
    turned = camera_from_horizontal_fov((480, 640), 60.0)
    result = pipeline.process(np.zeros((640, 480, 3), np.uint8), 1, 0.03, turned)
    assert [f.track_id for f in result.faces] == [2]


def test_numbers_follow_three_people_who_change_places(head_world, straight_path):
    """Everybody crosses everybody at three distances, twice over."""

    def around(phase, depth_mm):
        def path(time_s):
            x = 320 * np.cos(2 * np.pi * (time_s / 4 + phase))
            return np.eye(3), np.array([x * depth_mm / 900, 0.0, depth_mm])

        return path

    world = head_world(
        {"a": around(0, 700), "b": around(1 / 3, 1000), "c": around(2 / 3, 1400)},
        size_wh_px=(960, 480),
    )
    history = run(world, frames(8.0))
    assert sum(len(frame) for frame in history) > 0.7 * 3 * len(history)
    wrong = [(a, b) for a, b in itertools.pairwise(sorted(owners(history).items())) if a[1] == b[1]]
    assert all(len(names) == 1 for names in owners(history).values()), owners(history)
    assert not wrong and len(owners(history)) == 3


def test_a_crowd_rarely_changes_numbers(head_world):
    """Two to four people who sway across each other for 5 s, six times: harder than most."""
    rng = np.random.default_rng(4)

    def path(depth_mm):
        reach_mm, x_mm = rng.uniform(100, 300) * depth_mm / 900, rng.uniform(-100, 100)
        period_s, phase, y_mm = rng.uniform(2, 6), rng.uniform(0, 6.28), rng.uniform(-40, 40)
        return lambda t: (
            np.eye(3),
            np.array([x_mm + reach_mm * np.sin(2 * np.pi * t / period_s + phase), y_mm, depth_mm]),
        )

    on_another = seen = numbers_too_many = 0
    for count in (2, 2, 3, 3, 3, 4):
        world = head_world(
            {str(i): path(600.0 + 220 * i) for i in range(count)}, size_wh_px=(800, 480)
        )
        history = run(world, frames(5.0, 15.0))
        for track_id in owners(history):
            names = [frame[track_id] for frame in history if track_id in frame]
            on_another += len(names) - max(names.count(name) for name in names)
            seen += len(names)
        numbers_too_many += len(owners(history)) - count
    assert on_another < 0.06 * seen
    assert numbers_too_many <= 3


def test_options_are_checked():
    with pytest.raises(ValueError, match="max_faces"):
        TrackingOptions(max_faces=0)
