"""Laws of models/geometry/boxes.py: IoU, ray boxes, and the crop warp measured on real pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.geometry import boxes
from models.geometry.cameras import Camera, camera_from_intrinsics

CAMERA = camera_from_intrinsics((640, 480), fx_px=500.0, fy_px=730.0, cx_px=250.0, cy_px=290.0)
"""fx != fy and an off-centre principal point: what a crop must not stumble over."""

CORNERS = hnp.arrays(np.float64, 4, elements=st.floats(-50, 50))


def ordered(values: np.ndarray) -> np.ndarray:
    low, high = np.minimum(values[:2], values[2:]), np.maximum(values[:2], values[2:])
    return np.concatenate([low, high])


# ---- intersection over union


def test_iou_of_known_boxes() -> None:
    a = np.array([[0, 0, 2, 2], [0, 0, 4, 4.0]])
    b = np.array([[1, 1, 3, 3], [0, 0, 2, 2], [10, 10, 11, 11.0]])
    np.testing.assert_allclose(boxes.iou_xyxy(a, b), [[1 / 7, 1, 0], [4 / 16, 4 / 16, 0]])


@given(a=CORNERS.map(ordered), b=CORNERS.map(ordered), shift=st.floats(-20, 20))
def test_iou_laws(a: np.ndarray, b: np.ndarray, shift: float) -> None:
    iou = boxes.iou_xyxy(a[None], b[None])[0, 0]
    assert 0.0 <= iou <= 1.0
    assert boxes.iou_xyxy(b[None], a[None])[0, 0] == iou
    assume(min((a[2:] - a[:2]).min(), (b[2:] - b[:2]).min()) > 0.1)
    assert boxes.iou_xyxy(a[None], a[None])[0, 0] == 1.0
    moved = boxes.iou_xyxy(a[None] + shift, b[None] + shift)[0, 0]
    assert moved == pytest.approx(iou, abs=1e-9)


@given(a=hnp.arrays(np.float64, (3, 4), elements=st.integers(0, 30)))
def test_iou_counts_pixels(a: np.ndarray) -> None:
    """Boxes on whole pixels: counting covered pixels gives the same number."""
    a = np.stack([ordered(row) for row in a])
    masks = np.zeros((3, 32, 32), bool)
    for mask, (left, top, right, bottom) in zip(masks, a.astype(int), strict=True):
        mask[top:bottom, left:right] = True
    both = (masks[:, None] & masks[None]).sum((-1, -2))
    either = (masks[:, None] | masks[None]).sum((-1, -2))
    expected = np.divide(both, either, out=np.zeros((3, 3)), where=either > 0)
    np.testing.assert_allclose(boxes.iou_xyxy(a, a), expected)


def test_iou_of_no_boxes() -> None:
    assert boxes.iou_xyxy(np.zeros((0, 4)), np.zeros((3, 4))).shape == (0, 3)
    assert boxes.iou_xyxy(np.zeros((1, 4)), np.zeros((1, 4)))[0, 0] == 0.0


# ---- ray boxes


@given(points=hnp.arrays(np.float64, (5, 2), elements=st.floats(-1, 1)), scale=st.floats(0.5, 3))
def test_ray_box_holds_the_points(points: np.ndarray, scale: float) -> None:
    cx, cy, side = boxes.ray_box_from_points(points, scale)
    box = boxes.bounding_box_xyxy(points)
    np.testing.assert_allclose((cx, cy), (box[:2] + box[2:]) / 2)
    assert side == pytest.approx(scale * max(box[2] - box[0], box[3] - box[1]))


def test_pixel_box_round_trip() -> None:
    """A box whose sides are as fx to fy is a square of rays, and comes back as it was."""
    box_xyxy_px = np.array([100.0, 50.0, 100.0 + 150.0, 50.0 + 219.0])
    ray_box = boxes.ray_box_from_xyxy(CAMERA, box_xyxy_px)
    np.testing.assert_allclose(ray_box[2], 0.3)
    np.testing.assert_allclose(boxes.xyxy_from_ray_box(CAMERA, ray_box), box_xyxy_px)


# ---- the crop


def picture_with_a_dot(camera: Camera, point_px: np.ndarray) -> np.ndarray:
    """A grey picture with a blurred dot whose centre of mass is at `point_px` (continuous)."""
    width, height = camera.size_wh_px
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    # wide enough that bilinear sampling does not move the centre of mass by more than 0.01 px
    dot = np.exp(-(((x - point_px[0]) ** 2)[None] + ((y - point_px[1]) ** 2)[:, None]) / 50.0)
    return dot.astype(np.float32)


def centre_of_mass_px(picture: np.ndarray) -> np.ndarray:
    """Continuous pixel coordinates: centres at + 0.5."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    return np.array([(picture * x).sum(), (picture * y).sum()]) / picture.sum()


