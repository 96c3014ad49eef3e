"""Batches of any mix: the same for a step however they are made; every sample in its turn."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.io import loadmat

from models.trg.config import TrgConfig
from models.weights import REPOSITORY_ROOT, T_HEAD_FROM_TRG
from viewer.datasets.arkitface import ArkitFace
from viewer.datasets.arkitface_resources import read_topology
from viewer.datasets.augment import Recrop
from viewer.datasets.augment_config import AugmentConfig, TrgAugmentConfig
from viewer.datasets.face_crops import crop_face
from viewer.datasets.network_input import NetworkInput
from viewer.datasets.pose_batches import PoseBatches, build_batches, validation_batches
from viewer.datasets.registry import SAMPLES_ROOT, open_dataset
from viewer.datasets.source import DatasetError
from viewer.datasets.synthetic import SyntheticDataset
from viewer.datasets.training_faces import SyntheticFaces, TrainingFace, rotation_to_ray
from viewer.datasets.training_parts import open_part, validation_groups
from viewer.datasets.weak_perspective import MIRROR_68
from viewer.mica.arcface import align_face

Array = np.ndarray


@dataclass(frozen=True)
class Part:
    """As demo_app.run_config.DataPart."""

    dataset: str
    root: Path
    weight: float = 1.0
    split: str = "train"
    limit: int | None = None


def sample(name: str, **changes: object) -> Part:
    return Part(name, SAMPLES_ROOT / name, **changes)


@pytest.fixture(scope="module")
def trg_target() -> NetworkInput:
    """For a network like the released one on the samples' mesh."""
    dataset = ArkitFace(SAMPLES_ROOT / "arkitface")
    flip, topology = dataset.flip_index(), read_topology(dataset.files)
    config = replace(TrgConfig.released(), n_vertices=len(flip))
    return NetworkInput(config, T_HEAD_FROM_TRG, flip, topology.landmark_68_ids)


@pytest.fixture(scope="module")
def heads(tmp_path_factory, write_dataset) -> Path:
    """Eight heads in split train, two negatives in split none."""
    root = tmp_path_factory.mktemp("heads")
    write_dataset(root / "train", 8)
    write_dataset(root / "none", 2, is_face=False)
    return root


@pytest.fixture(scope="module")
def mix(heads, target) -> PoseBatches:
    parts = [Part("synthetic", heads), Part("synthetic", heads, 3.0, "none"), sample("300w-lp")]
    return build_batches(parts, target, AugmentConfig(), batch_size=6, seed=5)


@pytest.fixture(scope="module")
def trg_mix(trg_target) -> PoseBatches:
    parts = [sample(name) for name in ("arkitface", "300w-lp", "biwi")]
    return build_batches(parts, trg_target, TrgAugmentConfig(), batch_size=8, seed=5)


def same(a, b) -> bool:
    return all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def joined(batches, name: str) -> torch.Tensor:
    return torch.cat([getattr(batch, name) for batch in batches])


@pytest.mark.parametrize("recipe", ["mix", "trg_mix"])
def test_processes_share_the_very_batches_of_one(recipe, request) -> None:
    whole = request.getfixturevalue(recipe)
    expected = list(whole.batches(3, 5))
    assert not same(*expected) and same(whole[3], expected[0])
    for world in (3,):
        shares = [list(whole.batches(3, 5, rank=rank, world=world)) for rank in range(world)]
        for step in range(2):
            for f in fields(expected[step]):
                parts = joined([share[step] for share in shares], f.name)
                assert torch.equal(parts, getattr(expected[step], f.name)), f.name
    with pytest.raises(ValueError, match="share"):
        next(iter(whole.batches(rank=2, world=2)))


def test_workers_give_the_same_batches_after_opencv_used_threads(mix) -> None:
    threads_before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        cv2.GaussianBlur(np.zeros((3000, 3000, 3), np.uint8), (0, 0), 3)
        state = torch.get_rng_state()
        made = list(mix.batches(3, 6, workers=2))
        assert cv2.getNumThreads() == 2
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        cv2.setNumThreads(threads_before)
    expected = list(mix.batches(3, 6))
    assert len(made) == 3 and all(same(a, b) for a, b in zip(made, expected, strict=True))


def test_workers_end_with_the_iterator(mix) -> None:
    iterator = mix.batches(workers=1)
    next(iterator)
    assert multiprocessing.active_children()
    iterator.close()
    assert not multiprocessing.active_children()


