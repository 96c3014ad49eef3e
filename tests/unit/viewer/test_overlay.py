"""What is drawn of a head: where the camera says, near heads on top, labels that can be read."""

from __future__ import annotations

import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from models.geometry.cameras import Camera, camera_from_horizontal_fov, camera_from_intrinsics
from models.geometry.rotations import about_x, about_y, about_z
from viewer.render.labels import plate_wh_px
from viewer.render.overlay import (
    AXES_HEAD,
    AXIS_LENGTH_M,
    OverlayOptions,
    build_draw_list,
    draw_overlay,
    label_text,
    legend_html,
)
from viewer.render.painting import label_font
from viewer.render.palette import AXIS_COLOURS, LIGHT, hex_colour, track_colour
from viewer.render.shapes import Dots, Label, Segments, Triangles

SIZE = (640, 480)
CAMERA = camera_from_horizontal_fov(SIZE)
SKEWED = camera_from_intrinsics(SIZE, 700.0, 560.0, 290.0, 255.0)
R_TURNED = about_y(25.0) @ about_x(-12.0) @ about_z(8.0)
NOTHING = OverlayOptions(axes=False, box=False, mesh="none", landmarks=False, labels=False)
EVERYTHING = [
    OverlayOptions(axes=True, box=True, mesh=mesh, landmarks=True, labels=True)
    for mesh in ("wireframe", "shaded")
]


def only(**switches: object) -> OverlayOptions:
    return OverlayOptions(**({**vars(NOTHING), **switches}))


def drawn(poses, options, head_mesh, size=SIZE, ids=None):
    ids = list(range(1, len(poses) + 1)) if ids is None else ids
    return build_draw_list(poses, ids, head_mesh.triangles, options, size)


def plate_of(label: Label) -> np.ndarray:
    width, height = plate_wh_px(label.text, label.height_px)
    return np.array([label.x_px, label.y_px - height, label.x_px + width, label.y_px])


def overlap(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) > 1e-6).all())


@pytest.mark.parametrize("camera", [CAMERA, SKEWED], ids=["centred", "fx!=fy"])
def test_axes_run_from_the_head_to_their_tips(make_pose, head_mesh, camera: Camera) -> None:
    pose = make_pose(camera, (40, -25, 700), R_TURNED)
    lines = [
        shape
        for shape in drawn([pose], only(axes=True), head_mesh).shapes
        if isinstance(shape, Segments)
    ]
    origin_m = pose.t_cam_from_head_mm / 1000
    for name, axis in AXES_HEAD.items():
        (shaft,) = [line.points_px[0] for line in lines if line.colour == AXIS_COLOURS[name]]
        tip_m = origin_m + AXIS_LENGTH_M * R_TURNED @ axis
        np.testing.assert_allclose(shaft, camera.project(np.stack([origin_m, tip_m])), atol=0.1)


def test_the_axes_mean_what_the_legend_says(make_pose, head_mesh) -> None:
    """Frontal: up goes up in the picture, x to the right, the nose towards the camera."""
    pose = make_pose(CAMERA, (0, 0, 700))
    ends = {
        shape.colour: shape.points_px[0]
        for shape in drawn([pose], only(axes=True), head_mesh).shapes
        if isinstance(shape, Segments)
    }
    way = {name: np.subtract(*ends[AXIS_COLOURS[name]][::-1]) for name in AXES_HEAD}
    assert way["up"][1] < -50
    assert way["x"][0] > 50
    assert np.hypot(*way["nose"]) < 5
    assert all(hex_colour(colour) in legend_html() for colour in AXIS_COLOURS.values())


