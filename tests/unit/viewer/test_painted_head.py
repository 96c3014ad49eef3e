"""The painted head: exact pose on the pixels, the same picture every time, a face to detectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.face_detection.mtcnn import MtcnnDetector
from models.geometry.boxes import bounding_box_xyxy, iou_xyxy, ray_box_from_points
from models.geometry.cameras import Camera, camera_from_horizontal_fov, camera_from_intrinsics
from models.geometry.rotations import geodesic_deg, matrix_from_ypr_300wlp
from models.trg.pose_model import PoseModel
from models.weights import load_pose_model
from viewer.synthesis import painted_head
from viewer.synthesis.face_map import FaceMap
from viewer.synthesis.painted_head import (
    PaintedHead,
    build_background,
    build_painted_head,
    draw_painted_head,
    render_painted_head,
)

SIZE_PX = (280, 280)
CAMERA = camera_from_horizontal_fov(SIZE_PX, 40.0)
OFF_CENTRE = camera_from_intrinsics(SIZE_PX, 358.0, 436.0, 109.0, 163.0)
T_MM = np.array([15.0, -10.0, 560.0])
POSES = [
    (0.0, 0.0, 0.0),
    (30.0, 0.0, 0.0),
    (-30.0, 0.0, 0.0),
    (50.0, 0.0, 0.0),
    (-50.0, 0.0, 0.0),
    (0.0, 20.0, 0.0),
    (0.0, -20.0, 0.0),
]


def projected(
    head: PaintedHead, points_head_m: np.ndarray, R: np.ndarray, camera: Camera
) -> np.ndarray:
    return camera.project(points_head_m @ R.T + T_MM / 1000)


def centre_of_difference_px(a_rgb: np.ndarray, b_rgb: np.ndarray) -> np.ndarray:
    """Where two pictures differ, on average (continuous pixels)."""
    weight = np.abs(a_rgb.astype(float) - b_rgb.astype(float)).sum(-1)
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def polygon_centre(points: np.ndarray) -> np.ndarray:
    """Centre of area."""
    following = np.roll(points, -1, 0)
    cross = points[:, 0] * following[:, 1] - points[:, 1] * following[:, 0]
    return ((points + following) * cross[:, None]).sum(0) / (3 * cross.sum())


@pytest.mark.parametrize("camera", [CAMERA, OFF_CENTRE], ids=["centred", "off-centre"])
@pytest.mark.parametrize("ypr", [(0.0, 0.0, 0.0), (25.0, 0.0, 0.0), (-20.0, 15.0, 20.0)])
def test_eyes_are_where_the_pose_puts_them(camera: Camera, ypr: tuple[float, ...]) -> None:
    """Another iris colour changes the picture at the projected eyes and nowhere else."""
    R = matrix_from_ypr_300wlp(*ypr)
    head = build_painted_head(0)
    other = replace(head, palette=replace(head.palette, iris=np.array([0.0, 1.0, 0.0])))
    background = build_background(camera.size_wh_px, 0)
    pictures = [draw_painted_head(background, h, R, T_MM, camera) for h in (head, other)]
    eyes_px = np.stack(
        [
            projected(head, head.landmarks_68_head_m[ids], R, camera).mean(0)
            for ids in (slice(36, 42), slice(42, 48))
        ]
    )
    assert np.linalg.norm(eyes_px[0] - eyes_px[1]) > 24
    # how much of each eye is seen differs with the turn: the centre lies between them
    centre_px = centre_of_difference_px(*pictures)
    along = (eyes_px[1] - eyes_px[0]) / np.linalg.norm(eyes_px[1] - eyes_px[0])
    across = np.array([-along[1], along[0]])
    assert abs((centre_px - eyes_px.mean(0)) @ across) < 1.5
    assert abs((centre_px - eyes_px.mean(0)) @ along) < 5.0
    rows, columns = np.nonzero((pictures[0] != pictures[1]).any(-1))
    changed_px = np.stack([columns, rows], -1) + 0.5
    far = np.linalg.norm(changed_px[:, None] - eyes_px[None], axis=-1).min(1)
    assert far.max() < 10


@pytest.mark.parametrize("ypr", [(0.0, 0.0, 0.0), (30.0, 10.0, 0.0), (-20.0, -10.0, 25.0)])
def test_lips_are_where_the_pose_puts_them(ypr: tuple[float, ...]) -> None:
    """Other lips change the picture around the projected lip landmarks."""
    R = matrix_from_ypr_300wlp(*ypr)
    head = build_painted_head(0)
    template = painted_head._open_head()
    landmarks = template.landmarks_468_m(template.template_vertices_m)
    blue = replace(head.palette, lips=np.array([0.0, 0.0, 1.0]))
    other = replace(head, face_map=FaceMap(landmarks, blue, 0))
    background = build_background(SIZE_PX, 0)
    pictures = [draw_painted_head(background, h, R, T_MM, CAMERA) for h in (head, other)]
    outline_px = projected(head, head.landmarks_68_head_m[48:60], R, CAMERA)
    offset_px = centre_of_difference_px(*pictures) - polygon_centre(outline_px)
    assert np.linalg.norm(offset_px) < 3.0


def test_the_head_moves_as_its_translation_says() -> None:
    """10 mm to the right and 6 mm down at 560 mm: so many pixels, measured on the picture."""
    head, black = build_painted_head(2), np.zeros((280, 280, 3), np.uint8)
    R = matrix_from_ypr_300wlp(10.0, 5.0, 0.0)
    # without the shirt, which the picture's edge would cut
    head = replace(head, **without_shirt(head))
    centres_px = [
        centre_of_difference_px(draw_painted_head(black, head, R, t_mm, CAMERA), black)
        for t_mm in (T_MM, T_MM + np.array([10.0, 6.0, 0.0]))
    ]
    # the head's middle is a little behind its origin, so the shift is a little smaller
    expected_px = CAMERA.fx_px * np.array([10.0, 6.0]) / (T_MM[2] + 20.0)
    np.testing.assert_allclose(centres_px[1] - centres_px[0], expected_px, rtol=0.05, atol=0.1)


def without_shirt(head: PaintedHead) -> dict[str, np.ndarray]:
    kept = head.part_of_triangle < head.part_of_triangle.max()
    return {
        "triangles": head.triangles[kept],
        "part_of_triangle": head.part_of_triangle[kept],
    }


def test_the_same_arguments_give_the_same_picture() -> None:
    R = matrix_from_ypr_300wlp(20.0, -10.0, 5.0)
    arguments = (R, T_MM, CAMERA, 4, {"jawOpen": 0.3}, 7)
    first = render_painted_head(*arguments)
    painted_head._face_map.cache_clear()
    painted_head._open_head.cache_clear()
    np.testing.assert_array_equal(render_painted_head(*arguments), first)
    assert first.shape == (280, 280, 3)
    assert first.dtype == np.uint8


def test_seeds_and_expression_change_the_picture() -> None:
    def picture(identity: int, expression: dict[str, float] | None, background: int) -> np.ndarray:
        return render_painted_head(np.eye(3), T_MM, CAMERA, identity, expression, background)

    plain = picture(0, None, 0)
    for other in (picture(1, None, 0), picture(0, {"jawOpen": 0.6}, 0), picture(0, None, 1)):
        assert np.abs(plain.astype(int) - other).max() > 40
    jaw_mm = [
        1000 * build_painted_head(0, expression).landmarks_68_head_m[8, 1]
        for expression in (None, {"jawOpen": 0.6})
    ]
    assert jaw_mm[1] > jaw_mm[0] + 5


def test_drawing_leaves_the_background_alone() -> None:
    background = build_background(SIZE_PX, 3)
    before = background.copy()
    drawn = draw_painted_head(background, build_painted_head(0), np.eye(3), T_MM, CAMERA)
    np.testing.assert_array_equal(background, before)
    np.testing.assert_array_equal(drawn[:40, :40], before[:40, :40])
    assert (drawn != before).any()


@pytest.fixture(scope="module")
def detector() -> MtcnnDetector:
    return MtcnnDetector("cpu", min_face_fraction=1 / 8)


@pytest.mark.parametrize("ypr", POSES)
def test_a_detector_finds_one_face(detector: MtcnnDetector, ypr: tuple[float, ...]) -> None:
    R, identity = matrix_from_ypr_300wlp(*ypr), POSES.index(ypr) % 3
    faces = detector.detect(render_painted_head(R, T_MM, CAMERA, identity, None, identity))
    assert (faces.scores > 0.95).sum() == 1
    head = build_painted_head(identity)
    face_px = bounding_box_xyxy(projected(head, head.landmarks_68_head_m, R, CAMERA))
    assert iou_xyxy(faces.boxes_xyxy_px[:1], face_px[None])[0, 0] > 0.4


@pytest.fixture(scope="module")
def pose_model() -> PoseModel:
    return load_pose_model("trg-mini", "cpu")


@pytest.mark.parametrize("ypr", [*POSES, (15.0, 10.0, -20.0)])
def test_the_pose_network_reads_its_pose(pose_model: PoseModel, ypr: tuple[float, ...]) -> None:
    """Loose bounds: this checks frames, signs and units of the render, not the network."""
    R = matrix_from_ypr_300wlp(*ypr)
    head = build_painted_head(0)
    points = head.landmarks_468_head_m @ R.T + T_MM / 1000
    image_rgb = draw_painted_head(build_background(SIZE_PX, 0), head, R, T_MM, CAMERA)
    ray_box = ray_box_from_points(points[:, :2] / points[:, 2:], 1.5)
    seen = pose_model.predict(image_rgb, CAMERA, ray_box[None])
    assert geodesic_deg(seen.R_cam_from_head[0], R) < 9.0
    np.testing.assert_allclose(1000 * seen.t_cam_from_head_m[0], T_MM, atol=70.0)
    np.testing.assert_allclose(1000 * seen.t_cam_from_head_m[0, :2], T_MM[:2], atol=15.0)
