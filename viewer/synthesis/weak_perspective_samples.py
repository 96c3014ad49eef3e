"""Sample sets in the formats of 300W-LP and AFLW2000-3D, made of painted heads: nobody is in them.

The heads are seen from so far away that weak perspective holds to a third of a pixel. The face
model is not Basel's: the parameters of shape, expression and texture are zeros.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from scipy.io import savemat

from models.flame.open_head import load_open_head
from models.geometry.cameras import Camera, camera_from_intrinsics
from models.geometry.rotations import matrix_from_ypr_300wlp
from viewer.datasets.file_lists import FILES_TXT, files_txt
from viewer.datasets.three_hundred_w_lp import FLIP, mirrored_68_px
from viewer.datasets.weak_perspective import MATLAB_PIXEL
from viewer.synthesis.arkitface_samples import write_jpeg
from viewer.synthesis.painted_head import (
    PaintedHead,
    build_background,
    build_painted_head,
    draw_painted_head,
)
from viewer.synthesis.rasterizer import rasterize

Array = np.ndarray

SIDE_PX = 450
JPEG_QUALITY = 72
DISTANCE_MM = 30_000.0
UM_IN_M = 1e6
"""The face model's unit is the micrometre."""

PHOTOS = (
    "AFW/AFW_100101_1",
    "AFW/AFW_100102_1",
    "HELEN/HELEN_200103_1",
    "HELEN/HELEN_200104_1",
    "IBUG/IBUG_300105_1",
    "LFPW/LFPW_400106_1",
)
"""Without the number of the view."""
MIRRORED_PHOTOS = PHOTOS[::2]
VIEWS = 4
AFLW_COUNT = 40
PERSON_SEED = 700

HEADER = b"MATLAB 5.0 MAT-file, painted heads".ljust(116)
"""SciPy writes the time of day there."""

_EXPRESSIONS = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp", "eyeBlinkLeft")
_BROWS, _RIGHT_EYE, _LEFT_EYE = (17, 19, 21, 22, 24, 26), range(36, 42), range(42, 48)
_VISIBLE_WITHIN_M = 0.006


@dataclass(frozen=True)
class WeakSample:
    """A picture with the labels of both data sets, in MATLAB's pixels.

    pose_para: as stored. depth_px: of the 68. aflw_21: -1 where not visible.
    """

    image_rgb: UInt8[Array, "450 450 3"]
    pose_para: Float[Array, "1 7"]
    landmarks_68: Float[Array, "2 68"]
    depth_px: Float[Array, "68"]
    aflw_21: Float[Array, "2 21"]

    def mirrored(self) -> WeakSample:
        """The same for the mirrored picture; AFLW's points are left out."""
        pose = self.pose_para * [[1.0, -1, -1, 1, 1, 1, 1]]
        pose[0, 3] = SIDE_PX + 1 - pose[0, 3]
        landmarks = mirrored_68_px(self.landmarks_68.T - MATLAB_PIXEL, SIDE_PX).T + MATLAB_PIXEL
        return WeakSample(
            np.ascontiguousarray(self.image_rgb[:, ::-1]),
            pose,
            landmarks,
            self.depth_px,
            np.full((2, 21), -1.0),
        )


def draw_view(photo: int, view: int) -> WeakSample:
    """View k of a photo: the same person and room, turned further with k."""
    rng = np.random.default_rng([PERSON_SEED, 2, photo])
    yaw, pitch, roll = rng.uniform(-14, 14), rng.uniform(-18, 18), rng.normal(0, 7)
    turned = yaw + np.sign(yaw) * 12.0 * view
    return _drawn(PERSON_SEED + photo, (float(turned), float(pitch), float(roll)), rng)


def draw_aflw(number: int) -> WeakSample:
    """Picture k of the AFLW2000 set: a person of its own, to the profile."""
    rng = np.random.default_rng([PERSON_SEED, 1, number])
    yaw, pitch, roll = rng.uniform(-80, 80), rng.normal(0, 14), rng.normal(0, 10)
    angles = (float(yaw), float(np.clip(pitch, -35, 35)), float(roll))
    return _drawn(PERSON_SEED + 100 + number, angles, rng)


def _drawn(seed: int, ypr_deg: tuple[float, float, float], rng: np.random.Generator) -> WeakSample:
    chosen = rng.choice(_EXPRESSIONS, 2, replace=False)
    head = build_painted_head(seed, {str(name): float(rng.uniform(0, 0.8)) for name in chosen})
    px_per_um = rng.uniform(1.1e-3, 1.35e-3)
    f_px = px_per_um * UM_IN_M * DISTANCE_MM / 1000.0
    centre = SIDE_PX / 2
    camera = camera_from_intrinsics((SIDE_PX, SIDE_PX), f_px, f_px, centre, centre)
    offset = rng.uniform(-15, 15, 2)
    t_mm = np.array([*offset / f_px, 1.0]) * DISTANCE_MM
    R = matrix_from_ypr_300wlp(*ypr_deg)
    image_rgb = draw_painted_head(build_background((SIDE_PX, SIDE_PX), seed), head, R, t_mm, camera)
    cam_m = head.landmarks_68_head_m @ R.T + t_mm / 1000.0
    landmarks = (camera.project(cam_m) + MATLAB_PIXEL).T
    x, y = camera.project(t_mm) + MATLAB_PIXEL
    yaw, pitch, roll = np.radians(ypr_deg)
    return WeakSample(
        image_rgb=image_rgb,
        pose_para=np.array([[pitch, yaw, roll, x, SIDE_PX + 1 - y, 0.0, px_per_um]]),
        landmarks_68=landmarks,
        depth_px=px_per_um * UM_IN_M * (t_mm[2] / 1000.0 - cam_m[:, 2]),
        aflw_21=_aflw_21(head, R, t_mm / 1000.0, camera),
    )