def test_an_epoch_has_every_sample_as_often_as_its_weight_says(mix, heads, target) -> None:
    """8 faces once, 2 negatives three times, 36 pictures once; in another order each time."""
    assert mix.samples_per_epoch == 8 + 6 + 36
    epochs = [[mix.row_of(50 * epoch + k) for k in range(50)] for epoch in range(3)]
    for drawn in epochs:
        counts = Counter(drawn)
        assert sorted(counts) == [(p, r) for p, n in ((0, 8), (1, 2), (2, 36)) for r in range(n)]
        assert {counts[1, 0], counts[1, 1]} == {3} and {counts[2, r] for r in range(36)} == {1}
    assert epochs[0] != epochs[1]
    part = Part("synthetic", heads, 0.5)
    half = build_batches([part], target, AugmentConfig(), batch_size=3, seed=0)
    assert half.samples_per_epoch == 4
    assert sorted(half.row_of(k)[1] for k in range(8)) == list(range(8))


def test_what_is_known_of_each_data_set(trg_mix) -> None:
    batches = list(trg_mix.batches(0, 6))
    has_3d, rotation, translation = (
        joined(batches, f"has_{name}") for name in ("3d", "rotation", "translation")
    )
    f_px = joined(batches, "K_image_from_cam")[:, 0, 0]
    weak, arkit = f_px == 5000.0, (f_px - 629.775).abs() < 0.01
    assert weak.sum() and arkit.sum() and (~weak & ~arkit).sum()
    assert torch.equal(has_3d, arkit)
    assert torch.equal(rotation, ~weak) and torch.equal(translation, ~weak)
    landmarks = joined(batches, "landmarks_68_crop")
    assert (landmarks[~weak][..., 2] == 1).all() and landmarks[weak][..., 2].mean() > 0.7
    assert all(torch.isfinite(joined(batches, f.name).float()).all() for f in fields(batches[0]))


