"""A sample set in ARKitFace's own format (TRG's layout), made of painted heads: nobody is in it.

Its meshes are the front of the open head, not ARKit's 1220 vertices; kpt_ind.npy, example.obj and
flip_index.npy are for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy.spatial import cKDTree

from models.flame.open_head import load_open_head
from models.geometry.cameras import camera_from_horizontal_fov
from models.geometry.rotations import GL_FROM_CV, about_y, matrix_from_ypr_300wlp
from models.weights import T_HEAD_FROM_TRG_MINI
from viewer.datasets.arkitface import SIDE_PX, arkit_camera
from viewer.datasets.arkitface_files import ArkitFiles, Row
from viewer.datasets.file_lists import arkitface_csv
from viewer.synthesis.painted_head import (
    build_background,
    build_painted_head,
    draw_painted_head,
    painted_identity,
)
from viewer.synthesis.rasterizer import rasterize
from viewer.synthesis.scene import to_ray

Array = np.ndarray

SUBJECTS = {"000104": "train", "000211": "train", "000307": "train", "000418": "test"}
ACTIONS = {"01_LeftToRight_Smile": "mouthSmileLeft", "02_UpToDown_JawOpen": "jawOpen"}
FRAMES = 4
FIRST_MS, STEP_MS = 1_600_000_000_000, 100
STEP_DEG = 7.0
PERSON_SEED = 500
JPEG_QUALITY = 50
"""They are enlarged, so there is little to lose."""
GRID_M = 2.0**-14
"""Coordinates are multiples of this, 0.06 mm, so that they are packed well."""
DRAWN_PX = 400
"""Pictures are drawn at this size and enlarged: 800 px are the format's."""

FRONT_M, SIDE_M = -0.016, 0.078
BOTTOM_M, TOP_M = -0.092, 0.088


@dataclass(frozen=True)
class FaceCut:
    """The face's part of the open head.

    ids: of the vertices in the whole head. triangles, landmark_68_ids, flip_index: in the part.
    """

    ids: Int[Array, "v"]
    triangles: Int[Array, "f 3"]
    landmark_68_ids: Int[Array, "68"]
    flip_index: Int[Array, "v"]


@cache
def face_cut() -> FaceCut:
    """What ARKit would show of the open head: forehead to chin, ear to ear, no inner parts."""
    head = load_open_head()
    template, skin = head.template_vertices_m, head.triangles_of("skin")
    x, y, z = template.T
    kept = (z > FRONT_M) & (y > BOTTOM_M) & (y < TOP_M) & (np.abs(x) < SIDE_M)
    kept &= _seen_from_front(template, skin)
    mirror = [-1.0, 1.0, 1.0]
    kept |= kept[cKDTree(template).query(template * mirror)[1]]
    ids, triangles = np.unique(skin[kept[skin].all(1)], return_inverse=True)
    tree = cKDTree(template[ids])
    return FaceCut(
        ids=ids,
        triangles=triangles.reshape(-1, 3),
        landmark_68_ids=tree.query(head.landmarks_68_m(template))[1],
        flip_index=tree.query(template[ids] * mirror)[1],
    )


def _seen_from_front(
    vertices_m: Float[Array, "v 3"], triangles: Int[Array, "f 3"]
) -> Bool[Array, "v"]:
    """Whether a vertex is of a triangle that is seen from somewhere before the face."""
    camera = camera_from_horizontal_fov((600, 600), 25.0)
    seen = np.zeros(len(vertices_m), bool)
    for yaw_deg in (-50.0, -25.0, 0.0, 25.0, 50.0):
        points = vertices_m @ (about_y(yaw_deg) @ GL_FROM_CV).T + [0.0, 0.0, 0.7]
        seen[triangles[rasterize(points, triangles, camera).triangle_ids]] = True
    return seen


def write_arkitface_samples(root: Path, rows: int | None = None) -> None:
    """The set, or its first rows with the complete lists."""
    cut, listed = face_cut(), sample_rows()
    resources, lists = root / "ARKitFace_resources", root / "ARKitFace_list" / "list"
    for folder in (resources, lists):
        folder.mkdir(parents=True, exist_ok=True)
    np.save(root / "flip_index.npy", cut.flip_index.astype(np.int64))
    np.save(resources / "kpt_ind.npy", cut.landmark_68_ids.astype(np.int64))
    (resources / "example.obj").write_text(_example_obj(cut), encoding="ascii", newline="\n")
    for split in sorted(set(SUBJECTS.values())):
        keys = [row.key for row in listed if row.split == split]
        path = lists / f"ARKitFace_{split}.csv"
        path.write_text(arkitface_csv(keys), encoding="ascii", newline="\n")
    files = ArkitFiles(root, "TRG")
    for row in listed[:rows]:
        image_rgb, verts, R_t = draw_sample(row)
        for path in (files.image(row), files.labels(row)):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
        write_jpeg(root / files.image(row), image_rgb, JPEG_QUALITY)
        np.savez_compressed(root / files.labels(row), verts=verts, R_t=R_t)