def _aflw_21(
    head: PaintedHead, R: Float[Array, "3 3"], t_m: Float[Array, "3"], camera: Camera
) -> Float[Array, "2 21"]:
    """AFLW's landmarks in MATLAB's pixels, -1 where something is in front of them."""
    face, points = head.landmarks_68_head_m, head.vertices_head_m
    right_ear, left_ear = _ear_vertices()
    chosen = [
        *face[list(_BROWS)],
        *(face[36], face[list(_RIGHT_EYE)].mean(0), face[39]),
        *(face[42], face[list(_LEFT_EYE)].mean(0), face[45]),
        *(points[right_ear], face[31], face[30], face[35], points[left_ear]),
        *(face[48], face[[62, 66]].mean(0), face[54], face[8]),
    ]
    cam_m = np.array(chosen) @ R.T + t_m
    raster = rasterize(points @ R.T + t_m, head.triangles, camera)
    nearest = np.full((SIDE_PX, SIDE_PX), np.inf)
    nearest[raster.rows, raster.columns] = raster.depth_m
    px = camera.project(cam_m)
    column, row = np.floor(px).astype(int).T
    inside = ((px >= 0) & (px < SIDE_PX)).all(1)
    seen = inside.copy()
    seen[inside] = cam_m[inside, 2] < nearest[row[inside], column[inside]] + _VISIBLE_WITHIN_M
    return np.where(seen[:, None], px + MATLAB_PIXEL, -1.0).T


def _ear_vertices() -> tuple[int, int]:
    """The outermost vertices of the skin, at the subject's right and left."""
    head = load_open_head()
    skin = np.unique(head.triangles_of("skin"))
    near_level = np.abs(head.template_vertices_m[skin, 1]) < 0.05
    x = np.where(near_level, head.template_vertices_m[skin, 0], 0.0)
    return int(skin[x.argmin()]), int(skin[x.argmax()])


def write_300w_lp_samples(root: Path, photos: tuple[str, ...] = PHOTOS) -> None:
    """The set, or the part of it that these photos are."""
    keys = []
    for photo in photos:
        for view in range(VIEWS):
            key = f"{photo}_{view}"
            sample = draw_view(PHOTOS.index(photo), view)
            keys.append(key)
            _write_300w_lp(root / key, sample)
            # of the photo's view both points are the same: nothing of the jaw is hidden there
            points = {"pts_2d": sample.landmarks_68.T, "pts_3d": sample.landmarks_68.T}
            _write_mat(root / "landmarks" / f"{key}_pts.mat", points)
            if photo in MIRRORED_PHOTOS:
                folder, name = key.split("/")
                keys.append(f"{folder}{FLIP}/{name}")
                _write_300w_lp(root / keys[-1], sample.mirrored())
    (root / FILES_TXT).write_text(files_txt(sorted(keys)), encoding="ascii", newline="\n")


def _write_300w_lp(stem: Path, sample: WeakSample) -> None:
    labels = {"pt2d": sample.landmarks_68, "roi": np.array([[1, 1, SIDE_PX, SIDE_PX]], np.int16)}
    _write_pair(stem, sample, labels)


def write_aflw2000_samples(root: Path, count: int = AFLW_COUNT) -> None:
    """The first so many of the set."""
    for number in range(count):
        sample = draw_aflw(number)
        rows = np.vstack([sample.landmarks_68, sample.depth_px])
        labels = {"pt2d": sample.aflw_21, "pt3d_68": rows.astype(np.float32)}
        _write_pair(root / f"image{2 * number + 2:05d}", sample, labels)


def _write_pair(stem: Path, sample: WeakSample, labels: dict[str, Array]) -> None:
    zeros = {"Shape_Para": 199, "Tex_Para": 199}
    fields = {name: np.zeros((count, 1)) for name, count in zeros.items()}
    # published files have whole numbers of one byte where all of these are zero
    fields |= {"Exp_Para": np.zeros((29, 1), np.uint8), "Illum_Para": np.zeros((1, 10))}
    fields |= {
        "Color_Para": np.zeros((1, 7), np.float32),
        "Pose_Para": sample.pose_para.astype(np.float32),
    }
    _write_mat(stem.with_name(stem.name + ".mat"), labels | fields)
    write_jpeg(stem.with_name(stem.name + ".jpg"), sample.image_rgb, JPEG_QUALITY)


def _write_mat(path: Path, variables: dict[str, Array]) -> None:
    """The same bytes for the same variables."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    savemat(file, variables, do_compression=True)
    path.write_bytes(HEADER + file.getvalue()[len(HEADER) :])
