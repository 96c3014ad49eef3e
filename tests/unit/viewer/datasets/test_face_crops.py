"""Crops of real-layout sets: what is drawn at a label is found where the new label projects."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from models.geometry.rotations import about_z, geodesic_deg
from models.trg.config import TrgConfig
from models.trg.preprocess import cut_crop
from models.weights import T_HEAD_FROM_TRG
from viewer.datasets.arkitface import ArkitFace
from viewer.datasets.arkitface_resources import read_topology
from viewer.datasets.augment import Recrop
from viewer.datasets.face_crops import FaceCrop, crop_face
from viewer.datasets.network_input import NetworkInput
from viewer.datasets.pose_batches import batch_of_face_crops
from viewer.datasets.registry import bundled_root
from viewer.datasets.sample import UnreadablePictureError
from viewer.datasets.scaled_picture import decode_shrunk
from viewer.datasets.three_hundred_w_lp import ThreeHundredWLp
from viewer.datasets.training_faces import ArkitFaces, WeakFaces
from viewer.datasets.weak_perspective import MIRROR_68

Array = np.ndarray

CHOICES = (
    Recrop(),
    Recrop(mirror=True, box_shift=(0.15, -0.1), box_scale=1.05),
    Recrop(roll_deg=30.0, box_shift=(-0.15, 0.15), box_scale=0.95),
    Recrop(roll_deg=-21.0, mirror=True, box_shift=(0.1, 0.1)),
)
LANDMARKS = (8, 30, 36, 45, 54)


@pytest.fixture(scope="module")
def arkit() -> ArkitFaces:
    dataset = ArkitFace(bundled_root("arkitface"))
    return ArkitFaces(dataset, dataset.list_samples().keys)


@pytest.fixture(scope="module")
def weak() -> WeakFaces:
    dataset = ThreeHundredWLp(bundled_root("300w-lp"))
    return WeakFaces(dataset, dataset.list_samples().keys, as_released=True)


def released_target(arkit: ArkitFaces, **changes: object) -> NetworkInput:
    """For a network like the released one on the samples' mesh."""
    flip, topology = arkit.dataset.flip_index(), read_topology(arkit.dataset.files)
    config = replace(TrgConfig.released(), n_vertices=len(flip), **changes)
    return NetworkInput(config, T_HEAD_FROM_TRG, flip, topology.landmark_68_ids)


def dot_at(point_px: Array, size_wh_px: tuple[int, int], sigma_px: float = 4.0) -> Array:
    xs, ys = (np.arange(n) + 0.5 for n in size_wh_px)
    dot = np.exp(-((xs - point_px[0]) ** 2 + (ys[:, None] - point_px[1]) ** 2) / (2 * sigma_px**2))
    return np.repeat(np.rint(dot * 255)[..., None], 3, 2).astype(np.uint8)


def centroid_px(crop_rgb: Array) -> Array:
    weight = crop_rgb[..., 0].astype(float)
    centres = np.arange(len(weight)) + 0.5
    return np.array([weight.sum(0) @ centres, weight.sum(1) @ centres]) / weight.sum()


def px_of_label(crop: FaceCrop, label: Array, config: TrgConfig) -> Array:
    """Where a label, -1 to 1, is in the crop's pixels. Corner-aligned crops, as released, stretch
    191 pixels over the box and read the picture's indices as coordinates: `crop_affine`."""
    side = config.crop_px
    if not config.corner_aligned_crop:
        return (label + 1) / 2 * side
    f_px = np.array([crop.camera.fx_px, crop.camera.fy_px])
    return (label + 1) / 2 * (side - 1) + 0.5 - 0.5 / f_px * (side - 1) / crop.ray_box[2]


@pytest.mark.parametrize("corner_aligned", [False, True])
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_labels_are_where_the_picture_has_them(
    arkit: ArkitFaces, choice: Recrop, corner_aligned: bool
) -> None:
    """A dot at each landmark of the mesh, of a head off the axis, to 0.1 px of the crop: by the
    mesh through R and t, and by the landmark labels."""
    target = released_target(arkit, corner_aligned_crop=corner_aligned)
    face = replace(arkit.face(11), t_cam_from_head_m=np.array([0.1, 0.05, 0.5]))
    ids = target.landmark_68_ids
    in_cam = face.vertices_head_m @ face.R_cam_from_head.T + face.t_cam_from_head_m
    points_px = face.camera.project(in_cam)[ids]
    for number in LANDMARKS:
        drawn = dot_at(points_px[number], face.camera.size_wh_px)
        crop = crop_face(replace(face, picture=drawn), choice, target)
        found = centroid_px(crop.crop_rgb)
        batch = batch_of_face_crops([crop], target)
        R, t, vertices = (
            x[0].double().numpy()
            for x in (batch.R_cam_from_model, batch.t_cam_from_model_m, batch.vertices_model_m)
        )
        assert np.linalg.det(R) == pytest.approx(1.0)
        cam = vertices @ R.T + t
        seen = (cam[:, :2] / cam[:, 2:] - crop.ray_box[:2]) / (crop.ray_box[2] / 2)
        vertex = target.mirror_vertex_ids[ids[number]] if choice.mirror else ids[number]
        error = found - px_of_label(crop, seen[vertex], target.config)
        assert np.linalg.norm(error) < 0.1, (number, error)
        landmark = MIRROR_68[number] if choice.mirror else number
        label = batch.landmarks_68_crop[0, landmark].double().numpy()
        assert label[2] == 1.0
        # a mirrored landmark's vertex need not be its partner's own
        offset = seen[ids[landmark]] - label[:2]
        assert np.abs(offset).max() < 1e-5


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_landmarks_without_a_mesh_stay_on_the_picture(weak: WeakFaces, choice: Recrop) -> None:
    dataset = ArkitFace(bundled_root("arkitface"))
    arkit = ArkitFaces(dataset, dataset.list_samples(1).keys)
    target = released_target(arkit, corner_aligned_crop=False)
    face = weak.face(3)
    size = face.camera.size_wh_px
    for number in LANDMARKS:
        drawn = dot_at(face.landmarks_68_px[number], size, 3.0)
        crop = crop_face(replace(face, picture=drawn), choice, target)
        assert crop.R_cam_from_head is None and crop.vertices_head_m is None
        label = crop.landmarks_68_crop[MIRROR_68[number] if choice.mirror else number]
        error = centroid_px(crop.crop_rgb) - px_of_label(crop, label[:2], target.config)
        assert np.linalg.norm(error) < 0.1, (number, error)