@pytest.mark.parametrize("camera", [CAMERA, SKEWED], ids=["centred", "fx!=fy"])
def test_landmarks_box_and_mesh_are_the_cameras_projection(
    make_pose, head_mesh, camera: Camera
) -> None:
    pose = make_pose(camera, (40, -25, 700), R_TURNED)
    landmarks = drawn([pose], only(landmarks=True), head_mesh).shapes
    (dots, *_) = [one for one in landmarks if isinstance(one, Dots) and one.colour == LIGHT]
    np.testing.assert_allclose(
        dots.points_px, camera.project(pose.landmarks_68_cam_m()), atol=0.1, rtol=0
    )
    projected = camera.project(pose.vertices_cam_m())
    box = np.concatenate(
        [one.points_px.reshape(-1, 2) for one in drawn([pose], only(box=True), head_mesh).shapes]
    )
    margin = 0.04 * np.ptp(projected, 0).max()
    np.testing.assert_allclose(box.min(0), projected.min(0) - margin, atol=0.1)
    np.testing.assert_allclose(box.max(0), projected.max(0) + margin, atol=0.1)
    for mesh in ("wireframe", "shaded"):
        (shape,) = drawn([pose], only(mesh=mesh), head_mesh).shapes
        gaps = np.linalg.norm(shape.points_px.reshape(-1, 1, 2) - projected[None], axis=2).min(1)
        assert gaps.max() < 0.1


def test_an_axis_that_passes_the_cameras_plane_is_cut_there(make_pose, head_mesh) -> None:
    pose = make_pose(CAMERA, (5, 5, 60))
    shapes = drawn([pose], only(axes=True), head_mesh).shapes
    (nose,) = [
        one.points_px[0]
        for one in shapes
        if isinstance(one, Segments) and one.colour == AXIS_COLOURS["nose"]
    ]
    np.testing.assert_allclose(nose[1], CAMERA.project(np.array([0.005, 0.005, 0.02])), atol=0.1)


def test_nothing_of_a_head_behind_the_camera_is_drawn(make_pose, head_mesh) -> None:
    pose = make_pose(CAMERA, (0, 0, -700))
    for options in EVERYTHING:
        assert drawn([pose], options, head_mesh).shapes == ()


def test_of_a_head_that_straddles_the_cameras_plane_only_the_front_is_drawn(
    make_pose, head_mesh
) -> None:
    pose = make_pose(CAMERA, (0, 0, 30))
    front = CAMERA.project(pose.vertices_cam_m()[pose.vertices_cam_m()[:, 2] > 0.02])
    for options in EVERYTHING:
        draw_list = drawn([pose], options, head_mesh)
        json.dumps(draw_list.to_json(), allow_nan=False)
        draw_overlay(np.zeros((480, 640, 3), np.uint8), draw_list)
        for shape in draw_list.shapes:
            if isinstance(shape, Triangles):
                assert (shape.points_px.reshape(-1, 2) <= front.max(0) + 0.1).all()


def test_no_heads_and_no_switches_draw_nothing(make_pose, head_mesh) -> None:
    pose = make_pose(CAMERA, (0, 0, 700))
    assert drawn([], EVERYTHING[0], head_mesh).shapes == ()
    empty = drawn([pose], NOTHING, head_mesh)
    assert empty.shapes == ()
    assert empty.to_json() == {"size": [640, 480], "scale": 10, "shapes": []}


def test_the_same_number_of_ids_is_needed(make_pose, head_mesh) -> None:
    with pytest.raises(ValueError, match="2 heads"):
        drawn([make_pose(CAMERA, (0, 0, 700))] * 2, NOTHING, head_mesh, ids=[1])