@pytest.mark.parametrize("crop_px", [192, 256, 64])
@pytest.mark.parametrize(
    ("point_cam_m", "ray_box"),
    [
        ((0.05, -0.10, 1.0), (0.0, -0.1, 0.40)),
        ((0.20, 0.02, 0.8), (0.3, 0.0, 0.35)),
        ((-0.21, -0.25, 1.1), (-0.15, -0.2, 0.50)),
    ],
)
def test_warped_dot_lands_where_the_ray_says(
    point_cam_m: tuple[float, ...], ray_box: tuple[float, ...], crop_px: int
) -> None:
    """Project a point, warp the picture, measure the dot: the crop is a camera of its own."""
    point, box = np.array(point_cam_m), np.array(ray_box)
    picture = picture_with_a_dot(CAMERA, CAMERA.project(point))
    affine = boxes.crop_affine(CAMERA, box, crop_px, corner_aligned=False)
    crop = cv2.warpAffine(picture, affine, (crop_px, crop_px), flags=cv2.INTER_LINEAR)
    expected_px = ((point[:2] / point[2] - box[:2]) / box[2] + 0.5) * crop_px
    np.testing.assert_allclose(centre_of_mass_px(crop), expected_px, atol=0.02)


@given(
    cx=st.floats(-0.4, 0.4),
    cy=st.floats(-0.4, 0.4),
    side=st.floats(0.02, 1.0),
    crop_px=st.integers(8, 512),
)
def test_exact_crop_puts_edges_on_edges(cx: float, cy: float, side: float, crop_px: int) -> None:
    box = np.array([cx, cy, side])
    affine = boxes.crop_affine(CAMERA, box, crop_px, corner_aligned=False)
    left, top, right, bottom = boxes.xyxy_from_ray_box(CAMERA, box)
    edges_px = np.array([[left, top], [right, bottom]])
    # the half pixel: OpenCV's index of a continuous coordinate is that minus 0.5, on both sides
    mapped_px = (edges_px - 0.5) @ affine[:, :2].T + affine[:, 2] + 0.5
    np.testing.assert_allclose(mapped_px, [[0, 0], [crop_px, crop_px]], atol=1e-6)


@given(cx=st.floats(-0.4, 0.4), cy=st.floats(-0.4, 0.4), side=st.floats(0.02, 1.0))
def test_corner_aligned_crop_is_the_released_networks(cx: float, cy: float, side: float) -> None:
    """The affine that cv2 makes of (L,T), (L,B), (R,T) -> (0,0), (0,s-1), (s-1,0)."""
    box, crop_px = np.array([cx, cy, side]), 192
    left, top, right, bottom = boxes.xyxy_from_ray_box(CAMERA, box)
    source = np.float32([[left, top], [left, bottom], [right, top]])
    target = np.float32([[0, 0], [0, crop_px - 1], [crop_px - 1, 0]])
    expected = cv2.getAffineTransform(source, target)
    affine = boxes.crop_affine(CAMERA, box, crop_px, corner_aligned=True)
    corners = np.float64([[left, top, 1], [right, bottom, 1]])
    np.testing.assert_allclose(corners @ affine.T, corners @ expected.T, atol=0.01)


def test_crop_of_whole_picture_is_the_picture() -> None:
    camera = camera_from_intrinsics((96, 96), 90.0, 90.0, 40.0, 55.0)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)
    box = boxes.ray_box_from_xyxy(camera, np.array([0.0, 0.0, 96.0, 96.0]))
    affine = boxes.crop_affine(camera, box, 96, corner_aligned=False)
    np.testing.assert_allclose(affine, [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    np.testing.assert_array_equal(cv2.warpAffine(picture, affine, (96, 96)), picture)
