"""The sample set in BIWI's format: it can be made again, and its labels are true."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from models.flame.open_head import HeadAssets
from models.geometry.conventions import BIWI_ORIGIN_HEAD_MM
from models.geometry.rotations import geodesic_deg
from viewer.datasets.biwi import Biwi
from viewer.datasets.biwi_files import read_calibration
from viewer.synthesis import biwi_set
from viewer.synthesis.biwi_set import SEQUENCES, write_biwi_set
from viewer.synthesis.painted_head import build_painted_head
from viewer.synthesis.rasterizer import rasterize

SAMPLES = Path(__file__).resolve().parents[4] / "assets" / "samples" / "biwi"


@pytest.fixture(scope="module")
def bundled() -> Biwi:
    return Biwi(SAMPLES)


def test_the_maker_makes_the_bundled_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled: Biwi
) -> None:
    monkeypatch.setattr(biwi_set, "SEQUENCES", SEQUENCES[:1])
    write_biwi_set(tmp_path)
    made = Biwi(tmp_path)
    for key in made.list_samples().keys:
        for ending in ("pose.txt", "depth.bin"):
            name = f"hpdb/{key}_{ending}"
            assert (tmp_path / name).read_bytes() == (SAMPLES / name).read_bytes()
        images = [one.read(key).read_image_rgb().astype(int) for one in (made, bundled)]
        assert np.abs(images[0] - images[1]).mean() < 2
    for name in ("91.obj", "91/rgb.cal", "91/depth.cal"):
        assert (tmp_path / "hpdb" / name).read_text() == (SAMPLES / "hpdb" / name).read_text()


def test_the_bundled_set_is_whole_and_small(bundled: Biwi) -> None:
    listing = bundled.list_samples()
    assert len(listing.keys) == 30 and not listing.problems
    assert any("None of them is one of BIWI's" in note for note in listing.notes)
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) < 3_000_000
    calibrations = [read_calibration(SAMPLES / "hpdb" / s.name / "rgb.cal") for s in SEQUENCES]
    turns = [geodesic_deg(c.R_cam_from_depth, np.eye(3)) for c in calibrations]
    assert min(turns) > 0.9 and abs(turns[0] - turns[1]) > 0.3


def test_neighbours_differ_by_little(bundled: Biwi) -> None:
    samples = [bundled.read(key) for key in bundled.list_samples().keys]
    R = np.array([sample.R_cam_from_head for sample in samples])
    same = np.array([a.sequence == b.sequence for a, b in pairwise(samples)])
    assert geodesic_deg(R[:-1], R[1:])[same].max() < 8


@pytest.mark.parametrize("key", ["91/frame_00003", "91/frame_00016", "92/frame_00021"])
def test_its_labels_are_true(head: HeadAssets, bundled: Biwi, key: str) -> None:
    """Painted, drawn and read are the same head: mesh, depth and points."""
    detail = bundled.detail(key)
    sample, (mesh,) = detail.sample, detail.meshes
    seed = next(one.seed for one in SEQUENCES if one.name == sample.sequence)
    painted = build_painted_head(seed)
    R, t_mm = sample.R_cam_from_head, sample.t_cam_from_head_mm
    vertices_m = painted.vertices_head_m @ R.T + t_mm / 1000
    count = head.head_vertex_count
    assert mesh.vertices_m.shape == (count, 3) == (4834, 3)
    assert np.abs(mesh.vertices_m - vertices_m[:count]).max() < 2e-6
    (points,) = detail.points_px.values()
    true = sample.camera.project(painted.landmarks_68_head_m @ R.T + t_mm / 1000)
    assert 0.5 < np.abs(points - true).mean() < 2
    raster = rasterize(vertices_m, painted.triangles, sample.camera)
    surface_m = np.zeros(sample.camera.size_wh_px[::-1])
    surface_m[raster.rows, raster.columns] = raster.depth_m
    column, row = np.floor(sample.camera.project(detail.depth_cam_m)).astype(int).T
    seen = (column >= 0) & (column < 640) & (row >= 0) & (row < 480)
    off_m = detail.depth_cam_m[seen, 2] - surface_m[row[seen], column[seen]]
    assert np.median(np.abs(off_m)) < 0.001 and (np.abs(off_m) < 0.005).mean() > 0.9
    own_centre = detail.other_poses[1].t_cam_from_head_mm
    assert np.allclose(own_centre - t_mm, R @ BIWI_ORIGIN_HEAD_MM)
    assert any("4,834 vertices" in note for note in detail.notes)
