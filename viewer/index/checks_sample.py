"""Checks that look at one sample alone; each gives its score where the sample says enough."""

from __future__ import annotations

import re

import numpy as np
from jaxtyping import Bool, Float, UInt8

from models.geometry.boxes import bounding_box_xyxy, iou_xyxy
from models.geometry.cameras import Camera
from viewer.datasets.sample import Sample
from viewer.datasets.source import SampleDetail, SampleMesh
from viewer.index.check_table import LARGEST_SCORE

Array = np.ndarray

EYES_HEAD_MM = np.array([0.0, -22.6, -37.3])
MOUTH_HEAD_MM = np.array([0.0, 42.3, -44.1])
NOSE_HEAD_MM = np.array([0.0, 5.7, -74.3])
"""Middle of the eyes, middle of the mouth's corners and tip of the nose of the mean face."""

INNER_LANDMARKS = slice(17, 68)
"""Without the jaw line, which many label by the silhouette and not by the mesh."""

DISTANCE_RANGE_M = {"arkitface": (0.15, 1.5), "biwi": (0.4, 2.0)}
ANY_DISTANCE_M = (0.05, 30.0)

RAW_ROTATION_FIELDS = ("R", "R_t", "R_cam_from_head")
SHAPE_COUNT = 300
JAW = slice(6, 9)

_LEAST_UPRIGHT = 0.4
_DEPTH_CELL_PX = 4.0
_LEAST_DEPTH_CELLS, _LEAST_DEPTH_SHARE = 12, 0.2
_MOST_DEPTH_POINTS = 100_000
_FACE_THICKNESS_MM = 10.0
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\b(?:nan|inf)\b")


def sample_scores(
    dataset_name: str,
    detail: SampleDetail,
    image_rgb: UInt8[Array, "h w 3"] | None,
    picture_problem: str | None,
    *,
    size_wh_px: tuple[int, int] | None = None,
) -> dict[str, float]:
    """Score by name of the check, of those that apply.

    picture_problem: "picture_missing" or "picture_unreadable" (any other text counts as the
        latter); None or "": the picture is fine, or there is none.
    size_wh_px: of the picture, where it was not decoded.
    """
    sample = detail.sample
    scores: dict[str, float | None] = {"label_unreadable": 0.0}
    if sample.image is not None or picture_problem:
        missing = picture_problem == "picture_missing"
        scores["picture_missing"] = float(missing)
        scores["picture_unreadable"] = float(bool(picture_problem) and not missing)
    if image_rgb is not None:
        size_wh_px = (int(image_rgb.shape[1]), int(image_rgb.shape[0]))
    if size_wh_px is not None and sample.camera is not None:
        scores["picture_size"] = size_difference_percent(size_wh_px, sample.camera.size_wh_px)
    scores["rotation"] = _rotation(detail)
    scores["nose_sign"] = _nose_sign(detail)
    scores["reprojection"] = _reprojection(detail)
    scores["box_iou"] = _box_iou(detail, size_wh_px)
    scores["distance"] = _distance(dataset_name, sample)
    scores["depth_mm"] = _depth_mm(detail)
    scores |= _fit_scores(detail) if dataset_name == "mica" else {}
    return {
        name: float(np.clip(np.nan_to_num(score, nan=LARGEST_SCORE), 0.0, LARGEST_SCORE))
        for name, score in scores.items()
        if score is not None
    }


def size_difference_percent(size_wh_px: tuple[int, int], usual_wh_px: tuple[int, int]) -> float:
    """By how much the width or the height, whichever more, is larger or smaller."""
    ratios = np.array(size_wh_px, np.float64) / usual_wh_px
    return float(np.abs(ratios - 1.0).max() * 100.0)


def landmark_sets(detail: SampleDetail) -> list[Float[Array, "68 2"]]:
    """Every set of 68 points in the picture, without those that are unknown or not finite."""
    sets = [detail.sample.landmarks_68_px, *detail.points_px.values()]
    return [p for p in sets if p is not None and p.shape == (68, 2) and np.isfinite(p).all()]


def _rotation(detail: SampleDetail) -> float | None:
    """The largest error of R^T R = 1 and det R = 1, of the sample's R and of the file's own."""
    found = [] if detail.sample.R_cam_from_head is None else [detail.sample.R_cam_from_head]
    for name, text in detail.raw.items():
        if name.rsplit(": ", 1)[-1] in RAW_ROTATION_FIELDS:
            numbers = numbers_of(text)
            side = {9: 3, 16: 4}.get(len(numbers))
            found += [numbers.reshape(side, side)[:3, :3]] if side else []
    return max((rotation_error(np.asarray(R, np.float64)) for R in found), default=None)


