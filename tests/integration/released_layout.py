"""An imitation of ARKitFace with a topology of 1220 vertices, made of the bundled samples."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
ARKITFACE = ROOT / "assets" / "samples" / "arkitface"
LP = ROOT / "assets" / "samples" / "300w-lp"
N_VERTICES, N_TRIANGLES = 1220, 2304


def write_arkitface_1220(out: Path) -> Path:
    """The bundled samples with some of their vertices, in the layout of TRG's authors."""
    shutil.copytree(ARKITFACE, out)
    resources = out / "ARKitFace_resources"
    landmarks, flip = np.load(resources / "kpt_ind.npy"), np.load(out / "flip_index.npy")
    kept = _kept_vertices(landmarks, flip)
    new_of_old = np.full(len(flip), -1)
    new_of_old[kept] = np.arange(len(kept))
    vertices = np.array(
        [
            line.split()[1:4]
            for line in (resources / "example.obj").read_text().splitlines()
            if line.startswith("v ")
        ]
    )
    triangles = np.random.default_rng(0).permuted(
        np.tile(np.arange(N_VERTICES), (N_TRIANGLES, 1)), axis=1
    )[:, :3]
    text = [f"v {' '.join(row)}" for row in vertices[kept]]
    text += [f"f {a} {b} {c}" for a, b, c in triangles + 1]
    (resources / "example.obj").write_text("\n".join(text) + "\n")
    np.save(resources / "kpt_ind.npy", new_of_old[landmarks])
    np.save(out / "flip_index.npy", new_of_old[flip[kept]])
    for path in out.rglob("*_info.npz"):
        with np.load(path) as labels:
            arrays = dict(labels)
        np.savez(path, **{**arrays, "verts": arrays["verts"][kept]})
    return out


def _kept_vertices(landmarks: np.ndarray, flip: np.ndarray) -> np.ndarray:
    """Landmarks and their mirror images, then pairs until there are enough."""
    kept = set(landmarks.tolist()) | set(flip[landmarks].tolist())
    for vertex, mirror in enumerate(flip.tolist()):
        if vertex != mirror and len(kept) <= N_VERTICES - 2:
            kept |= {vertex, mirror}
    for vertex in np.flatnonzero(flip == np.arange(len(flip))).tolist():
        if len(kept) < N_VERTICES:
            kept.add(vertex)
    assert len(kept) == N_VERTICES
    return np.array(sorted(kept))