@pytest.mark.parametrize("place", ["t", "R", "box", "vertices", "K"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_absurd_pose_is_left_out_and_the_others_stay(
    make_pose, head_mesh, place: str, bad: float
) -> None:
    good = make_pose(CAMERA, (0, 0, 700))
    field = {
        "t": {"t_cam_from_head_mm": np.array([0, 0, bad])},
        "R": {"R_cam_from_head": np.full((3, 3), bad)},
        "box": {"box_xyxy_px": np.array([0, 0, bad, 10])},
        "vertices": {"vertices_head_m": np.where(np.eye(468, 3) > 0, bad, 0.1)},
        "K": {"K_image_from_cam": np.array([[bad, 0, 1], [0, 1, 1], [0, 0, 1.0]])},
    }[place]
    absurd = make_pose(CAMERA, (0, 0, 600), **field)
    for options in EVERYTHING:
        mixed = drawn([absurd, good], options, head_mesh, ids=[2, 1]).to_json()
        assert json.dumps(mixed, allow_nan=False) == json.dumps(
            drawn([good], options, head_mesh).to_json()
        )


@pytest.mark.parametrize("t_mm", [(1e9, 0, 700), (0, 0, 1e-3), (0, 0, 21), (-1e12, 1e12, 1e3)])
def test_huge_coordinates_are_drawn_without_overflow(make_pose, head_mesh, t_mm: tuple) -> None:
    pose = make_pose(CAMERA, t_mm, R_TURNED)
    for options in EVERYTHING:
        data = drawn([pose], options, head_mesh).to_json()
        json.dumps(data, allow_nan=False)
        for shape in data["shapes"]:
            assert max((abs(k) for k in shape.get("points", [0])), default=0) <= 10 * 1280.5
        draw_overlay(np.zeros((480, 640, 3), np.uint8), drawn([pose], options, head_mesh))


def test_far_heads_come_first_and_labels_last(make_pose, head_mesh) -> None:
    z_mm = (900, 500, 1500)
    poses = [make_pose(CAMERA, (0, 0, z)) for z in z_mm]
    shapes = drawn(poses, OverlayOptions(mesh="shaded"), head_mesh).shapes
    is_label = [isinstance(one, Label) for one in shapes]
    assert is_label == sorted(is_label), "labels lie on top of all"
    sizes = [np.ptp(one.points_px[..., 0]) for one in shapes if isinstance(one, Triangles)]
    assert sizes == sorted(sizes)
    colours = [one.colour for one in shapes if isinstance(one, Segments)]
    firsts = [colours.index(track_colour(k)) for k in (3, 1, 2)]
    assert firsts == sorted(firsts)
    assert [one.text[0] for one in shapes[-3:]] == ["3", "1", "2"]


def test_axes_are_named_at_their_tips(make_pose, head_mesh) -> None:
    pose = make_pose(CAMERA, (0, 0, 400), about_x(-40.0) @ about_y(40.0))
    labels = drawn([pose], only(axes=True, labels=True), head_mesh).shapes
    plates = {one.text: one for one in labels if isinstance(one, Label)}
    assert {"x", "up", "nose"} <= set(plates)
    for name, axis in AXES_HEAD.items():
        tip_m = pose.t_cam_from_head_mm / 1000 + AXIS_LENGTH_M * pose.R_cam_from_head @ axis
        tip, origin = CAMERA.project(tip_m), CAMERA.project(pose.t_cam_from_head_mm)
        width, height = plate_wh_px(name, plates[name].height_px)
        middle = np.array([plates[name].x_px + width / 2, plates[name].y_px - height / 2])
        outward = (tip - origin) / np.linalg.norm(tip - origin)
        assert 0 < (middle - tip) @ outward < width + height


def test_a_label_says_number_angles_and_distance(make_pose, head_mesh) -> None:
    pose = make_pose(CAMERA, (300, 0, 400), about_z(-30.0))
    yaw, pitch, roll = pose.ypr_deg
    assert label_text(pose, 4) == (f"4  Y {yaw:+.0f}°  P {pitch:+.0f}°  R {roll:+.0f}°  0.50 m")
    (label,) = drawn([pose], only(labels=True), head_mesh, ids=[4]).shapes
    assert label.text == label_text(pose, 4)
    assert label.colour == track_colour(4)


@pytest.mark.parametrize("size", [(300, 212), (640, 480), (1920, 1080), (480, 640)])
def test_labels_stay_inside_the_picture_and_off_each_other(
    make_pose, head_mesh, size: tuple[int, int]
) -> None:
    camera = camera_from_horizontal_fov(size)
    places = [(-250, -100), (-200, -80), (0, 0), (30, 20), (250, 150), (260, -130), (0, 190)]
    poses = [make_pose(camera, (*xy, 900 + 40 * k)) for k, xy in enumerate(places)]
    labels = drawn(poses, only(labels=True), head_mesh, size=size).shapes
    assert len(labels) == len(poses)
    plates = [plate_of(label) for label in labels]
    for k, plate in enumerate(plates):
        assert (plate[:2] >= 0).all()
        assert (plate[2:] <= size).all()
        assert not any(overlap(plate, other) for other in plates[:k])


def test_a_label_leaves_its_own_and_other_faces_free(make_pose, head_mesh) -> None:
    poses = [make_pose(CAMERA, (x, y, 1100)) for x in (-130, 130) for y in (-120, 120)]
    labels = drawn(poses, only(labels=True), head_mesh).shapes
    for label in labels:
        assert not any(overlap(plate_of(label), pose.box_xyxy_px) for pose in poses)


def test_a_small_face_gets_its_number_alone(make_pose, head_mesh) -> None:
    (label,) = drawn([make_pose(CAMERA, (0, 0, 4000))], only(labels=True), head_mesh).shapes
    assert label.text == "1"


@pytest.mark.parametrize("height", [9, 13, 20, 56, 93])
def test_the_room_for_a_label_holds_its_letters(height: int) -> None:
    text = "88  Y -188°  P -88°  R +188°  88.88 m"
    left, _, right, _ = label_font(height).getbbox(text)
    assert right - left + (2 * 0.35 + 0.28) * height <= plate_wh_px(text, float(height))[0]


def test_a_picture_of_one_pixel(make_pose, head_mesh) -> None:
    camera = camera_from_horizontal_fov((1, 1))
    pose = make_pose(camera, (0, 0, 700))
    for options in EVERYTHING:
        draw_list = drawn([pose], options, head_mesh, size=(1, 1))
        assert draw_overlay(np.zeros((1, 1, 3), np.uint8), draw_list).shape == (1, 1, 3)


def test_drawing_is_fast_enough_for_live_video(make_pose, head_mesh) -> None:
    """Measured 1.5 ms for the list and its JSON, 4 ms for the paint; busy machines get more."""
    pose = make_pose(CAMERA, (0, 0, 600))
    image = np.zeros((480, 640, 3), np.uint8)

    def best_ms(work) -> float:
        spans = []
        for _ in range(8):
            start = time.thread_time()
            work()
            spans.append(time.thread_time() - start)
        return min(spans) * 1000

    options = OverlayOptions(mesh="wireframe")
    draw_list = drawn([pose], options, head_mesh)
    assert best_ms(lambda: drawn([pose], options, head_mesh).to_json()) < 9
    assert best_ms(lambda: draw_overlay(image, draw_list)) < 18


GOLDEN = {
    "box_axes_label": OverlayOptions(),
    "wireframe": only(mesh="wireframe"),
    "shaded": only(mesh="shaded"),
    "landmarks": only(landmarks=True),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_picture(make_pose, head_mesh, repo_root: Path, name: str) -> None:
    """A right picture that has changed on purpose is accepted by copying tests/out/... over it."""
    photo = np.array(Image.open(repo_root / "assets/examples/astronaut.jpg").convert("RGB"))
    photo = cv2.resize(photo, (288, 288), interpolation=cv2.INTER_AREA)
    camera = camera_from_horizontal_fov((288, 288))
    pose = make_pose(camera, (-35, -125, 640), R_TURNED)
    seen = draw_overlay(photo, drawn([pose], GOLDEN[name], head_mesh, size=(288, 288)))
    path = repo_root / "tests" / "golden" / f"overlay_{name}.png"
    wanted = np.array(Image.open(path)) if path.is_file() else np.zeros_like(seen)
    diff = np.abs(seen.astype(int) - wanted)
    if not path.is_file() or diff.mean() > 0.5 or (diff.max(2) > 40).mean() > 0.004:
        folder = repo_root / "tests" / "out"
        folder.mkdir(exist_ok=True)
        Image.fromarray(seen).save(folder / path.name, optimize=True)
        Image.fromarray(np.minimum(diff * 4, 255).astype(np.uint8)).save(
            folder / f"overlay_{name}_diff.png"
        )
        pytest.fail(f"{path.name}: mean difference {diff.mean():.2f}; see {folder / path.name}")
    assert path.stat().st_size < 150_000