def rotation_error(R: Float[Array, "3 3"]) -> float:
    """0 for a rotation, 2 for a mirror."""
    if not np.isfinite(R).all():
        return LARGEST_SCORE
    return float(max(np.abs(R.T @ R - np.eye(3)).max(), abs(np.linalg.det(R) - 1.0)))


def numbers_of(text: str) -> Float[Array, "n"]:
    """The numbers of a printed array; none where it is printed in part."""
    return np.array([] if "..." in text else _NUMBER.findall(text), np.float64)


def _nose_sign(detail: SampleDetail) -> float | None:
    """How far the nose lies on the other side of the line from eyes to mouth than R puts it.

    The smaller of both offsets where they have different signs; in eye-mouth distances.
    """
    sample = detail.sample
    R, sets = sample.R_cam_from_head, landmark_sets(detail)
    if R is None or not sets:
        return None
    down = R @ (MOUTH_HEAD_MM - EYES_HEAD_MM)
    if np.hypot(down[0], down[1]) < _LEAST_UPRIGHT * np.linalg.norm(down):
        return None
    expected = _nose_offset(*_seen(sample, np.stack([EYES_HEAD_MM, MOUTH_HEAD_MM, NOSE_HEAD_MM])))
    worst = 0.0
    for points in sets:
        eyes, mouth = points[36:48].mean(0), points[[48, 54]].mean(0)
        offset = _nose_offset(eyes, mouth, points[30])
        if offset * expected < 0:
            worst = max(worst, min(abs(offset), abs(expected)))
    return worst


def _seen(sample: Sample, points_head_mm: Float[Array, "n 3"]) -> Float[Array, "n 2"]:
    """In the picture, up to scale and shift; in perspective where the distance is known."""
    points, t_mm = points_head_mm @ sample.R_cam_from_head.T, sample.t_cam_from_head_mm
    if sample.camera is None or t_mm is None or t_mm[2] < 2 * np.abs(points_head_mm).max():
        return points[:, :2]
    return sample.camera.project(points + t_mm)


def _nose_offset(
    eyes: Float[Array, "2"], mouth: Float[Array, "2"], nose: Float[Array, "2"]
) -> float:
    """Of the nose from the line eyes-mouth, in lengths of that line; > 0 on one side."""
    down, out = mouth - eyes, nose - eyes
    square = float(down @ down)
    return float(down[0] * out[1] - down[1] * out[0]) / square if square > 0 else 0.0


def _reprojection(detail: SampleDetail) -> float | None:
    """RMS distance of the inner landmarks from their projection, in % of the face's longer side."""
    camera, points_m = detail.sample.camera, detail.landmarks_68_m
    if camera is None or points_m is None:
        return None
    points_m = _in_cam_m(detail.sample, points_m, detail.meshes[0] if detail.meshes else None)
    if points_m is None:
        return None
    if (points_m[:, 2] <= 0).any():
        return LARGEST_SCORE
    projected = camera.project(points_m)
    return max((_rms_percent(projected, points) for points in landmark_sets(detail)), default=None)


def _rms_percent(projected: Float[Array, "68 2"], points: Float[Array, "68 2"]) -> float:
    off = (projected - points)[INNER_LANDMARKS]
    return float(np.sqrt((off**2).sum(1).mean()) / face_side_px(points) * 100.0)


def face_side_px(points: Float[Array, "68 2"]) -> float:
    """The longer side of the landmarks' box."""
    return max(float(np.ptp(points, axis=0).max()), 1.0)


def _in_cam_m(
    sample: Sample, points_m: Float[Array, "n 3"], mesh: SampleMesh | None
) -> Float[Array, "n 3"] | None:
    """Points of the mesh's frame in the camera's; None without a metric pose."""
    if mesh is not None and mesh.frame == "cam":
        return points_m
    if sample.R_cam_from_head is None or sample.t_cam_from_head_mm is None:
        return None
    return points_m @ sample.R_cam_from_head.T + sample.t_cam_from_head_mm / 1000.0


def _box_iou(detail: SampleDetail, size_wh_px: tuple[int, int] | None) -> float | None:
    """Of the sample's box with its mesh's; with the mesh cut at the picture's edge, if better."""
    box, mesh = detail.sample.box_xyxy_px, _mesh_px(detail)
    if box is None or mesh is None or not np.isfinite(box).all():
        return None
    ours = bounding_box_xyxy(mesh)
    boxes = [ours]
    if size_wh_px is not None:
        boxes.append(np.clip(ours, 0.0, np.tile(np.array(size_wh_px, np.float64), 2)))
    return float(iou_xyxy(np.stack(boxes), np.asarray(box, np.float64)[None]).max())


