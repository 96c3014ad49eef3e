"""Pictures and labels stay together: what is drawn at a landmark is found where its label says."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from models.geometry.boxes import ray_box_from_points
from models.geometry.rotations import about_z, geodesic_deg
from models.trg.preprocess import cut_crop
from viewer.datasets.augment import Recrop, draw_recrop, warped_crop
from viewer.datasets.augment_config import AugmentConfig
from viewer.datasets.face_crops import crop_face
from viewer.datasets.training_faces import TrainingFace

LANDMARKS = (4, 33, 152, 234, 263, 454)  # nose tip, outer eye corners, chin, cheeks


def _posed(head, image_rgb=None):
    return TrainingFace(
        "head",
        head.image_rgb if image_rgb is None else image_rgb,
        head.camera,
        head.is_face,
        head.R_cam_from_head if head.is_face else None,
        head.t_cam_from_head_mm / 1000 if head.is_face else None,
        head.landmarks_468_head_m if head.is_face else None,
    )


def _with_dot(head, landmark):
    x, y = head.landmarks_468_px()[landmark]
    centres = np.arange(256) + 0.5
    dot = np.exp(-((centres - x) ** 2 + (centres[:, None] - y) ** 2) / (2 * 2.0**2))
    return _posed(head, np.repeat((dot * 250)[..., None], 3, 2).astype(np.uint8))


def _centroid_px(crop_rgb):
    weight = crop_rgb[..., 0].astype(float)
    centres = np.arange(weight.shape[1]) + 0.5
    return np.array([(weight.sum(0) * centres).sum(), (weight.sum(1) * centres).sum()]) / (
        weight.sum()
    )


def _labelled_px(crop):
    points = crop.vertices_head_m @ crop.R_cam_from_head.T + crop.t_cam_from_head_m
    normalised = points[:, :2] / points[:, 2:]
    return ((normalised - crop.ray_box[:2]) / crop.ray_box[2] + 0.5) * len(crop.crop_rgb)


@pytest.mark.parametrize(
    "choice",
    [
        Recrop(),
        Recrop(mirror=True, box_shift=(0.1, -0.05)),
        Recrop(roll_deg=25.0, box_scale=1.1, box_shift=(0.05, 0.08)),
        Recrop(roll_deg=-130.0, mirror=True, box_scale=0.9),
        Recrop(roll_deg=60.0, mirror=True, border="replicate"),
        Recrop(roll_deg=10.0, box_scale=1.7, border="reflect"),
    ],
    ids=str,
)
def test_a_dot_at_a_landmark_is_where_the_new_label_projects(make_head, target, choice):
    head = make_head(0)
    for landmark in LANDMARKS:
        crop = crop_face(_with_dot(head, landmark), choice, target)
        label = target.mirror_vertex_ids[landmark] if choice.mirror else landmark
        error_px = _centroid_px(crop.crop_rgb) - _labelled_px(crop)[label]
        assert np.linalg.norm(error_px) < 0.3


@pytest.mark.parametrize("box_scale", [0.8, 1.0, 1.25])
def test_an_upright_warp_is_the_crop_of_inference(make_head, target, box_scale):
    head = make_head(1)
    picture, choice = _posed(head), Recrop(box_scale=box_scale)
    crop = crop_face(picture, choice, target)
    expected = cut_crop(head.image_rgb, head.camera, crop.ray_box, target.config)
    np.testing.assert_array_equal(crop.crop_rgb, expected)
    warped = warped_crop(
        head.image_rgb, head.camera, np.eye(2), crop.ray_box, target.config, choice
    )
    np.testing.assert_array_equal(warped, expected)


def test_a_picture_much_larger_than_its_crop_is_averaged_down(make_head, target):
    large = make_head(2, side_px=1024)
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    crop = crop_face(_posed(large, noise), Recrop(roll_deg=0.001), target)
    upright = crop_face(_posed(large, noise), Recrop(), target)
    assert crop.crop_rgb[60:130, 60:130].std() < 1.2 * upright.crop_rgb[60:130, 60:130].std() < 60


def test_roll_turns_the_pose_about_the_optical_axis(make_head, target):
    head = make_head(3)
    crop = crop_face(_posed(head), Recrop(roll_deg=30.0), target)
    expected = about_z(30.0) @ head.R_cam_from_head
    assert geodesic_deg(crop.R_cam_from_head, expected) < 1e-6
    np.testing.assert_allclose(crop.t_cam_from_head_m[2], head.t_cam_from_head_mm[2] / 1000)


def test_mirroring_twice_changes_nothing(make_head, target):
    head = make_head(5)
    once = crop_face(_posed(head), Recrop(mirror=True), target)
    assert np.linalg.det(once.R_cam_from_head) == pytest.approx(1.0)
    mirrored = replace(
        _posed(head),
        R_cam_from_head=once.R_cam_from_head,
        t_cam_from_head_m=once.t_cam_from_head_m,
        vertices_head_m=once.vertices_head_m,
    )
    twice = crop_face(mirrored, Recrop(mirror=True), target)
    np.testing.assert_allclose(twice.R_cam_from_head, head.R_cam_from_head, atol=1e-12)
    np.testing.assert_allclose(1000 * twice.t_cam_from_head_m, head.t_cam_from_head_mm, atol=1e-9)
    np.testing.assert_allclose(twice.vertices_head_m, head.landmarks_468_head_m, atol=1e-12)


def test_the_nominal_box_is_the_one_of_inference(make_head, target):
    head = make_head(7)
    crop = crop_face(_posed(head), Recrop(), target)
    points = head.camera.normalise(head.landmarks_468_px())
    np.testing.assert_allclose(crop.ray_box, ray_box_from_points(points, 1.5), atol=1e-9)


def test_borders_are_filled_as_chosen(make_head, target):
    head = make_head(8)
    white = _posed(head, np.full((256, 256, 3), 255, np.uint8))
    far = {"roll_deg": 45.0, "box_scale": 2.5}

    def corner(border):
        choice = Recrop(**far, border=border, border_rgb=(10, 20, 30))
        return crop_face(white, choice, target).crop_rgb[0, 0].tolist()

    assert corner("reflect") == corner("replicate") == [255, 255, 255]
    assert corner("colour") == [10, 20, 30]


def test_a_black_border_stays_black_whatever_the_colour_says(make_head, target):
    white = _posed(make_head(8), np.full((256, 256, 3), 255, np.uint8))
    choice = Recrop(roll_deg=45.0, box_scale=2.5, border_rgb=(10, 20, 30))
    crop = crop_face(white, choice, target)
    assert crop.crop_rgb[0, 0].tolist() == [0, 0, 0]


def test_negatives_get_boxes_on_the_picture_and_finite_labels(make_head, target):
    rng, config = np.random.default_rng(0), AugmentConfig()
    negative = _posed(make_head(1, is_face=False))
    sides = []
    for _ in range(40):
        choice = draw_recrop(rng, config, is_face=False)
        crop = crop_face(negative, choice, target)
        assert not crop.is_face
        assert crop.R_cam_from_head is crop.vertices_head_m is None
        assert (crop.crop_rgb.max(-1) > 0).mean() > 0.1
        sides.append(crop.ray_box[2])
    assert max(sides) > 2 * min(sides)


def test_the_draws_have_the_stated_distribution():
    config = AugmentConfig()
    rng = np.random.default_rng(0)
    choices = [draw_recrop(rng, config, is_face=True) for _ in range(6000)]
    roll = np.abs([choice.roll_deg for choice in choices])
    # 17 % any angle: 2/3 beyond 60; 17 % within 60: half beyond 30; 66 % normal: 1.24 %.
    assert np.mean(roll > 60) == pytest.approx(0.17 * 2 / 3, abs=0.015)
    assert np.mean(roll > 30) == pytest.approx(0.17 * 5 / 6 + 0.17 / 2 + 0.66 * 0.0124, abs=0.02)
    assert np.mean([choice.mirror for choice in choices]) == pytest.approx(0.5, abs=0.02)
    shift = np.abs([choice.box_shift for choice in choices]).max(1)
    assert np.mean(shift > config.box_shift_limit) == pytest.approx(
        0.05 * (1 - (0.16 / 0.3) ** 2), abs=0.01
    )
    scale = np.array([choice.box_scale for choice in choices])
    assert 0.6 <= scale.min() < 0.7 < 1.4 < scale.max() <= 1.7
    borders = [choice.border for choice in choices]
    assert borders.count("black") / 6000 == pytest.approx(0.45, abs=0.02)


def test_the_dots_survive_a_turn_by_opencv(make_head, target):
    """A quarter turn is a transposition: nothing is resampled, so the pictures are equal."""
    head = make_head(9)
    image = cv2.GaussianBlur(head.image_rgb, (0, 0), 2)
    plain = crop_face(_posed(head, image), Recrop(), target)
    turned = crop_face(_posed(head, image), Recrop(roll_deg=90.0), target)
    difference = cv2.rotate(plain.crop_rgb, cv2.ROTATE_90_CLOCKWISE).astype(int) - turned.crop_rgb
    assert np.abs(difference[8:-8, 8:-8]).max() <= 2
