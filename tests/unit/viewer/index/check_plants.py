"""Errors to plant into the clean sets, and where each must be found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from models.geometry.cameras import camera_from_intrinsics
from models.geometry.rotations import MIRROR_X, about_y
from tests.unit.viewer.index.check_sets import FakeDataset, paint
from viewer.datasets.source import DatasetError

Array = np.ndarray
Plant = Callable[[FakeDataset], FakeDataset]

FRAME, NEXT, OTHER_PERSON = "01/frame_00006", "01/frame_00007", "02/frame_00005"
PHOTO, TWIN = "AFW/AFW_1_1_1", "AFW_Flip/AFW_1_1_1"
FIT = "STIRLING/2"


def scaled(dataset: FakeDataset) -> FakeDataset:
    R = dataset.details[FRAME].sample.R_cam_from_head
    return dataset.with_detail(FRAME, sample__R_cam_from_head=R * 1.01)


def handed(dataset: FakeDataset) -> FakeDataset:
    """The file has a mirror, and the reader gives the nearest rotation."""
    R = MIRROR_X @ dataset.details[FRAME].sample.R_cam_from_head
    text = "\n".join(" ".join(f"{x:.8f}" for x in row) for row in R)
    return dataset.with_detail(FRAME, raw={"pose.txt: R": text})


def yaw_flipped(dataset: FakeDataset) -> FakeDataset:
    R = dataset.details[FRAME].sample.R_cam_from_head
    return dataset.with_detail(FRAME, sample__R_cam_from_head=MIRROR_X @ R @ MIRROR_X)


def landmarks_of_another(dataset: FakeDataset) -> FakeDataset:
    points = dataset.details[FRAME].sample.landmarks_68_px
    return dataset.with_detail(FRAME, sample__landmarks_68_px=points + np.array([7.0, -3.0]))


def other_translation(dataset: FakeDataset) -> FakeDataset:
    """Of a mesh that is given in the frame of the head."""
    detail = dataset.details[FRAME]
    R, t_mm = detail.sample.R_cam_from_head, detail.sample.t_cam_from_head_mm
    mesh = detail.meshes[0]
    in_head = replace(mesh, frame="head", vertices_m=(mesh.vertices_m - t_mm / 1000) @ R)
    points = (detail.landmarks_68_m - t_mm / 1000) @ R
    off = dataset.with_detail(FRAME, meshes=(in_head,), landmarks_68_m=points)
    return off.with_detail(FRAME, sample__t_cam_from_head_mm=t_mm + np.array([25.0, 0, 0]))


def other_focal_length(dataset: FakeDataset) -> FakeDataset:
    camera = camera_from_intrinsics((320, 240), 345.0, 345.0, 160.0, 120.0)
    return dataset.with_detail(FRAME, sample__camera=camera)


def box_elsewhere(dataset: FakeDataset) -> FakeDataset:
    return dataset.with_detail(FRAME, sample__box_xyxy_px=np.array([5.0, 150.0, 70.0, 230.0]))


def turned(dataset: FakeDataset, key: str = FRAME) -> FakeDataset:
    """Mesh, landmarks and box turn with it: only its neighbours give it away."""
    return moved(dataset, key, about_y(14.0), np.zeros(3))


def moved(
    dataset: FakeDataset, key: str, turn: Array, shift_mm: Array, depth: bool = True
) -> FakeDataset:
    """depth: the measured depth goes along."""
    detail = dataset.details[key]
    sample, camera = detail.sample, detail.sample.camera
    t_mm = sample.t_cam_from_head_mm

    def place(points_m: Array) -> Array:
        return (points_m - t_mm / 1000) @ turn.T + (t_mm + shift_mm) / 1000

    vertices, points = place(detail.meshes[0].vertices_m), detail.landmarks_68_m
    points = None if points is None else place(points)
    pixels = camera.project(vertices)
    return dataset.with_detail(
        key,
        meshes=(replace(detail.meshes[0], vertices_m=vertices),),
        landmarks_68_m=points,
        depth_cam_m=place(detail.depth_cam_m) if depth else detail.depth_cam_m,
        sample__R_cam_from_head=turn @ sample.R_cam_from_head,
        sample__t_cam_from_head_mm=t_mm + shift_mm,
        sample__landmarks_68_px=None if points is None else camera.project(points),
        sample__box_xyxy_px=np.concatenate([pixels.min(0), pixels.max(0)]),
    )


def shifted(dataset: FakeDataset) -> FakeDataset:
    return moved(dataset, FRAME, np.eye(3), np.array([90.0, 0.0, 60.0]))


def behind(dataset: FakeDataset) -> FakeDataset:
    t_mm = dataset.details[FRAME].sample.t_cam_from_head_mm
    return dataset.with_detail(FRAME, sample__t_cam_from_head_mm=t_mm * [1, 1, -1])


def in_metres(dataset: FakeDataset) -> FakeDataset:
    t_mm = dataset.details[FRAME].sample.t_cam_from_head_mm
    return dataset.with_detail(FRAME, sample__t_cam_from_head_mm=t_mm / 1000)


def depth_of_another_calibration(dataset: FakeDataset) -> FakeDataset:
    depth = dataset.details[FRAME].depth_cam_m
    return dataset.with_detail(FRAME, depth_cam_m=depth + np.array([0, 0, 0.04]))


def depth_of_another_place(dataset: FakeDataset) -> FakeDataset:
    depth = dataset.details[FRAME].depth_cam_m
    return dataset.with_detail(FRAME, depth_cam_m=depth + np.array([0.25, 0, 0]))


def picture_gone(dataset: FakeDataset) -> FakeDataset:
    dataset.details[FRAME].sample.image.unlink()
    return dataset


def picture_cut(dataset: FakeDataset) -> FakeDataset:
    path = dataset.details[FRAME].sample.image
    path.write_bytes(path.read_bytes()[:-4000])
    return dataset


def picture_of_text(dataset: FakeDataset) -> FakeDataset:
    dataset.details[FRAME].sample.image.write_text("<html>404 not found</html>")
    return dataset


def picture_of_a_billion_pixels(dataset: FakeDataset) -> FakeDataset:
    """A few bytes of PNG whose header claims 60000 x 60000."""
    path = dataset.details[FRAME].sample.image
    content = bytearray(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    content[16:24] = (60000).to_bytes(4, "big") * 2
    path.write_bytes(bytes(content))
    return dataset


def picture_resized(dataset: FakeDataset) -> FakeDataset:
    paint(dataset.details[FRAME].sample.image, 104, (160, 120))
    return dataset


def photo_resized(dataset: FakeDataset) -> FakeDataset:
    """No camera says what its size should be, the other photos do."""
    points = dataset.details[PHOTO].sample.landmarks_68_px
    picture = cv2.imread(str(dataset.details[PHOTO].sample.image))
    cv2.imwrite(str(dataset.details[PHOTO].sample.image), cv2.resize(picture, (320, 250)))
    return dataset.with_detail(PHOTO, sample__landmarks_68_px=points)


def same_file(dataset: FakeDataset) -> FakeDataset:
    source = dataset.details[FRAME].sample.image
    dataset.details[OTHER_PERSON].sample.image.write_bytes(source.read_bytes())
    return dataset


def encoded_again(dataset: FakeDataset) -> FakeDataset:
    """Smaller, brighter, cropped by a few pixels, as JPEG, and of another person."""
    picture = cv2.imread(str(dataset.details[FRAME].sample.image))
    picture = cv2.convertScaleAbs(cv2.resize(picture, (200, 150)), alpha=0.8, beta=30)[1:-1, 2:-1]
    path = dataset.details[OTHER_PERSON].sample.image.with_suffix(".jpg")
    cv2.imwrite(str(path), cv2.resize(picture, (320, 240)), [cv2.IMWRITE_JPEG_QUALITY, 60])
    return dataset.with_detail(OTHER_PERSON, sample__image=path)


def label_damaged(dataset: FakeDataset) -> FakeDataset:
    broken = DatasetError("pose.txt has 6 numbers; 12 are needed.")
    return replace(dataset, details={**dataset.details, FRAME: broken})


def person_in_two_splits(dataset: FakeDataset) -> FakeDataset:
    """As BIWI's: another sequence shows the same person."""
    for key in dataset.details:
        if key.startswith("02/"):
            dataset = dataset.with_detail(key, sample__group="01")
    return dataset


