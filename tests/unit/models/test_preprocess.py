"""Crops: what is cut where, and whose camera the network's formulas speak of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.geometry.boxes import crop_affine, ray_box_from_points
from models.geometry.cameras import Camera
from models.geometry.rotations import MIRROR_X, about_z, matrix_from_ypr_300wlp
from models.trg.config import TrgConfig
from models.trg.pose_algebra import (
    correction_from_translation,
    project_into_ray_box,
    project_with_intrinsics,
    ray_boxes_from_box_info,
    translation_from_correction,
)
from models.trg.preprocess import (
    cut_crop,
    mirrored_camera,
    mirrored_ray_box,
    normalise_crops,
    turned_ray_boxes,
    virtual_camera_inputs,
)

CONFIGS = [TrgConfig.released(), TrgConfig.mini()]
IDS = ["released", "mini"]


def camera(fx: float, fy: float, cx: float, cy: float, size: tuple[int, int]) -> Camera:
    return Camera(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), size)


CAMERAS = [
    camera(600, 600, 320, 240, (640, 480)),
    camera(500, 900, 320, 240, (640, 480)),
    camera(600, 600, 100, 400, (640, 480)),
    camera(950, 400, 500, 60, (640, 480)),
]


def head_points(n: int = 40) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.08, 0.08, (n, 3))


def as_tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(x, np.float64)[None])


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
@pytest.mark.parametrize("cam", CAMERAS)
def test_a_pose_in_network_terms_projects_to_the_right_pixels(
    cam: Camera, config: TrgConfig
) -> None:
    """R, t -> correction -> t by the network's formula -> crop pixels -> the picture's pixels."""
    R, t = matrix_from_ypr_300wlp(25.0, -10.0, 15.0), np.array([0.12, -0.06, 0.7])
    points_cam = head_points() @ R.T + t
    ray_box = ray_box_from_points(points_cam[:, :2] / points_cam[:, 2:], 1.5)
    K, box_info = virtual_camera_inputs(ray_box[None], config.crop_px)
    seen_box = ray_boxes_from_box_info(torch.from_numpy(box_info).double())
    assert np.abs(seen_box[0].numpy() - ray_box).max() < 1e-6
    correction = correction_from_translation(as_tensor(t), as_tensor(ray_box), config.box_size_m)
    t_said = translation_from_correction(correction, seen_box, config.box_size_m)[0].numpy()
    assert np.abs(t_said - t).max() < 1e-5
    said_cam = as_tensor(head_points() @ R.T + t_said)
    crop = project_with_intrinsics(
        said_cam, torch.from_numpy(K).double(), config.crop_px, config.min_depth_m
    )
    same = project_into_ray_box(said_cam, seen_box, config.min_depth_m)
    assert torch.allclose(crop, same, atol=1e-5)
    crop_px = (crop[0].numpy() + 1) / 2 * config.crop_px
    affine = crop_affine(cam, ray_box, config.crop_px, corner_aligned=False)
    image_px = (crop_px - 0.5 - affine[:, 2]) / affine[[0, 1], [0, 1]] + 0.5
    assert np.abs(image_px - cam.project(points_cam)).max() < 0.01


def spots(cam: Camera, rays: np.ndarray) -> np.ndarray:
    """A black picture with a soft white spot on each ray, about 8 px wide."""
    y, x = np.mgrid[0 : cam.size_wh_px[1], 0 : cam.size_wh_px[0]] + 0.5
    picture = np.zeros(x.shape)
    for u, v in rays * [cam.fx_px, cam.fy_px] + cam.principal_point_px:
        picture += 255 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 2 / 4.0**2)
    return np.repeat(picture[..., None].clip(0, 255).astype(np.uint8), 3, -1)


def centroid(crop: np.ndarray) -> np.ndarray:
    """Continuous pixel position of the light in a crop."""
    weight = crop[..., 0].astype(float)
    y, x = np.mgrid[0 : crop.shape[0], 0 : crop.shape[1]] + 0.5
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("cam", CAMERAS)
@pytest.mark.parametrize("side", [0.12, 0.3])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_spot_lands_where_the_crop_camera_says(cam: Camera, side: float, mirror: bool) -> None:
    middle = np.array([320, 240])
    ray = (middle - cam.principal_point_px) / [cam.fx_px, cam.fy_px]
    box = np.array([ray[0] - 0.1 * side, ray[1] + 0.15 * side, side])
    seen_ray, seen_box = (ray * [-1, 1], mirrored_ray_box(box)) if mirror else (ray, box)
    expected = ((seen_ray - seen_box[:2]) / side + 0.5) * 192
    crop = cut_crop(spots(cam, ray[None]), cam, box, TrgConfig.mini(), mirror=mirror)
    assert np.abs(centroid(crop) - expected).max() < 0.15
    K, _ = virtual_camera_inputs(seen_box[None], 192)
    assert np.abs(np.array([*seen_ray, 1.0]) @ K[0, :3] - [*expected, 1.0]).max() < 1e-3
    # the released network was trained with 191 / 192 of the scale and half a pixel of shift
    crop = cut_crop(spots(cam, ray[None]), cam, box, TrgConfig.released(), mirror=mirror)
    scale = 192 / (side * np.array([cam.fx_px, cam.fy_px]))
    shifted = (expected - scale / 2) * 191 / 192 + 0.5
    assert np.abs(centroid(crop) - shifted).max() < 0.15


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
@pytest.mark.parametrize("side", [0.1, 0.4, 2.5])
def test_the_mirrored_crop_is_the_crop_of_the_mirrored_picture(
    config: TrgConfig, side: float
) -> None:
    cam = camera(500, 620, 250, 260, (640, 480))
    picture = smooth_noise((480, 640))
    box = np.array([0.11, -0.07, side])
    ours = cut_crop(picture, cam, box, config, mirror=True)
    flipped = np.ascontiguousarray(picture[:, ::-1])
    theirs = cut_crop(flipped, mirrored_camera(cam), mirrored_ray_box(box), config)
    assert np.abs(ours.astype(int) - theirs).max() <= 2


@pytest.mark.parametrize("side", [0.1, 0.4, 2.5])
@pytest.mark.parametrize("mirror", [False, True])
def test_the_turned_crop_is_the_crop_of_the_turned_picture(side: float, mirror: bool) -> None:
    """A quarter turn moves whole pixels; fx and fy change places, (cx, cy) goes along."""
    config = TrgConfig.mini()  # the released one's crops are half a pixel off, which turns too
    cam = camera(500, 620, 250, 260, (640, 480))
    picture = smooth_noise((480, 640))
    box = np.array([0.11, -0.07, side])
    ours = cut_crop(picture, cam, box, config, turn_deg=90.0, mirror=mirror)
    clockwise = np.ascontiguousarray(np.rot90(picture, -1))
    there = camera(620, 500, 480 - 260, 250, (480, 640))
    turned = turned_ray_boxes(box[None], np.array([90.0]))[0]
    assert turned == pytest.approx([0.07, 0.11, side])
    theirs = cut_crop(clockwise, there, turned, config, mirror=mirror)
    assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_a_spot_lands_where_the_turned_camera_says() -> None:
    cam = camera(500, 620, 250, 260, (640, 480))
    ray = (np.array([320, 240]) - cam.principal_point_px) / [cam.fx_px, cam.fy_px]
    side = 0.3
    box = np.array([ray[0] - 0.1 * side, ray[1] + 0.15 * side, side])
    turn = about_z(35.0)[:2, :2]
    seen_box = turned_ray_boxes(box[None], np.array([35.0]))[0]
    expected = ((turn @ ray - seen_box[:2]) / side + 0.5) * 192
    crop = cut_crop(spots(cam, ray[None]), cam, box, TrgConfig.mini(), turn_deg=35.0)
    assert np.abs(centroid(crop) - expected).max() < 0.15


def smooth_noise(size_hw: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[0 : size_hw[0], 0 : size_hw[1]]
    waves = [np.sin(x / a + y / b) for a, b in ((13.0, 31.0), (-22.0, 17.0), (40.0, -11.0))]
    return (np.stack(waves, -1) * 100 + 120).astype(np.uint8)


def test_strong_shrinking_averages() -> None:
    """A one-pixel checkerboard becomes grey, not an alias pattern, and edges stay in place."""
    cam = camera(3000, 3000, 1500, 1500, (3000, 3000))
    y, x = np.mgrid[0:3000, 0:3000]
    board = np.repeat((((x + y) % 2) * 255).astype(np.uint8)[..., None], 3, -1)
    crop = cut_crop(board, cam, np.array([0.0, 0.0, 0.9]), TrgConfig.mini())
    assert np.abs(crop.astype(int) - 127).max() <= 3
    edge = np.zeros((3000, 3000, 3), np.uint8)
    edge[:, 1703:] = 255
    crop = cut_crop(edge, cam, np.array([0.0, 0.0, 0.9]), TrgConfig.mini())
    white = crop[96, :, 0].astype(float).sum() / 255
    assert abs((192 - white) - (1703 - 150) * 192 / 2700) < 0.05


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_way_of_shrinking_does_not_shift(scale: float) -> None:
    """The same scene photographed at three resolutions gives the same crop."""
    w, h = int(640 * scale), int(480 * scale)
    cam = camera(600 * scale, 600 * scale, w / 2, h / 2, (w, h))
    y, x = (np.mgrid[0:h, 0:w] + 0.5) / scale
    scene = 120 + 60 * np.sin(x / 25) + 50 * np.cos(y / 30)
    crop = cut_crop(
        np.repeat(scene[..., None], 3, -1).astype(np.uint8),
        cam,
        np.array([0.02, -0.03, 0.5]),
        TrgConfig.mini(),
    )
    u = (np.arange(192) + 0.5) / 192 - 0.5
    crop_x, crop_y = 320 + 600 * (0.02 + 0.5 * u), 240 + 600 * (-0.03 + 0.5 * u)
    expected = 120 + 60 * np.sin(crop_x / 25)[None] + 50 * np.cos(crop_y / 30)[:, None]
    assert np.abs(crop[..., 0] - expected)[2:-2, 2:-2].max() < 3


@pytest.mark.parametrize("side", [0.02, 0.3, 5.0])
def test_outside_the_picture_is_black(side: float) -> None:
    cam = camera(600, 600, 320, 240, (640, 480))
    white = np.full((480, 640, 3), 255, np.uint8)
    assert cut_crop(white, cam, np.array([9.0, 0.0, side]), TrgConfig.mini()).max() == 0
    at_corner = cut_crop(white, cam, np.array([-320 / 600, -0.4, side]), TrgConfig.mini())
    assert at_corner[:80, :80].max() == 0
    if side < 0.8:
        assert at_corner[112:, 112:].min() == 255


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (40_000, 2)])
def test_odd_pictures_give_a_crop(size: tuple[int, int]) -> None:
    w, h = size
    cam = camera(1000, 1000, w / 2, h / 2, size)
    white = np.full((h, w, 3), 255, np.uint8)
    for side in (1e-4, 0.3, 50.0):
        crop = cut_crop(white, cam, np.array([0.0, 0.0, side]), TrgConfig.mini())
        assert crop.shape == (192, 192, 3)


@pytest.mark.parametrize("box", [[0, 0, 0.0], [0, 0, -1], [np.nan, 0, 1], [0, np.inf, 1]])
def test_a_box_that_is_none_is_refused(box: list[float]) -> None:
    with pytest.raises(ValueError, match="finite centre and a positive side"):
        cut_crop(np.zeros((4, 4, 3), np.uint8), CAMERAS[0], np.array(box, float), CONFIGS[0])


def test_normalisation() -> None:
    crops = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 1, 1, 3).expand(2, 192, 192, 3)
    plain = normalise_crops(crops, TrgConfig.mini())
    assert plain.shape == (2, 3, 192, 192)
    assert torch.allclose(plain[0, :, 5, 5], torch.tensor([0, 128 / 255, 1.0]))
    imagenet = normalise_crops(crops, TrgConfig.released())[1, :, 7, 0]
    expected = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert torch.allclose(imagenet, torch.tensor(expected), atol=1e-5)


def test_mirroring_a_camera_mirrors_what_it_sees() -> None:
    cam = camera(500, 620, 250, 260, (640, 480))
    point = np.array([0.1, 0.2, 1.5])
    u, v = cam.project(point)
    assert np.allclose(mirrored_camera(cam).project(MIRROR_X @ point), [640 - u, v])
