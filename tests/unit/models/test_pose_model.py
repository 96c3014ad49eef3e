"""PoseModel.predict with the shipped trg-mini: frames, cameras, mirror, batches."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.geometry.boxes import ray_box_from_xyxy
from models.geometry.cameras import Camera
from models.geometry.rotations import MIRROR_X, about_z, geodesic_deg
from models.trg import pose_model
from models.trg.pose_model import PoseModel
from models.trg.preprocess import mirrored_camera, mirrored_ray_box
from models.weights import MODELS, load_pose_model

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "trg_mini_drawn_heads.npz"
T_HEAD_FROM_MODEL = MODELS["trg-mini"].T_head_from_model


@pytest.fixture(scope="module")
def model() -> PoseModel:
    return load_pose_model("trg-mini", device="cpu")


@pytest.fixture(scope="module")
def heads() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


def camera_of_crop(ray_box: np.ndarray, size_px: int = 192) -> Camera:
    """The camera whose whole picture is the crop of a ray box."""
    f = size_px / ray_box[2]
    K = np.array([[f, 0, size_px / 2 - f * ray_box[0]], [0, f, size_px / 2 - f * ray_box[1]]])
    return Camera(np.vstack([K, [0, 0, 1]]), (size_px, size_px))


@pytest.mark.parametrize("i", range(3))
def test_a_crop_as_picture_gives_the_pose_of_the_crop(
    model: PoseModel, heads: dict[str, np.ndarray], i: int
) -> None:
    box = heads["ray_boxes"][i]
    found = model.predict(heads["crops_rgb"][i], camera_of_crop(box), box[None])
    R_cam_from_model = found.R_cam_from_head[0] @ T_HEAD_FROM_MODEL[:3, :3]
    t_cam_from_model = found.t_cam_from_head_m[0] + (
        found.R_cam_from_head[0] @ T_HEAD_FROM_MODEL[:3, 3]
    )
    assert geodesic_deg(R_cam_from_model, heads["R"][i]) < 0.05
    assert np.abs(t_cam_from_model - heads["t"][i]).max() < 0.5e-3
    cam = found.vertices_cam_m()[0]
    rays = box[:2] + heads["uv"][i] * box[2] / 2
    assert np.abs(cam[:, :2] / cam[:, 2:] - rays).max() * 192 / box[2] < 0.1, "0.1 px of 192"
    assert found.iterates_R.shape == (3, 1, 3, 3)
    assert np.array_equal(found.iterates_R[-1], found.R_cam_from_head)
    first_step_deg = geodesic_deg(found.iterates_R[0, 0], found.R_cam_from_head[0])
    assert first_step_deg < 20, "3, 8 and 15 deg; a mixed-up order would be tens of degrees"


@pytest.mark.parametrize(
    ("stretch_x", "stretch_y", "left", "top"),
    [(2.0, 2.0, 0, 0), (2.0, 3.0, 0, 0), (3.5, 2.0, 150, 0), (2.0, 2.0, 300, 170), (6, 9, 20, 0)],
)
def test_the_pose_does_not_depend_on_the_pixels_of_the_camera(
    model: PoseModel,
    heads: dict[str, np.ndarray],
    stretch_x: float,
    stretch_y: float,
    left: int,
    top: int,
) -> None:
    """fx != fy, an off-centre principal point, a large picture: the same head, the same pose."""
    i = 1
    crop, box = heads["crops_rgb"][i], heads["ray_boxes"][i]
    plain = camera_of_crop(box)
    w, h = round(192 * stretch_x), round(192 * stretch_y)
    picture = np.zeros((h + top, w + left, 3), np.uint8)
    picture[top:, left:] = cv2.resize(crop, (w, h), interpolation=cv2.INTER_CUBIC)
    K = np.diag([stretch_x, stretch_y, 1.0]) @ plain.K_image_from_cam
    K[:2, 2] += left, top
    camera = Camera(K, (w + left, h + top))
    found = model.predict(picture, camera, box[None])
    expected = model.predict(crop, plain, box[None])
    assert geodesic_deg(found.R_cam_from_head[0], expected.R_cam_from_head[0]) < 0.6
    assert np.abs(found.t_cam_from_head_m - expected.t_cam_from_head_m).max() < 4e-3
    projected = camera.project(found.vertices_cam_m()[0]) - [left, top]
    plainly = plain.project(expected.vertices_cam_m()[0]) * [stretch_x, stretch_y]
    assert np.abs((projected - plainly) / [stretch_x, stretch_y]).max() < 1.0


def test_mirror_is_the_pose_in_the_mirrored_picture_mirrored_back(
    model: PoseModel, heads: dict[str, np.ndarray]
) -> None:
    crop, box = heads["crops_rgb"][2], heads["ray_boxes"][2]
    camera = camera_of_crop(box)
    both = model.predict(crop, camera, np.stack([box, box]), mirror=np.array([False, True]))
    flipped = np.ascontiguousarray(crop[:, ::-1])
    there = model.predict(flipped, mirrored_camera(camera), mirrored_ray_box(box)[None])
    assert np.allclose(both.R_cam_from_head[1], MIRROR_X @ there.R_cam_from_head[0] @ MIRROR_X)
    assert np.allclose(both.iterates_R[0, 1], MIRROR_X @ there.iterates_R[0, 0] @ MIRROR_X)
    assert np.allclose(both.t_cam_from_head_m[1], MIRROR_X @ there.t_cam_from_head_m[0])
    turned = there.vertices_head_m[0] @ MIRROR_X
    ids = model.mesh.mirror_vertex_ids
    assert np.allclose(both.vertices_head_m[1], turned[ids], atol=1e-6)
    # the two answers are about one head, vertex by vertex
    assert geodesic_deg(both.R_cam_from_head[0], both.R_cam_from_head[1]) < 8
    apart = np.linalg.norm(both.vertices_head_m[0] - both.vertices_head_m[1], axis=-1)
    assert apart.mean() < 4e-3
    whole = model.predict(crop, camera, box[None], mirror=True)
    assert np.allclose(whole.R_cam_from_head[0], both.R_cam_from_head[1], atol=1e-5)


def test_turn_is_the_pose_in_the_turned_picture_turned_back(
    model: PoseModel, heads: dict[str, np.ndarray]
) -> None:
    crop, box = heads["crops_rgb"][2], heads["ray_boxes"][2]
    camera = camera_of_crop(box)
    both = model.predict(crop, camera, np.stack([box, box]), turn_deg=np.array([0.0, 90.0]))
    K = camera.K_image_from_cam
    size = camera.size_wh_px[1]
    there_K = np.array([[K[1, 1], 0, size - K[1, 2]], [0, K[0, 0], K[0, 2]], [0, 0, 1]])
    clockwise = np.ascontiguousarray(np.rot90(crop, -1))
    there_box = np.array([[-box[1], box[0], box[2]]])
    there = model.predict(clockwise, Camera(there_K, camera.size_wh_px, "turned"), there_box)
    back = about_z(-90.0)
    assert np.allclose(both.R_cam_from_head[1], back @ there.R_cam_from_head[0], atol=1e-4)
    assert np.allclose(both.t_cam_from_head_m[1], back @ there.t_cam_from_head_m[0], atol=1e-4)
    assert np.allclose(both.vertices_head_m[1], there.vertices_head_m[0], atol=1e-4)
    covariance = back @ there.rotation_covariance_cam[0] @ back.T
    assert np.allclose(both.rotation_covariance_cam[1], covariance, rtol=1e-2)
    assert np.allclose(both.t_sigma_m[1], there.t_sigma_m[0][[1, 0, 2]], rtol=1e-2)


def test_many_boxes_are_those_boxes_one_by_one(
    model: PoseModel, heads: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = heads["ray_boxes"][0]
    camera = camera_of_crop(box)
    boxes = box * np.array([[1, 1, 1], [1, 1, 0.9], [1, 1, 1.15], [1.1, 1, 1], [1, 0.9, 1]])
    mirror = np.array([False, True, False, True, False])
    picture = heads["crops_rgb"][0]
    together = model.predict(picture, camera, boxes, mirror)
    monkeypatch.setattr(pose_model, "MAX_BATCH", 2)
    in_parts = model.predict(picture, camera, boxes, mirror)
    for i in range(5):
        alone = model.predict(picture, camera, boxes[i : i + 1], bool(mirror[i]))
        for other in (together, in_parts):
            assert np.allclose(other.R_cam_from_head[i], alone.R_cam_from_head[0], atol=1e-4)
            assert np.allclose(other.vertices_head_m[i], alone.vertices_head_m[0], atol=1e-4)
            assert np.allclose(other.t_cam_from_head_m[i], alone.t_cam_from_head_m[0], atol=1e-4)


def test_no_box_is_no_pose(model: PoseModel, heads: dict[str, np.ndarray]) -> None:
    camera = camera_of_crop(heads["ray_boxes"][0])
    found = model.predict(heads["crops_rgb"][0], camera, np.zeros((0, 3)))
    assert len(found) == 0
    assert found.iterates_R.shape == (3, 0, 3, 3)
    assert found.vertices_head_m.shape == found.vertices_cam_m().shape == (0, 468, 3)


def test_the_camera_must_be_the_pictures(model: PoseModel, heads: dict[str, np.ndarray]) -> None:
    camera = camera_of_crop(heads["ray_boxes"][0], size_px=200)
    with pytest.raises(ValueError, match="camera is for"):
        model.predict(heads["crops_rgb"][0], camera, heads["ray_boxes"][:1])


def test_the_next_box_is_one_and_a_half_times_the_mesh(
    model: PoseModel, heads: dict[str, np.ndarray]
) -> None:
    box = heads["ray_boxes"][0]
    camera = camera_of_crop(box)
    cam = model.predict(heads["crops_rgb"][0], camera, box[None]).vertices_cam_m()[0]
    pixels = camera.project(cam)
    expected = ray_box_from_xyxy(camera, np.concatenate([pixels.min(0), pixels.max(0)]), 1.5)
    assert np.allclose(model.ray_box_of(cam), expected)
    assert abs(model.ray_box_of(cam)[2] / box[2] - 1) < 0.15, "the drawn crops were made so"


def test_a_real_photo_looks_where_it_looks(model: PoseModel, shared_data: Path) -> None:
    """NASA's astronaut faces the camera at an angle, upright, about a metre away."""
    image = cv2.imread(str(shared_data / "samples" / "faces" / "astronaut.png"))[..., ::-1]
    image = np.ascontiguousarray(image)
    K = np.array([[443.4, 0, 256.0], [0, 443.4, 256], [0, 0, 1]])
    camera = Camera(K, (512, 512))
    box = ray_box_from_xyxy(camera, np.array([170.0, 60, 275, 190]), 1.4)
    for _ in range(2):
        found = model.predict(image, camera, box[None])
        box = model.ray_box_of(found.vertices_cam_m()[0])
    nose = camera.project(found.vertices_cam_m()[0, model.landmark_68_ids[30]])
    assert np.linalg.norm(nose - [224, 136]) < 12
    assert geodesic_deg(found.R_cam_from_head[0], np.eye(3)) < 30
    assert 0.5 < found.t_cam_from_head_m[0, 2] < 1.5


def test_bfloat16_needs_cuda(model: PoseModel) -> None:
    with pytest.raises(ValueError, match="CUDA"):
        load_pose_model("trg-mini", device="cpu", bf16=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("bf16", [False, True])
def test_cuda_agrees_with_the_cpu(
    model: PoseModel, heads: dict[str, np.ndarray], bf16: bool
) -> None:
    on_cuda = load_pose_model("trg-mini", device="cuda", bf16=bf16)
    box = heads["ray_boxes"][1]
    arguments = (heads["crops_rgb"][1], camera_of_crop(box), box[None])
    a, b = model.predict(*arguments), on_cuda.predict(*arguments)
    assert geodesic_deg(a.R_cam_from_head[0], b.R_cam_from_head[0]) < (1.0 if bf16 else 0.1)