def photo_in_two_splits(dataset: FakeDataset) -> FakeDataset:
    return dataset.with_detail(PHOTO, sample__split="test")


def twin_not_mirrored(dataset: FakeDataset) -> FakeDataset:
    R = dataset.details[PHOTO].sample.R_cam_from_head
    return dataset.with_detail(TWIN, sample__R_cam_from_head=about_y(8.0) @ MIRROR_X @ R @ MIRROR_X)


def twin_not_renumbered(dataset: FakeDataset) -> FakeDataset:
    points = dataset.details[PHOTO].sample.landmarks_68_px * [-1, 1] + [320.0, 0]
    return dataset.with_detail(TWIN, sample__landmarks_68_px=points)


def views_share(dataset: FakeDataset) -> FakeDataset:
    for folder in ("AFW", "AFW_Flip"):
        points = dataset.details[f"{folder}/AFW_2_1_0"].sample.landmarks_68_px
        for k in (1, 2):
            key = f"{folder}/AFW_2_1_{k}"
            dataset = dataset.with_detail(key, points_px={"pt2d": points.copy()})
    return dataset


def with_numbers(dataset: FakeDataset, field: str, place: int, value: float) -> FakeDataset:
    raw = dict(dataset.details[FIT].raw)
    numbers = raw[f"2.npz: {field}"].split()
    numbers[place] = f"{value:.6g}"
    return dataset.with_detail(FIT, raw=raw | {f"2.npz: {field}": " ".join(numbers)})


