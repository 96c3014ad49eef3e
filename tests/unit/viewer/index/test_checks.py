"""Each planted error is found, where it was planted; the clean sets are silent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.geometry.rotations import MIRROR_X, about_y, ypr_300wlp_from_matrix
from tests.unit.viewer.index.check_plants import (
    FRAME,
    NEXT,
    OTHER_PERSON,
    PLANTED,
    Plant,
    box_elsewhere,
    depth_of_another_calibration,
    handed,
    moved,
    person_in_two_splits,
    photo_in_two_splits,
    picture_gone,
    same_file,
    turned,
    views_share,
)
from tests.unit.viewer.index.check_sets import FakeDataset, write_clean_set
from viewer.datasets.registry import bundled_root, open_dataset
from viewer.datasets.source import DatasetError
from viewer.index.check_table import CHECK_BY_NAME, CHECKS, findings_of, score_text, sentence
from viewer.index.checks_picture import find_lookalikes, perceptual_hash
from viewer.index.checks_run import CheckResult, run_checks
from viewer.index.checks_sample import numbers_of, sample_scores
from viewer.index.predictions import ModelRotations

Array = np.ndarray
MakeSet = Callable[[str], FakeDataset]


@pytest.fixture
def clean_set(tmp_path: Path, head_mesh: object) -> MakeSet:
    """clean_set(name) -> a set without any error."""
    return lambda name: write_clean_set(tmp_path / "data" / name, name, head_mesh)


def found(result: CheckResult) -> dict[str, set[str]]:
    """Keys of the samples with a finding, by check."""
    keys: dict[str, set[str]] = {}
    for sample in result.samples:
        for name in sample.findings:
            keys.setdefault(name, set()).add(sample.key)
    return keys


@pytest.mark.parametrize("name", ["biwi", "arkitface", "300w-lp", "mica"])
def test_a_clean_set_is_silent_and_was_looked_at(clean_set: MakeSet, name: str) -> None:
    result = run_checks(clean_set(name))
    assert found(result) == {} and result.finding_count == 0 and result.is_complete
    looked_at = {check for sample in result.samples for check in sample.scores}
    wanted = {
        "biwi": {"rotation", "nose_sign", "reprojection", "box_iou", "depth_mm", "distance"}
        | {"jump_deg", "jump_mm", "picture_size", "unusual_size", "split_person", "duplicate"},
        "arkitface": {"rotation", "nose_sign", "reprojection", "jump_deg"},
        "300w-lp": {"nose_sign", "flip_pose", "flip_landmarks", "shared_landmarks", "split_photo"},
        "mica": {"betas_sd", "jaw_deg", "expression_sd"},
    }
    assert wanted[name] <= looked_at


@pytest.mark.parametrize(("name", "plant", "check", "keys"), PLANTED)
def test_a_planted_error_is_found_where_it_is(
    clean_set: MakeSet, name: str, plant: Plant, check: str, keys: set[str]
) -> None:
    assert found(run_checks(plant(clean_set(name))))[check] == keys


def test_every_check_is_planted() -> None:
    elsewhere = {"split_person", "split_photo", "shared_landmarks", "model_deg"}
    assert {check for _, _, check, _ in PLANTED} | elsewhere == {check.name for check in CHECKS}


@pytest.mark.parametrize(
    "plant", [handed, box_elsewhere, turned, depth_of_another_calibration, picture_gone, same_file]
)
def test_an_error_does_not_set_off_other_checks(clean_set: MakeSet, plant: Plant) -> None:
    assert len(found(run_checks(plant(clean_set("biwi"))))) == 1


def test_a_person_in_two_splits_is_found_with_all_samples(clean_set: MakeSet) -> None:
    result = run_checks(person_in_two_splits(clean_set("biwi")))
    both = {s.key for s in result.samples if s.sequence in ("01", "02")}
    assert found(result) == {"split_person": both}
    assert any("Sequences 01 and 02 show the same person" in note for note in result.notes)


def test_a_photo_in_two_splits_is_found_by_its_other_views(clean_set: MakeSet) -> None:
    result = run_checks(photo_in_two_splits(clean_set("300w-lp")))
    views = {s.key for s in result.samples if s.group == "AFW/AFW_1_1"}
    assert found(result) == {"split_photo": views} and len(views) == 6


def test_views_that_share_their_landmarks_are_found(clean_set: MakeSet) -> None:
    result = run_checks(views_share(clean_set("300w-lp")))
    assert found(result)["shared_landmarks"] == {
        s.key for s in result.samples if "AFW_2_1_" in s.key
    }


def test_the_model_s_disagreement_is_a_finding(clean_set: MakeSet) -> None:
    dataset = clean_set("biwi")
    turns_deg = {FRAME: 40.0, NEXT: 3.0}
    said = {
        key: dataset.details[key].sample.R_cam_from_head @ about_y(turn)
        for key, turn in turns_deg.items()
    }
    model = ModelRotations("a-model", said | {"not in the set": np.eye(3)})
    result = run_checks(dataset, predicted=model)
    assert found(result) == {"model_deg": {FRAME}}
    scores = {s.key: s.scores["model_deg"] for s in result.samples if "model_deg" in s.scores}
    assert scores == pytest.approx(turns_deg)


def test_a_gap_in_the_numbers_excuses_a_turn(clean_set: MakeSet) -> None:
    """40 degrees over 9 frames, as BIWI has, are no jump; a step stays one."""
    dataset = clean_set("biwi")
    last = "01/frame_00010"
    dataset = turned(turned(turned(dataset, last), last), last)
    assert found(run_checks(dataset)) == {"jump_deg": {last}}
    assert found(run_checks(dataset.with_detail(last, sample__frame=20))) == {}


def test_clock_times_are_taken_as_frames(clean_set: MakeSet) -> None:
    """ARKitFace numbers its frames in milliseconds."""
    dataset = turned(clean_set("arkitface"))
    for key, detail in dataset.details.items():
        time_ms = 1616212233525 + 33 * detail.sample.frame
        dataset = dataset.with_detail(key, sample__frame=time_ms)
    assert found(run_checks(dataset)) == {"jump_deg": {FRAME}}


def test_the_partner_of_a_finding_is_named(clean_set: MakeSet) -> None:
    result = run_checks(same_file(clean_set("biwi")))
    (sample,) = [s for s in result.samples if s.key == FRAME]
    assert sample.partners == {"duplicate": OTHER_PERSON}


def test_workers_find_the_same(clean_set: MakeSet) -> None:
    dataset = box_elsewhere(same_file(clean_set("biwi")))
    broken = DatasetError("pose.txt is empty.")
    dataset = replace(dataset, details={**dataset.details, NEXT: broken})
    alone, helped = run_checks(dataset), run_checks(dataset, workers=1)
    assert [(s.key, s.scores, s.findings) for s in alone.samples] == [
        (s.key, s.scores, s.findings) for s in helped.samples
    ]


def test_it_stops_when_asked_and_keeps_what_it_has(clean_set: MakeSet, monkeypatch) -> None:
    monkeypatch.setattr("viewer.index.checks_run.CHUNK_KEYS", 5)
    told: list[tuple[int, int]] = []
    result = run_checks(
        clean_set("biwi"),
        progress=lambda done, total: told.append((done, total)),
        should_stop=lambda: len(told) == 2,
    )
    assert told == [(5, 24), (10, 24)]
    assert len(result.samples) == 10 and result.listed == 24 and not result.is_complete
    assert len(run_checks(clean_set("mica"), limit=3).samples) == 3


def test_lookalikes_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 256, (400, 32), dtype=np.uint8)
    hashes[200:] = hashes[:200]
    for i in range(200, 400):
        for bit in rng.choice(64, i % 9, replace=False):
            hashes[i, bit // 8] ^= 128 >> bit % 8
        for bit in 64 + rng.choice(192, i % 40, replace=False):
            hashes[i, bit // 8] ^= 128 >> bit % 8
    groups = rng.integers(0, 150, 400)
    got = find_lookalikes(hashes, groups, 0.15)
    bits = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(2, dtype=int)
    first = np.bitwise_count(hashes[:, None, :8] ^ hashes[None, :, :8]).sum(2, dtype=int)
    bits[(groups[:, None] == groups[None]) | (first > 7)] = 999
    nearest = bits.min(1)
    expected = np.where(nearest <= 0.15 * 256, nearest / 256, np.nan)
    assert np.array_equal(got.differing, expected, equal_nan=True) and got.is_complete
    assert np.isfinite(expected).sum() > 200 and np.isnan(expected).sum() > 20
    seen = got.partner >= 0
    assert (bits[np.flatnonzero(seen), got.partner[seen]] == nearest[seen]).all()


def test_many_alike_pictures_end_in_time(monkeypatch) -> None:
    """A set of black frames with noise may not cost n^2."""
    monkeypatch.setattr("viewer.index.checks_picture._PAIRS_AT_MOST", 10_000)
    rng = np.random.default_rng(0)
    hashes = np.zeros((2000, 32), np.uint8)
    hashes[:, 20:] = rng.integers(0, 256, (2000, 12), dtype=np.uint8)
    assert not find_lookalikes(hashes, np.arange(2000), 0.2).is_complete


def test_a_flat_picture_has_no_hash() -> None:
    assert perceptual_hash(np.full((48, 64), 7, np.uint8)) is None


def test_sentences_say_the_number_the_limit_and_what_to_do() -> None:
    check = CHECK_BY_NAME["jump_deg"]
    said = sentence(check, 21.04)
    assert said.startswith("Rotation jumps between frames: 21 deg per frame, at most 10 deg per")
    assert said.endswith("interpolate its neighbours.")
    assert sentence(check, 2.0) == "Rotation jumps between frames: no (2 deg per frame)."
    assert "at least 0.15 IoU" in sentence(CHECK_BY_NAME["box_iou"], 0.01)
    assert sentence(CHECK_BY_NAME["duplicate"], 1.0).startswith("Same picture twice. Another")
    assert score_text(CHECK_BY_NAME["distance"], 1e6) == "beyond any measure"
    assert findings_of({"box_iou": 0.1, "rotation": 0.0, "duplicate": 1.0}) == (
        "box_iou",
        "duplicate",
    )
    for check in CHECKS:
        assert check.meaning.endswith(".") and check.title[0].isupper()


def test_scipy_agrees_on_jumps(clean_set: MakeSet) -> None:
    result = run_checks(clean_set("biwi"))
    one = [s for s in result.samples if s.sequence == "01"]
    turn = Rotation.from_matrix(one[0].R_cam_from_head.T @ one[1].R_cam_from_head).magnitude()
    assert np.isclose(one[1].scores["jump_deg"], np.degrees(turn), atol=1e-6)


def test_the_table_of_checks_needs_neither_cv2_nor_torch() -> None:
    code = (
        "import sys; from viewer.index.checks import CHECKS, sentence; "
        "assert CHECKS and not {'cv2', 'torch'} & set(sys.modules); "
        "from viewer.index.checks import run_checks, set_findings, sample_scores, check_row"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[4])


@pytest.mark.parametrize("name", ["arkitface", "300w-lp", "aflw2000", "biwi", "mica"])
def test_the_bundled_sets_are_silent(name: str) -> None:
    root = bundled_root(name)
    if root is None:
        pytest.skip(f"there is no bundled set of {name}")
    result = run_checks(open_dataset(name, root))
    assert found(result) == {} and result.problems == () and result.samples


def test_the_bundled_fits_and_anchors_are_looked_at() -> None:
    """The readers print their fields so that the checks can read the numbers back."""
    (mica, *_), (arkit, *_) = (
        run_checks(open_dataset(name, bundled_root(name)), limit=1).samples
        for name in ("mica", "arkitface")
    )
    assert {"betas_sd", "jaw_deg", "expression_sd"} <= set(mica.scores)
    dataset = open_dataset("arkitface", bundled_root("arkitface"))
    detail = dataset.detail(arkit.key)
    (name,) = [name for name in detail.raw if name.endswith(": R_t")]
    numbers = numbers_of(detail.raw[name]).reshape(4, 4)
    numbers[:3, 0] *= -1
    mirrored = replace(detail, raw={name: "\n".join(map(str, numbers.tolist()))})
    assert arkit.scores["rotation"] < 1e-3
    assert sample_scores("arkitface", mirrored, None, None)["rotation"] > 1.9


def test_numbers_are_read_back_from_print() -> None:
    R_t = np.array([[1e-05, -0.5, 2], [-3.25e7, 0, 1], [7, 8, np.nan]], np.float32)
    read = numbers_of(f"{R_t.dtype} {np.array2string(R_t, precision=6)}")
    assert np.allclose(read, R_t.ravel(), equal_nan=True)
    assert len(numbers_of("float32 [1. 2. ... 9.]")) == 0 and len(numbers_of("a pickle")) == 0


def test_real_labels_are_silent_and_their_copies_with_errors_are_not(shared_data: Path) -> None:
    """BIWI's frame a hand's breadth off its depth, AFLW2000 with the wrong sign of yaw."""
    samples = shared_data / "samples"
    biwi = open_dataset("biwi", samples / "biwi" / "hpdb")
    aflw = open_dataset("aflw2000", samples / "AFLW2000")
    assert found(run_checks(biwi)) == {} and found(run_checks(aflw)) == {}
    detail = biwi.detail("01/frame_00003")
    assert sample_scores("biwi", detail, None, None)["depth_mm"] < 5.0
    copy = FakeDataset(biwi.info, biwi.root, {"01/frame_00003": detail})
    slipped = moved(copy, "01/frame_00003", np.eye(3), np.array([0.0, 0.0, 40.0]), depth=False)
    assert found(run_checks(slipped)) == {"depth_mm": {"01/frame_00003"}}
    wrong = {}
    for key in aflw.list_samples().keys:
        R = aflw.read(key).R_cam_from_head
        mirrored = replace(aflw.read(key), R_cam_from_head=MIRROR_X @ R @ MIRROR_X)
        wrong[key] = sample_scores("aflw2000", replace(aflw.detail(key), sample=mirrored), None, "")
    turned_away = {
        k for k in wrong if abs(ypr_300wlp_from_matrix(aflw.read(k).R_cam_from_head)[0]) > 15
    }
    assert {k for k, scores in wrong.items() if "nose_sign" in findings_of(scores)} == turned_away
    assert turned_away