def test_fixed_batches_are_exact_and_complete(trg_target) -> None:
    """Every face once for any number of processes; the pose is that of the reader."""
    parts = [sample("arkitface", split="test"), sample("biwi", split="train+validation", limit=3)]
    whole = list(validation_batches(parts, trg_target, batch_size=5))
    assert [len(batch) for batch in whole] == [5, 5, 1]
    t_m = joined(whole, "t_cam_from_model_m").double().numpy()
    R = joined(whole, "R_cam_from_model").double().numpy()
    arkit = open_dataset("arkitface", SAMPLES_ROOT / "arkitface")
    keys = [key for key in arkit.list_samples().keys if key.startswith("test/")]
    for k, key in enumerate(keys):
        detail = arkit.detail(key)
        np.testing.assert_allclose(R[k], detail.sample.R_cam_from_head, atol=1e-6)
        np.testing.assert_allclose(1000 * t_m[k], detail.sample.t_cam_from_head_mm, atol=1e-3)
        vertices = whole[k // 5].vertices_model_m[k % 5].double().numpy()
        np.testing.assert_allclose(
            vertices @ R[k].T + t_m[k], detail.meshes[0].vertices_m, atol=1e-6
        )
    shares = [list(validation_batches(parts, trg_target, rank=r, world=2)) for r in range(2)]
    assert sum(len(batch) for share in shares for batch in share) == 11
    seen = {tuple(t) for share in shares for t in joined(share, "t_cam_from_model_m").tolist()}
    assert seen == {tuple(t) for t in joined(whole, "t_cam_from_model_m").tolist()}
    with pytest.raises(DatasetError, match="no poses"):
        list(validation_batches([sample("300w-lp")], trg_target))


def test_fixed_batches_of_renders_are_in_the_networks_frame(heads, make_head, target) -> None:
    (batch,) = validation_batches([Part("synthetic", heads)], target)
    T = np.linalg.inv(target.T_head_from_model)
    for k in range(6):
        head = make_head(k)
        vertices = head.landmarks_468_head_m @ T[:3, :3].T + T[:3, 3]
        np.testing.assert_allclose(batch.vertices_model_m[k].numpy(), vertices, atol=1e-6)
        in_camera = batch.vertices_model_m[k] @ batch.R_cam_from_model[k].T
        in_camera = (in_camera + batch.t_cam_from_model_m[k]).double().numpy()
        error_px = head.camera.project(in_camera) - head.landmarks_468_px()
        assert np.abs(error_px).max() < 0.01


def test_splits_share_nobody() -> None:
    for name, of in (("arkitface", lambda key: key.split("/")[1]), ("biwi", lambda k: k[:2])):
        parts = {s: open_part(sample(name, split=s), as_released=True).keys for s in ("train",)}
        parts |= {
            s: open_part(sample(name, split=s), as_released=True).keys
            for s in ("validation", "train+validation")
        }
        people = {split: {of(key) for key in keys} for split, keys in parts.items()}
        assert people["train"] and people["validation"]
        assert not people["train"] & people["validation"]
        assert sorted(parts["train"] + parts["validation"]) == sorted(parts["train+validation"])
    everybody = {f"{k:06d}" for k in range(400)}
    assert len(validation_groups(everybody)) == 20
    assert validation_groups({"one"}) == frozenset() and len(validation_groups({"a", "b"})) == 1


def test_mistakes_are_sentences(tmp_path, trg_target) -> None:
    for part, words in (
        (Part("aflw2000", tmp_path), "no training on 'aflw2000'"),
        (sample("300w-lp", split="validation"), "all of it is for training"),
        (sample("arkitface", split="dev"), "no split 'dev'"),
        (sample("mica"), "prepare-mica"),
        (Part("synthetic", tmp_path), "dataset.json"),
    ):
        with pytest.raises(DatasetError, match=words):
            open_part(part, as_released=True)
    with pytest.raises(DatasetError, match="need a data set"):
        build_batches([], trg_target, TrgAugmentConfig(), batch_size=2, seed=0)


class Damaged:
    """Faces of which some cannot be read."""

    def __init__(self, faces: SyntheticFaces, good: frozenset[int]) -> None:
        self.faces, self.good = faces, good

    def __len__(self) -> int:
        return len(self.faces)

    def prepare(self) -> None:
        pass

    def face(self, number: int) -> TrainingFace:
        face = self.faces.face(number)
        return face if number in self.good else replace(face, picture=b"cut short")


def test_damaged_pictures_are_passed_over_and_named(heads, trg_target, capsys) -> None:
    faces = SyntheticFaces(SyntheticDataset(heads / "train"), range(8))
    make = {"target": trg_target, "augment": TrgAugmentConfig(), "batch_size": 4, "seed": 0}
    some = PoseBatches([(Damaged(faces, frozenset({2, 5})), 1.0)], **make)
    assert len(some[0]) == 4
    assert "Passed over: synthetic/train/" in capsys.readouterr().err
    none = PoseBatches([(Damaged(faces, frozenset()), 1.0)], **make)
    with pytest.raises(DatasetError, match="in a row"):
        none[0]


def test_weak_perspective_for_trg_mini(target) -> None:
    """The rotation is kept, but for the direction that the head is seen in."""
    faces = open_part(sample("300w-lp"), as_released=False)
    for number in range(0, 36, 5):
        face = faces.face(number)
        stored = faces.dataset.read(faces.keys[number]).R_cam_from_head
        middle = (face.landmarks_68_px.min(0) + face.landmarks_68_px.max(0)) / 2
        ray = np.append(face.camera.normalise(middle), 1.0)
        turn = rotation_to_ray(ray[:2])
        np.testing.assert_allclose(turn[:, 2], ray / np.linalg.norm(ray), atol=1e-12)
        np.testing.assert_allclose(turn @ stored, face.R_cam_from_head, atol=1e-12)
        assert face.is_flat and face.t_cam_from_head_m is None


def test_boxes_around_landmarks_are_those_around_the_mesh(target) -> None:
    """trg-mini's box of a face of which only landmarks are known is near that of its mesh."""
    dataset = SyntheticDataset(SAMPLES_ROOT / "synthetic" / "validation")
    faces = SyntheticFaces(dataset, np.flatnonzero(dataset.is_face_of_row)[:12].tolist())
    differences = []
    for number in range(len(faces)):
        face = faces.face(number)
        bare = replace(face, R_cam_from_head=None, t_cam_from_head_m=None, vertices_head_m=None)
        full, flat = (crop_face(f, Recrop(), target).ray_box for f in (face, bare))
        differences.append(np.abs(flat - full) / full[2])
    assert np.median(differences, 0).max() < 0.04 and np.max(differences) < 0.2


def test_a_posed_face_without_landmarks_has_the_box_of_a_mean_face(trg_target) -> None:
    """BIWI without its box file: near the box around the 68 landmarks; else around the scan."""
    dataset = ArkitFace(SAMPLES_ROOT / "arkitface")
    detail = dataset.detail(dataset.list_samples(1).keys[0])
    in_cam = detail.meshes[0].vertices_m - detail.sample.t_cam_from_head_mm / 1000.0
    canonical = in_cam @ detail.sample.R_cam_from_head
    faces = open_part(sample("biwi"), as_released=True)
    for number in range(0, len(faces), 4):
        face = faces.face(number)
        bare = replace(face, landmarks_68_px=None)
        target = replace(trg_target, canonical_vertices_m=canonical)
        wanted = crop_face(face, Recrop(), target).ray_box
        found = crop_face(bare, Recrop(), target).ray_box
        assert np.abs(found - wanted).max() < 0.15 * wanted[2]
        scan = crop_face(bare, Recrop(), trg_target).ray_box
        assert np.abs(scan - wanted).max() < 0.6 * wanted[2]


def test_mica_teaches_landmarks_and_nothing_else(tmp_path, trg_target) -> None:
    """The astronaut's eyes and mouth, aligned as prepare-mica does, found in her crop."""
    picture = cv2.imread(str(REPOSITORY_ROOT / "assets" / "examples" / "astronaut.jpg"))
    by_mtcnn = [[204.6, 101.8], [247.0, 103.9], [225.5, 129.2], [201.9, 140.4], [245.0, 141.9]]
    points = np.array(by_mtcnn)
    crop = align_face(picture, points, 224)
    folder = tmp_path / "LYHM" / "arcface_input" / "actor"
    (tmp_path / "LYHM" / "FLAME_parameters").mkdir(parents=True)
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "a.png"), crop)
    part = Part("mica", tmp_path)
    face = open_part(part, as_released=True).face(0)
    assert face.is_flat and face.R_cam_from_head is face.t_cam_from_head_m is None
    assert face.vertices_head_m is None
    eyes = [face.landmarks_68_px[first : first + 6].mean(0) for first in (36, 42)]
    mouth = face.landmarks_68_px[[48, 54]]
    wanted = np.array([[38.3, 51.7], [73.5, 51.5], [41.5, 92.4], [70.7, 92.2]]) * 2
    assert np.abs(np.array([*eyes, *mouth]) - wanted).max() < 12
    batches = build_batches([part], trg_target, TrgAugmentConfig(), batch_size=2, seed=0)
    assert not batches[0].has_rotation.any() and batches[0].landmarks_68_crop[..., 2].any()


