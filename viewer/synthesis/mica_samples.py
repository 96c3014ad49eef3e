"""A small set in MICA's own layout, made from the open head: no fit of anybody is in it.

The persons are random ones of the open head. As in MICA a registration shows more than its
parameters: the mesh has all of a person's coefficients, the parameters the first few.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from models.flame.open_head import load_open_head
from viewer.datasets.mica_files import EXPRESSION_COUNT, POSE_COUNT, SHAPE_COUNT
from viewer.datasets.mica_layout import PARAMETERS, REGISTRATIONS

Array = np.ndarray

SUBSETS = {"OPENHEAD_A": 3, "OPENHEAD_B": 2}
"""Made-up names: these are none of MICA's eight subsets."""

FITTED_COUNT = 30
MODERATION, LARGEST_SD = 0.8, 2.5
ZIP_TIME = (2024, 1, 1, 0, 0, 0)


def write_mica_samples(root: Path | str, seed: int = 7) -> None:
    """Every subset's parameters and registrations below the folder."""
    head, rng = load_open_head(), np.random.default_rng(seed)
    usual = MODERATION * head.shape_samples
    usual = usual[np.abs(usual).max(1) < LARGEST_SD]
    chosen = iter(usual[rng.choice(len(usual), sum(SUBSETS.values()), replace=False)])
    for subset, persons in SUBSETS.items():
        for number in range(1, persons + 1):
            actor, shape = f"{subset[-1]}{number:03d}", next(chosen)
            vertices_m = head.vertices_m(shape)
            folders = [Path(root) / subset / kind / actor for kind in (PARAMETERS, REGISTRATIONS)]
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            betas = np.zeros(SHAPE_COUNT + EXPRESSION_COUNT)
            betas[:FITTED_COUNT] = shape[:FITTED_COUNT]
            write_parameters(folders[0] / f"{actor}_neutral.npz", betas, np.zeros(POSE_COUNT))
            write_obj(folders[1] / f"{actor}_neutral.obj", vertices_m, head.triangles)


def write_parameters(path: Path, betas: Float[Array, "k"], pose_rad: Float[Array, "p"]) -> None:
    """An .npz as MICA's, single precision; the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in (("pose", pose_rad), ("betas", betas)):
            content = io.BytesIO()
            np.save(content, array.astype(np.float32))
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", ZIP_TIME), content.getvalue())


def write_obj(path: Path, vertices_m: Float[Array, "v 3"], triangles: Int[Array, "f 3"]) -> None:
    """A Wavefront file in metres, to a hundredth of a millimetre."""
    lines = ["# made from the open head: not FLAME topology"]
    lines += ["v " + " ".join(f"{x:.5f}" for x in vertex) for vertex in vertices_m]
    lines += ["f " + " ".join(str(i + 1) for i in triangle) for triangle in triangles]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
