"""A small set in ARKitFace's layout to train the released TRG on: for the benchmark and for tests.

It is the bundled sample set, with meshes thinned to TRG's 1220 vertices and, if wanted, pictures
with as much detail as a camera's.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import Delaunay

from models.geometry.rotations import GL_FROM_CV
from viewer.datasets.arkitface import ArkitFace
from viewer.datasets.arkitface_files import ArkitFiles, row_of_key
from viewer.datasets.arkitface_resources import ARKIT_VERTICES, read_topology
from viewer.datasets.registry import bundled_root

Array = np.ndarray

NOISE_LEVEL, JPEG_QUALITY = 5.0, 92
LONGEST_EDGE_M = 0.03
_UNROLL_ABOUT_Z_M = 0.06
"""The face is unrolled about an axis this far behind its origin, to be cut into triangles."""


@dataclass(frozen=True)
class ThinnedMesh:
    """ids: of the vertices that are kept. triangles, landmark_68_ids, flip_index: among these."""

    ids: Int[Array, "v"]
    triangles: Int[Array, "f 3"]
    landmark_68_ids: Int[Array, "68"]
    flip_index: Int[Array, "v"]


def write_arkitface_1220(root: Path, *, detailed: bool = False) -> Path:
    """The bundled ARKitFace samples with meshes of 1220 vertices. detailed: see the module."""
    source = bundled_root("arkitface")
    dataset = ArkitFace(source)
    keys = dataset.list_samples().keys
    mesh = thinned_mesh(dataset, keys[0])
    files = ArkitFiles(root, "TRG")
    root.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source / "ARKitFace_list", root / "ARKitFace_list")
    resources = root / "ARKitFace_resources"
    resources.mkdir()
    np.save(root / "flip_index.npy", mesh.flip_index)
    np.save(resources / "kpt_ind.npy", mesh.landmark_68_ids)
    np.save(resources / "triangles.npy", mesh.triangles)
    for row in map(row_of_key, keys):
        image, labels = files.image(row), files.labels(row)
        for path in (image, labels):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
        with np.load(source / labels) as arrays:
            np.savez_compressed(root / labels, verts=arrays["verts"][mesh.ids], R_t=arrays["R_t"])
        write = _write_detailed if detailed else shutil.copyfile
        write(source / image, root / image)
    return root


def _write_detailed(source: Path, out: Path) -> None:
    """With a sensor's noise."""
    bgr = cv2.imread(str(source))
    noisy = cv2.add(bgr, _noise(bgr.shape), dtype=cv2.CV_8U)
    cv2.imwrite(str(out), noisy, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


@lru_cache(maxsize=1)
def _noise(shape: tuple[int, ...]) -> Float[Array, "h w 3"]:
    return NOISE_LEVEL * np.random.default_rng(0).standard_normal(shape, np.float32)


def thinned_mesh(dataset: ArkitFace, key: str, count: int = ARKIT_VERTICES) -> ThinnedMesh:
    """So many vertices of the samples' mesh, evenly spread and symmetric; the 68 landmarks stay."""
    detail = dataset.detail(key)
    sample = detail.sample
    in_cam = detail.meshes[0].vertices_m - sample.t_cam_from_head_mm / 1000.0
    face = in_cam @ sample.R_cam_from_head
    flip, landmarks = dataset.flip_index(), read_topology(dataset.files).landmark_68_ids
    ids = _spread_ids(face, flip, landmarks, count)
    place = np.full(len(face), -1)
    place[ids] = np.arange(count)
    return ThinnedMesh(ids, _triangles(face[ids]), place[landmarks], place[flip[ids]])


def _spread_ids(
    face: Float[Array, "v 3"], flip: Int[Array, "v"], first: Int[Array, "n"], count: int
) -> Int[Array, "k"]:
    """The first ones, then one by one the vertex farthest from all, each with its mirror image."""
    chosen = {int(k) for k in np.concatenate([first, flip[first]])}
    distance = np.min([np.linalg.norm(face - face[k], axis=1) for k in chosen], axis=0)
    while len(chosen) < count:
        allowed = distance if count - len(chosen) > 1 else np.where(_on_middle(flip), distance, 0)
        farthest = int(allowed.argmax())
        for k in {farthest, int(flip[farthest])}:
            chosen.add(k)
            distance = np.minimum(distance, np.linalg.norm(face - face[k], axis=1))
    return np.sort(np.array(list(chosen)))


def _on_middle(flip: Int[Array, "v"]) -> Array:
    return flip == np.arange(len(flip))


def _triangles(face: Float[Array, "v 3"]) -> Int[Array, "f 3"]:
    """Of the unrolled face, without those across its holes; counter-clockwise from outside."""
    gl = face @ GL_FROM_CV
    flat = np.stack([np.arctan2(gl[:, 0], gl[:, 2] + _UNROLL_ABOUT_Z_M) * 0.12, gl[:, 1]], -1)
    triangles = Delaunay(flat).simplices.astype(np.int64)
    corners = flat[triangles]
    (ax, ay), (bx, by) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    turned = ax * by - ay * bx < 0
    triangles[turned] = triangles[turned][:, ::-1]
    edges = np.linalg.norm(face[triangles] - face[np.roll(triangles, 1, 1)], axis=-1)
    return triangles[edges.max(1) < LONGEST_EDGE_M]
