"""The sample sets in the formats of ARKitFace, 300W-LP and AFLW2000: complete, read, and true."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from models.geometry.rotations import geodesic_deg, ypr_300wlp_from_matrix
from viewer.datasets.aflw2000 import AFLW_21
from viewer.datasets.registry import bundled_root, open_dataset
from viewer.datasets.three_hundred_w_lp import FLIP, mirrored_68_px, twin_of
from viewer.synthesis.arkitface_samples import draw_sample, face_cut, sample_rows
from viewer.synthesis.weak_perspective_samples import draw_aflw, draw_view

MAX_BYTES = 1_250_000
COUNTS = {"arkitface": 32, "300w-lp": 36, "aflw2000": 40}


@pytest.mark.parametrize("name", COUNTS)
def test_every_sample_is_read(name: str) -> None:
    root = bundled_root(name)
    dataset = open_dataset(name, root)
    listing = dataset.list_samples()
    assert len(listing.keys) == COUNTS[name] and listing.problems == ()
    side = 800 if name == "arkitface" else 450
    for key in listing.keys:
        sample = dataset.read(key)
        R = sample.R_cam_from_head
        assert np.abs(R @ R.T - np.eye(3)).max() < 1e-6 and np.linalg.det(R) > 0
        assert sample.dataset == name and sample.key == key
        assert (sample.landmarks_68_px > 0).all() and (sample.landmarks_68_px < side).all()
        # the nose is on the side that the yaw says
        yaw = ypr_300wlp_from_matrix(R).yaw_deg
        aside = sample.landmarks_68_px[30, 0] - sample.landmarks_68_px[36:48, 0].mean()
        assert abs(yaw) < 12 or np.sign(aside) == -np.sign(yaw)
    assert dataset.read(listing.keys[-1]).read_image_rgb().shape == (side, side, 3)
    assert sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) < MAX_BYTES


def test_arkitface_splits_no_person_and_jumps_nowhere() -> None:
    dataset = open_dataset("arkitface", bundled_root("arkitface"))
    samples = [dataset.read(key) for key in dataset.list_samples().keys]
    splits = {
        sample.subject: {s.split for s in samples if s.subject == sample.subject}
        for sample in samples
    }
    assert len(splits) == 4 and all(len(split) == 1 for split in splits.values())
    assert {sample.split for sample in samples} == {"train", "test"}
    for before, after in pairwise(samples):
        if before.sequence == after.sequence:
            assert before.frame < after.frame
            assert geodesic_deg(before.R_cam_from_head, after.R_cam_from_head) < 9
        assert 300 < after.t_cam_from_head_mm[2] < 700


def test_arkitface_mesh_lies_on_the_picture() -> None:
    dataset = open_dataset("arkitface", bundled_root("arkitface"))
    row = sample_rows()[0]
    detail = dataset.detail(row.key)
    image, verts, R_t = draw_sample(row)
    shown = detail.sample.read_image_rgb().astype(int)
    assert np.abs(shown - image).mean() < 4, "the maker draws the same picture again"
    S = np.diag([1.0, -1, -1])
    assert np.allclose(
        detail.meshes[0].vertices_m, (verts @ R_t[:3, :3] + R_t[3, :3]) @ S, atol=1e-6
    )
    assert len(detail.meshes[0].triangles) == len(face_cut().triangles)
    (note,) = detail.notes
    assert note.startswith("Not ARKit's topology")
    flip_index = dataset.flip_index()
    assert np.array_equal(flip_index[flip_index], np.arange(len(verts)))
    mirrored = np.linalg.norm(verts[flip_index] * [-1, 1, 1] - verts, axis=1)
    assert np.median(mirrored) < 0.004, "up to the person's own asymmetry"


def test_300w_lp_twins_are_mirrors() -> None:
    dataset = open_dataset("300w-lp", bundled_root("300w-lp"))
    keys = dataset.list_samples().keys
    twins = [key for key in keys if FLIP in key]
    assert len(twins) == 12 and all(twin_of(key) in keys for key in twins)
    D = np.diag([-1.0, 1, 1])
    for key in twins:
        twin, own = dataset.read(key), dataset.read(twin_of(key))
        assert twin.group == own.group
        assert np.allclose(twin.R_cam_from_head, D @ own.R_cam_from_head @ D, atol=1e-9)
        assert np.allclose(twin.landmarks_68_px, mirrored_68_px(own.landmarks_68_px, 450))
    picture = dataset.read(twins[0]).read_image_rgb().astype(int)
    original = dataset.read(twin_of(twins[0])).read_image_rgb()
    assert np.abs(picture - original[:, ::-1]).mean() < 2
    assert set(dataset.detail(twins[0]).points_px) == {"pts_2d", "pts_3d"}


def test_300w_lp_views_turn_and_move_their_points() -> None:
    dataset = open_dataset("300w-lp", bundled_root("300w-lp"))
    views = [dataset.read(f"AFW/AFW_100101_1_{view}") for view in range(4)]
    yaws = [abs(ypr_300wlp_from_matrix(view.R_cam_from_head).yaw_deg) for view in views]
    assert np.allclose(np.diff(yaws), 12, atol=1e-3)
    for before, after in pairwise(views):
        assert np.abs(before.landmarks_68_px - after.landmarks_68_px).max() > 5


@pytest.mark.parametrize("name", ["300w-lp", "aflw2000"])
def test_the_maker_gives_the_same_labels_again(name: str) -> None:
    dataset = open_dataset(name, bundled_root(name))
    key = {"300w-lp": "HELEN/HELEN_200103_1_1", "aflw2000": "image00008"}[name]
    made = draw_view(2, 1) if name == "300w-lp" else draw_aflw(3)
    detail = dataset.detail(key)
    assert np.abs(detail.sample.read_image_rgb().astype(int) - made.image_rgb).mean() < 4
    assert np.allclose(detail.sample.landmarks_68_px, made.landmarks_68.T - 0.5, atol=1e-4)


def test_aflw2000_hides_what_is_not_seen() -> None:
    dataset = open_dataset("aflw2000", bundled_root("aflw2000"))
    hidden = []
    for key in dataset.list_samples().keys:
        detail = dataset.detail(key)
        points = detail.points_px[AFLW_21]
        seen = np.isfinite(points).all(1)
        yaw = ypr_300wlp_from_matrix(detail.sample.R_cam_from_head).yaw_deg
        if abs(yaw) > 30:  # the ear on the far side
            assert not seen[12 if yaw > 0 else 16]
        hidden.append(int((~seen).sum()))
        # the corners of the eyes and the mouth are landmarks of both kinds
        both = np.array([[6, 36], [11, 45], [17, 48], [19, 54]])
        both = both[seen[both[:, 0]]]
        landmarks = detail.sample.landmarks_68_px[both[:, 1]]
        assert np.allclose(points[both[:, 0]], landmarks, atol=1e-3)
    assert 0 < max(hidden) < 15 and min(hidden) < 3
    assert len(set(map(str, dataset.list_samples().keys))) == 40
