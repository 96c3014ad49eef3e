"""The bundled MICA set: the same again, but for the last digit that another machine may round."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.weights import REPOSITORY_ROOT
from viewer.datasets.mica_files import read_obj
from viewer.synthesis.mica_samples import write_mica_samples

BUNDLED = REPOSITORY_ROOT / "assets" / "samples" / "mica"


def test_the_bundled_set_is_what_the_program_makes(tmp_path: Path) -> None:
    write_mica_samples(tmp_path)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    there = sorted(path.relative_to(BUNDLED) for path in BUNDLED.rglob("*") if path.is_file())
    assert made == there
    for name in (path for path in made if path.suffix == ".npz"):
        assert (tmp_path / name).read_bytes() == (BUNDLED / name).read_bytes(), name
    for name in (path for path in made if path.suffix == ".obj"):
        again, bundled = read_obj(tmp_path / name), read_obj(BUNDLED / name)
        assert np.abs(again.vertices - bundled.vertices).max() < 1.5e-5
        assert np.array_equal(again.triangles, bundled.triangles)