def sample_rows() -> list[Row]:
    """All pictures, subject by subject, in the order of time."""
    return list(_rows())


def _rows() -> Iterator[Row]:
    for number, (subject, split) in enumerate(SUBJECTS.items()):
        for action_number, action in enumerate(ACTIONS):
            first = FIRST_MS + 1_000_000 * number + 100_000 * action_number
            for frame in range(FRAMES):
                yield Row(split, subject, action, str(first + STEP_MS * frame))


def draw_sample(
    row: Row,
) -> tuple[UInt8[Array, "h w 3"], Float[Array, "v 3"], Float[Array, "4 4"]]:
    """Picture, verts and R_t of a row, as ARKitFace stores them."""
    number, action = list(SUBJECTS).index(row.subject_id), list(ACTIONS).index(row.facial_action)
    frame = int(row.img_id) % 100_000 // STEP_MS
    rng = np.random.default_rng([PERSON_SEED, number, action])
    strength = 0.25 + 0.12 * frame
    expression = {ACTIONS[row.facial_action]: strength}
    if action == 0:
        expression["mouthSmileRight"] = strength
    head = build_painted_head(PERSON_SEED + number, expression)
    R, t_m = _pose(rng, action, frame)
    small = arkit_camera().resized((DRAWN_PX, DRAWN_PX))
    background = build_background(small.size_wh_px, PERSON_SEED + 10 * number + action)
    drawn = draw_painted_head(background, head, R, 1000.0 * t_m, small)
    image_rgb = cv2.resize(drawn, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    return image_rgb, _arkit_verts(number, expression), _arkit_matrix(R, t_m)


def _pose(
    rng: np.random.Generator, action: int, frame: int
) -> tuple[Float[Array, "3 3"], Float[Array, "3"]]:
    """A slow sweep: about the vertical axis in the first action, up and down in the second."""
    start_deg = rng.uniform(-22.0, -6.0)
    swept = float(start_deg + STEP_DEG * frame)
    other, roll = map(float, rng.uniform(-6.0, 6.0, 2))
    yaw, pitch = (swept, other) if action == 0 else (other, swept)
    ray = np.array([*rng.uniform(-0.06, 0.06, 2), 1.0])
    distance_m = rng.uniform(0.36, 0.52)
    return to_ray(ray) @ matrix_from_ypr_300wlp(yaw, pitch, roll), ray * distance_m


def _arkit_verts(number: int, expression: dict[str, float]) -> Float[Array, "v 3"]:
    """The bare face in ARKit's axes; hair is paint and a little thickness beyond it."""
    vertices = load_open_head().vertices_m(painted_identity(PERSON_SEED + number), expression)
    head_m = vertices[face_cut().ids] @ T_HEAD_FROM_TRG_MINI[:3, :3].T + T_HEAD_FROM_TRG_MINI[:3, 3]
    return (np.round(head_m @ GL_FROM_CV / GRID_M) * GRID_M).astype(np.float32)


def _arkit_matrix(R: Float[Array, "3 3"], t_m: Float[Array, "3"]) -> Float[Array, "4 4"]:
    """R_t for row vectors in OpenGL's axes."""
    R_t = np.eye(4)
    R_t[:3, :3] = (GL_FROM_CV @ R @ GL_FROM_CV).T
    R_t[3, :3] = GL_FROM_CV @ t_m
    return R_t


def _example_obj(cut: FaceCut) -> str:
    """The mean face; its axes are the open head's, which are ARKit's."""
    template = load_open_head().template_vertices_m[cut.ids]
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in template]
    lines += [f"f {a} {b} {c}" for a, b, c in cut.triangles + 1]
    return "\n".join(lines) + "\n"


def write_jpeg(path: Path, image_rgb: UInt8[Array, "h w 3"], quality: int) -> None:
    """A picture of a sample set. Raises: OSError."""
    bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    path.write_bytes(encoded.tobytes())