@pytest.mark.parametrize("mirror", [False, True])
def test_an_upright_crop_is_that_of_inference(arkit: ArkitFaces, mirror: bool) -> None:
    """Also mirrored, without TRG's shift by a pixel. The picture is not decoded at a lower size."""
    target, face = released_target(arkit), arkit.face(5)
    image = np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8)
    choice = Recrop(mirror=mirror, box_scale=0.8)
    crop = crop_face(replace(face, picture=image), choice, target)
    flip = np.array([-1.0 if mirror else 1.0, 1.0, 1.0])
    expected = cut_crop(image, face.camera, crop.ray_box * flip, target.config, mirror=mirror)
    difference = crop.crop_rgb.astype(int) - expected
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("corner_aligned", [False, True])
def test_a_picture_decoded_small_gives_the_same_crop(
    arkit: ArkitFaces, corner_aligned: bool
) -> None:
    """Turned and mirrored too; dots of a large JPEG to 0.1 px."""
    target = released_target(arkit, corner_aligned_crop=corner_aligned)
    face = arkit.face(11)
    large = replace(face, camera=face.camera.resized((1600, 1600)))
    in_cam = face.vertices_head_m @ face.R_cam_from_head.T + face.t_cam_from_head_m
    ids = target.landmark_68_ids
    points_px = large.camera.project(in_cam)[ids]
    for number, choice in zip((30, 36, 54), CHOICES[1:], strict=True):
        drawn = dot_at(points_px[number], (1600, 1600), 8.0)
        _, encoded = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 95])
        jpeg = encoded.tobytes()
        assert decode_shrunk(jpeg, 4.5, "dot")[0].shape == (400, 400, 3)
        whole = crop_face(replace(large, picture=drawn), choice, target)
        small = crop_face(replace(large, picture=jpeg), choice, target)
        found = centroid_px(np.where(small.crop_rgb < 8, 0, small.crop_rgb))
        wanted = centroid_px(np.where(whole.crop_rgb < 8, 0, whole.crop_rgb))
        assert np.linalg.norm(found - wanted) < 0.1


def test_what_is_decoded() -> None:
    picture = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (90, 130, 3), np.uint8), (0, 0), 6
    )
    jpeg, png = (cv2.imencode(end, picture[..., ::-1])[1].tobytes() for end in (".jpg", ".png"))
    for most, shrink in ((0.4, 1), (1.9, 1), (2.0, 2), (3.9, 2), (7.0, 4), (50.0, 8)):
        small, got = decode_shrunk(jpeg, most, "jpeg")
        assert got == shrink and small.shape[0] == -(-90 // shrink)
        whole = picture[: 88 // shrink * shrink, : 128 // shrink * shrink].astype(float)
        means = whole.reshape(88 // shrink, shrink, 128 // shrink, shrink, 3).mean((1, 3))
        part = small[: 88 // shrink, : 128 // shrink]
        assert np.abs(part - means).mean() < 4.0, "colours and places are right"
    assert decode_shrunk(png, 8.0, "png")[1] == 1
    for damaged in (b"", b"no picture", jpeg[:40]):
        with pytest.raises(UnreadablePictureError, match="bad"):
            decode_shrunk(damaged, 8.0, "bad")


def test_boxes_of_landmark_sets_are_moved_into_the_picture(
    arkit: ArkitFaces, weak: WeakFaces
) -> None:
    target, face = released_target(arkit), weak.face(0)
    for shift in ((3.0, 3.0), (-3.0, 0.0)):
        choice = Recrop(roll_deg=20.0, box_shift=shift)
        crop = crop_face(face, choice, target, inside=True)
        turn = about_z(-20.0)[:2, :2]
        middle, half = turn @ crop.ray_box[:2], crop.ray_box[2] / 2
        low, high = face.camera.normalise(np.array([[0.0, 0.0], face.camera.size_wh_px]))
        assert (middle - half > low - 1e-9).all() and (middle + half < high + 1e-9).all()
        seen = crop.landmarks_68_crop
        assert (seen[:, 2] == (np.abs(seen[:, :2]) <= 1).all(1)).all()


def test_a_turn_moves_the_translation_too(arkit: ArkitFaces) -> None:
    """TRG left t where it was, which is wrong off the axis."""
    face, target = arkit.face(2), released_target(arkit)
    crop = crop_face(face, Recrop(roll_deg=25.0), target)
    assert geodesic_deg(crop.R_cam_from_head, about_z(25.0) @ face.R_cam_from_head) < 1e-6
    expected = about_z(25.0) @ face.t_cam_from_head_m
    np.testing.assert_allclose(crop.t_cam_from_head_m, expected, atol=1e-12)