PLANTED: list[tuple[str, Plant, str, set[str]]] = [
    ("biwi", scaled, "rotation", {FRAME}),
    ("biwi", handed, "rotation", {FRAME}),
    ("biwi", yaw_flipped, "nose_sign", {FRAME}),
    ("biwi", landmarks_of_another, "reprojection", {FRAME}),
    ("arkitface", other_translation, "reprojection", {FRAME}),
    ("biwi", other_focal_length, "reprojection", {FRAME}),
    ("biwi", box_elsewhere, "box_iou", {FRAME}),
    ("biwi", turned, "jump_deg", {FRAME}),
    ("biwi", shifted, "jump_mm", {FRAME}),
    ("biwi", behind, "distance", {FRAME}),
    ("arkitface", in_metres, "distance", {FRAME}),
    ("biwi", depth_of_another_calibration, "depth_mm", {FRAME}),
    ("biwi", depth_of_another_place, "depth_mm", {FRAME}),
    ("biwi", picture_gone, "picture_missing", {FRAME}),
    ("biwi", picture_cut, "picture_unreadable", {FRAME}),
    ("biwi", picture_of_text, "picture_unreadable", {FRAME}),
    ("biwi", picture_of_a_billion_pixels, "picture_unreadable", {FRAME}),
    ("biwi", picture_resized, "picture_size", {FRAME}),
    ("biwi", picture_resized, "unusual_size", {FRAME}),
    ("300w-lp", photo_resized, "unusual_size", {PHOTO}),
    ("biwi", same_file, "duplicate", {FRAME, OTHER_PERSON}),
    ("biwi", encoded_again, "near_duplicate", {FRAME, OTHER_PERSON}),
    ("biwi", label_damaged, "label_unreadable", {FRAME}),
    ("300w-lp", twin_not_mirrored, "flip_pose", {PHOTO, TWIN}),
    ("300w-lp", twin_not_renumbered, "flip_landmarks", {PHOTO, TWIN}),
    ("mica", lambda d: with_numbers(d, "betas", 7, -3.4), "betas_sd", {FIT}),
    ("mica", lambda d: with_numbers(d, "pose", 6, 0.2), "jaw_deg", {FIT}),
    ("mica", lambda d: with_numbers(d, "betas", 340, 1.5), "expression_sd", {FIT}),
]