def _mesh_px(detail: SampleDetail) -> Float[Array, "n 2"] | None:
    """The annotation's own mesh in the picture."""
    if detail.mesh_px is not None:
        return detail.mesh_px if np.isfinite(detail.mesh_px).all() else None
    camera, mesh = detail.sample.camera, detail.meshes[0] if detail.meshes else None
    if camera is None or mesh is None:
        return None
    points = _in_cam_m(detail.sample, mesh.vertices_m, mesh)
    if points is None or len(points) == 0 or not (points[:, 2] > 0).all():
        return None
    return camera.project(points)


def _distance(dataset_name: str, sample: Sample) -> float | None:
    """1 at the ends of the range of the data set, 2 at twice or half of it; behind: the most."""
    if sample.t_cam_from_head_mm is None:
        return None
    z_m = float(sample.t_cam_from_head_mm[2]) / 1000.0
    low, high = DISTANCE_RANGE_M.get(dataset_name, ANY_DISTANCE_M)
    return max(low / z_m, z_m / high) if z_m > 0 else LARGEST_SCORE


def _depth_mm(detail: SampleDetail) -> float | None:
    """Median distance in depth between mesh and measurement, where both see the middle of the face:
    hair and hats lie elsewhere. Where the face is covered the whole head is compared; LARGEST_SCORE
    where they do not meet at all. The front of each is taken in cells of a few pixels.
    """
    sample, depth = detail.sample, detail.depth_cam_m
    camera, R, t_mm = sample.camera, sample.R_cam_from_head, sample.t_cam_from_head_mm
    if camera is None or R is None or t_mm is None or depth is None or not detail.meshes:
        return None
    mesh = detail.meshes[0]
    points = _in_cam_m(sample, mesh.vertices_m, mesh)
    if mesh.triangles is not None and len(mesh.triangles):
        points = np.concatenate([points, points[mesh.triangles].mean(1)])
    front = _front_mm(camera, points)
    face = _front_mm(camera, points[_is_face((points - t_mm / 1000.0) @ R)])
    is_seen = np.isfinite(face) & (face < front + _FACE_THICKNESS_MM)
    if is_seen.sum() < _LEAST_DEPTH_CELLS:
        return None
    measured = _front_mm(camera, depth)
    for part, is_part in ((face, is_seen), (front, np.isfinite(front))):
        both = is_part & np.isfinite(measured)
        if both.sum() >= _LEAST_DEPTH_SHARE * is_part.sum():
            return float(np.median(np.abs(part[both] - measured[both])))
    return LARGEST_SCORE


def _is_face(points_head_m: Float[Array, "n 3"]) -> Bool[Array, "n"]:
    """Eyes to mouth around the point that lies furthest forward of the mesh: the nose."""
    nose = points_head_m[points_head_m[:, 2].argmin()]
    off = points_head_m - nose
    return (
        (np.abs(off[:, 0]) < 0.05) & (off[:, 1] > -0.04) & (off[:, 1] < 0.05) & (off[:, 2] < 0.06)
    )


def _front_mm(camera: Camera, points_m: Float[Array, "n 3"]) -> Float[Array, "rows columns"]:
    """Nearest depth in each cell of the picture, infinite where there is no point."""
    columns, rows = (int(side // _DEPTH_CELL_PX) + 1 for side in camera.size_wh_px)
    front = np.full(rows * columns, np.inf)
    points_m = points_m[:: 1 + len(points_m) // _MOST_DEPTH_POINTS]
    points_m = points_m[points_m[:, 2] > 1e-3]
    cells = np.floor(camera.project(points_m) / _DEPTH_CELL_PX)
    inside = (cells >= 0).all(1) & (cells < [columns, rows]).all(1)
    cells = cells[inside].astype(np.int64)
    np.minimum.at(front, cells[:, 1] * columns + cells[:, 0], points_m[inside, 2] * 1000.0)
    return front.reshape(rows, columns)


def _fit_scores(detail: SampleDetail) -> dict[str, float]:
    """Of FLAME parameters: shape, jaw and expression of a fit that is meant to be neutral."""
    scores: dict[str, float] = {}
    for name, text in detail.raw.items():
        numbers = numbers_of(text)
        field = name.rsplit(": ", 1)[-1]
        if field == "betas" and len(numbers):
            scores["betas_sd"] = float(np.abs(numbers[:SHAPE_COUNT]).max())
            if len(numbers) > SHAPE_COUNT:
                scores["expression_sd"] = float(np.abs(numbers[SHAPE_COUNT:]).max())
        elif field == "pose" and len(numbers) == 15:
            scores["jaw_deg"] = float(np.degrees(np.linalg.norm(numbers[JAW])))
    return scores