def test_labels_of_the_real_files_come_through(shared_data, trg_target) -> None:
    """300W-LP's pt2d (MATLAB's pixels) from the crop's labels; BIWI's pose by the formula."""
    root = shared_data / "samples"
    part = Part("300w-lp", root / "300W_LP")
    batch = build_batches([part], trg_target, TrgAugmentConfig(), batch_size=1, seed=3)[0]
    assert not batch.has_rotation.any()
    (path,) = (root / "300W_LP").rglob("*.mat")
    crop = crop_face(open_part(part, as_released=True).face(0), Recrop(mirror=True), trg_target)
    rays = crop.landmarks_68_crop[:, :2] * crop.ray_box[2] / 2 + crop.ray_box[:2]
    in_mirror = rays * 5000.0 + 225.0
    back = in_mirror[MIRROR_68] * [-1.0, 1.0] + [450.0, 0.0]
    np.testing.assert_allclose(back, loadmat(path)["pt2d"].T - 0.5, atol=1e-3)

    (biwi,) = validation_batches(
        [Part("biwi", root / "biwi", split="train+validation")], trg_target
    )
    folder = root / "biwi" / "hpdb" / "01"
    numbers = np.array((folder / "frame_00003_pose.txt").read_text().split(), float)
    cal = np.array((folder / "rgb.cal").read_text().split(), float)
    R, T = cal[13:22].reshape(3, 3), cal[22:25]
    R_true = R @ numbers[:9].reshape(3, 3)
    centre = R @ numbers[9:] + T
    T_head_from_model = trg_target.T_head_from_model[:3, :3]
    found_R = biwi.R_cam_from_model[0].double().numpy() @ T_head_from_model.T
    np.testing.assert_allclose(found_R, R_true, atol=1e-5)
    t_mm = 1000 * biwi.t_cam_from_model_m[0].double().numpy()
    np.testing.assert_allclose(t_mm, centre - R_true @ [-0.3, 8.6, -15.9], atol=1e-2)
    assert not biwi.has_3d.any() and biwi.has_rotation.all() and biwi.has_translation.all()
