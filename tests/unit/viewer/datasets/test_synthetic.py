"""The synthetic data set comes back from disk as it was written, and says what is wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.spatial.transform import Rotation

from models.weights import T_HEAD_FROM_TRG_MINI
from viewer.datasets.synthetic import SyntheticDataset, read_synthetic
from viewer.datasets.synthetic_format import (
    SyntheticDataError,
    SyntheticInfo,
    read_info,
    shard_path,
)
from viewer.datasets.synthetic_writer import SyntheticWriter, encode_head

COUNT, SHARD_ROWS = 12, 5


@pytest.fixture(scope="module")
def root(tmp_path_factory, write_dataset):
    return write_dataset(tmp_path_factory.mktemp("set"), COUNT, SHARD_ROWS)


@pytest.fixture
def info():
    return SyntheticInfo(0, COUNT, "test", 256, "0" * 64, SHARD_ROWS)


def test_every_row_comes_back_by_iteration_and_by_number(root, make_head):
    dataset = SyntheticDataset(root)
    heads = list(read_synthetic(root))
    assert len(dataset) == len(heads) == COUNT
    for k, head in enumerate(heads):
        made = make_head(k)
        assert head.key == dataset[k].key == made.key
        assert (head.person, head.tags, head.is_face) == (made.person, made.tags, True)
        np.testing.assert_array_equal(head.visible_468, made.visible_468)
        for name in ("identity", "expression", "eye_angles_deg"):
            np.testing.assert_allclose(getattr(head, name), getattr(made, name), atol=1e-5)


def test_labels_project_to_the_same_pixels(root, make_head):
    for k, head in enumerate(read_synthetic(root)):
        error_px = head.landmarks_468_px() - make_head(k).landmarks_468_px()
        assert np.abs(error_px).max() < 0.01
        assert head.camera.size_wh_px == (256, 256)


def test_mask_is_exact_and_depth_to_a_twentieth_millimetre(root, make_head):
    for k, head in enumerate(read_synthetic(root)):
        made = make_head(k)
        np.testing.assert_array_equal(head.mask, made.mask)
        assert (head.depth_m is None) == (made.depth_m is None)
        if made.depth_m is not None:
            assert np.abs(head.depth_m - made.depth_m).max() < 0.0502e-3
            np.testing.assert_array_equal(head.depth_m == 0, made.depth_m == 0)


def test_the_picture_keeps_its_colours_in_rgb_order(root, make_head):
    for k, head in enumerate(read_synthetic(root)):
        difference = head.image_rgb.astype(float) - make_head(k).image_rgb
        assert np.sqrt((difference**2).mean()) < 4


def test_training_reads_pictures_and_poses_but_no_mask(root, monkeypatch):
    dataset = SyntheticDataset(root)
    wanted = [dataset[k] for k in (0, 6, COUNT - 1)]
    monkeypatch.setattr("viewer.datasets.synthetic._decoded_gray", None)
    for head, k in zip(wanted, (0, 6, COUNT - 1), strict=True):
        posed = dataset.posed_picture(k)
        np.testing.assert_array_equal(posed.image_rgb, head.image_rgb)
        np.testing.assert_array_equal(posed.R_cam_from_head, head.R_cam_from_head)
        np.testing.assert_array_equal(posed.t_cam_from_head_mm, head.t_cam_from_head_mm)
        assert dataset.tags_of_row[k] == head.tags
        np.testing.assert_array_equal(posed.landmarks_468_head_m, head.landmarks_468_head_m)
        np.testing.assert_array_equal(posed.camera.K_image_from_cam, head.camera.K_image_from_cam)


def test_the_whole_mesh_carries_the_landmarks(root, head_model):
    head = SyntheticDataset(root)[3]
    landmarks = head_model.landmarks_468_m(head.vertices_head_m(head_model))
    np.testing.assert_allclose(landmarks, head.landmarks_468_head_m, atol=1e-6)


def test_the_whole_mesh_has_gaze_and_neck_of_the_label(root, head_model):
    """Eyes turned by SciPy about their middles, the lowest ring of the neck about its joint."""
    looks, turn = np.array([[20.0, -5.0], [-8.0, 12.0]]), np.radians([0.0, 35.0, 0.0])
    body = Rotation.from_rotvec(turn).as_matrix()
    straight = replace(SyntheticDataset(root)[3], eye_angles_deg=np.zeros((2, 2)))
    posed = replace(straight, eye_angles_deg=looks, body_from_head=body)
    T = T_HEAD_FROM_TRG_MINI
    before, after = (
        (head.vertices_head_m(head_model) - T[:3, 3]) @ T[:3, :3] for head in (straight, posed)
    )
    for name, (yaw, pitch) in zip(("eye_l", "eye_r"), looks, strict=True):
        ids = np.unique(head_model.triangles_of(name))
        middle = before[ids].mean(0)
        turned = Rotation.from_euler("YX", [yaw, -pitch], degrees=True).apply(before[ids] - middle)
        np.testing.assert_allclose(after[ids], turned + middle, atol=2e-4)
        assert np.linalg.norm(after[ids] - before[ids], axis=1).max() > 0.003
    all_neck = np.flatnonzero(head_model.skinning_weights[:, 0] > 0.999)
    joint = head_model.joint_regressor[0] @ before
    wanted = (before[all_neck] - joint) @ body.T + joint
    np.testing.assert_allclose(after[all_neck], wanted, atol=1e-4)
    rest = head_model.skinning_weights[:, 0] == 0
    rest[np.unique(np.r_[head_model.triangles_of("eye_l"), head_model.triangles_of("eye_r")])] = 0
    np.testing.assert_allclose(after[rest], before[rest], atol=1e-12)


def test_gaze_neck_and_focal_length_come_back(tmp_path, info, make_head):
    body = Rotation.from_rotvec([0.1, 0.4, 0.0]).as_matrix()
    looks = np.array([[20.0, -5.0], [-8.0, 12.0]])
    writer = SyntheticWriter(tmp_path, replace(info, count=1))
    posed = {"body_from_head": body, "eye_angles_deg": looks, "whole_focal_px": 1234.0}
    writer.write_shard(0, [replace(make_head(0), **posed)])
    found = SyntheticDataset(tmp_path)[0]
    np.testing.assert_allclose(found.body_from_head, body, atol=1e-6)
    np.testing.assert_allclose(found.eye_angles_deg, looks, atol=1e-5)
    assert found.whole_focal_px == 1234.0


def test_a_set_from_before_neck_and_focal_length_were_stored_is_read(root, tmp_path):
    for path in root.iterdir():
        shutil.copy(path, tmp_path)
    for path in tmp_path.glob("*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["body_from_head", "whole_focal_px"]), path)
    for old, new in zip(read_synthetic(tmp_path), read_synthetic(root), strict=True):
        np.testing.assert_array_equal(old.body_from_head, np.eye(3))
        assert old.whole_focal_px == 0.0
        np.testing.assert_array_equal(old.identity, new.identity)


def test_persons_can_be_split(root):
    dataset = SyntheticDataset(root)
    assert dataset.persons() == ("female/0", "female/1", "female/2")
    assert dataset.rows_of_persons(["female/0", "female/2"]).tolist() == [0, 1, 2, 3, 8, 9, 10, 11]
    with pytest.raises(IndexError):
        dataset[COUNT]


def test_a_killed_run_goes_on_with_the_missing_shards(tmp_path, info, make_head):
    writer = SyntheticWriter(tmp_path, info)

    def dies_after_two(rows):
        yield make_head(rows[0])
        yield make_head(rows[1])
        raise KeyboardInterrupt

    writer.write_shard(1, map(make_head, info.rows_of_shard(1)))
    with pytest.raises(KeyboardInterrupt):
        writer.write_shard(0, dies_after_two(info.rows_of_shard(0)))
    assert SyntheticWriter(tmp_path, info).missing_shards() == [0, 2]
    with pytest.raises(SyntheticDataError, match="has 1 of its 3 shards"):
        SyntheticDataset(tmp_path)
    assert SyntheticDataset(tmp_path, allow_partial=True)[0].key == "test/0/5"
    with pytest.raises(SyntheticDataError, match="has 2 rows, got 5"):
        writer.write_shard(2, map(make_head, range(5)))
    for shard in (0, 2):
        writer.write_shard(shard, map(make_head, info.rows_of_shard(shard)))
    assert writer.missing_shards() == []
    assert [head.key for head in read_synthetic(tmp_path)] == [f"test/0/{k}" for k in range(COUNT)]


def test_the_same_heads_give_the_same_bytes(tmp_path, write_dataset):
    first, second = (write_dataset(tmp_path / name, 3) for name in "ab")
    assert shard_path(first, 0).read_bytes() == shard_path(second, 0).read_bytes()


def test_other_settings_are_refused(tmp_path, info):
    SyntheticWriter(tmp_path, info)
    other = SyntheticInfo(1, COUNT, "test", 256, "0" * 64, SHARD_ROWS)
    with pytest.raises(SyntheticDataError, match=r"other settings \(seed: 0, not 1\)"):
        SyntheticWriter(tmp_path, other)


def test_what_else_the_pictures_follow_from_counts_too(tmp_path, info):
    with_depth = replace(info, made_with={"depth": True, "negatives": 0.1})
    SyntheticWriter(tmp_path, with_depth)
    assert read_info(tmp_path) == with_depth
    SyntheticWriter(tmp_path, replace(info, made_with={"negatives": 0.1, "depth": True}))
    other = replace(info, made_with={"depth": True, "negatives": 0.4})
    with pytest.raises(SyntheticDataError, match=r"\(negatives: 0\.1, not 0\.4\)"):
        SyntheticWriter(tmp_path, other)
    with pytest.raises(SyntheticDataError, match=r"negatives: 0\.1, not unknown"):
        SyntheticWriter(tmp_path, info)


def test_a_folder_that_is_no_data_set(tmp_path):
    with pytest.raises(SyntheticDataError, match=r"no dataset\.json"):
        SyntheticDataset(tmp_path)


def test_another_format_version(tmp_path, info):
    SyntheticWriter(tmp_path, info)
    path = tmp_path / "dataset.json"
    content = json.loads(path.read_text()) | {"format": "trg-studio synthetic 2"}
    path.write_text(json.dumps(content))
    with pytest.raises(SyntheticDataError, match="synthetic 2"):
        read_info(tmp_path)
    path.write_text("{")
    with pytest.raises(SyntheticDataError, match="damaged"):
        read_info(tmp_path)
    path.write_text(json.dumps(content | {"format": "trg-studio synthetic 1", "seed": "x"}))
    with pytest.raises(SyntheticDataError, match="seed is 'x'"):
        read_info(tmp_path)


def test_a_truncated_shard(tmp_path, write_dataset, info):
    root = write_dataset(tmp_path, COUNT, SHARD_ROWS)
    path = shard_path(root, 1)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SyntheticDataError, match=r"shard-00001\.parquet is damaged"):
        SyntheticDataset(root)
    assert SyntheticWriter(root, info).missing_shards() == [1]


def test_a_head_that_cannot_be_stored(make_head):
    head = make_head(0)
    head.depth_m[0, 0] = 7.0
    with pytest.raises(SyntheticDataError, match=r"6\.55 m"):
        encode_head(head)
