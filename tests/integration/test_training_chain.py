"""The whole chain on one portrait: synthesize, train, go on after a stop, evaluate, load."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from demo_app.cli import main
from models.training.checkpoints import newest_checkpoint
from models.weights import load_pose_model
from viewer.datasets.synthetic import SyntheticDataset

ASTRONAUT = Path(__file__).parents[2] / "assets" / "examples" / "astronaut.jpg"
TRAINED, HELD_OUT = "people/1", "people/5"

pytestmark = pytest.mark.slow


def _run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures of one face: one to train on, its mirror image to validate on."""
    root = tmp_path_factory.mktemp("portraits")
    (root / "people").mkdir()
    picture = cv2.imread(str(ASTRONAUT))
    cv2.imwrite(str(root / f"{TRAINED}.jpg"), picture)
    cv2.imwrite(str(root / f"{HELD_OUT}.jpg"), np.ascontiguousarray(picture[:, ::-1]))
    return root


def _synthesize(portraits: Path, out: Path) -> int:
    sizes = ("--count", 40, "--validation-count", 24, "--size-px", 128, "--workers", 0)
    return _run("synthesize", "--portraits", portraits, "--out", out, *sizes)


@pytest.fixture(scope="module")
def data(portraits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data")
    assert _synthesize(portraits, out) == 0
    return out


def _train(data: Path, out: Path, *more: object, steps: int = 4) -> int:
    small = ("--train.steps", steps, "--train.batch-size", 8, "--train.threads", 1)
    often = ("--train.checkpoint-every", 2, "--train.log-every", 1, "--workers", 0)
    return _run("train", "--data", data, "--out", out, *small, *often, *more)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    assert _train(data, out) == 0
    return out


def test_no_person_is_on_both_sides(data: Path) -> None:
    train, validation = SyntheticDataset(data / "train"), SyntheticDataset(data / "validation")
    assert (len(train), len(validation)) == (40, 24)
    assert set(train.persons()) == {TRAINED} and set(validation.persons()) == {HELD_OUT}
    assert set(SyntheticDataset(data / "train-portraits").persons()) == {TRAINED}


def test_the_same_seed_gives_the_same_files(data: Path, portraits: Path, tmp_path: Path) -> None:
    """Also when a shard is lost on the way: what is missing is made again."""
    shard = data / "validation" / "shard-00000.parquet"
    before = shard.read_bytes()
    untouched = (data / "train" / "shard-00000.parquet").stat().st_mtime_ns
    shard.unlink()
    assert _synthesize(portraits, data) == 0
    assert shard.read_bytes() == before
    assert (data / "train" / "shard-00000.parquet").stat().st_mtime_ns == untouched


def test_the_labels_of_a_portrait_are_on_its_face(data: Path) -> None:
    """The fitted landmarks of the raw portrait: eyes level, mouth below them, in the middle."""
    head = SyntheticDataset(data / "train-portraits")[0]
    points = head.landmarks_468_px()
    eyes, mouth = points[[33, 263]], points[13]
    assert 100 < eyes[:, 0].min() < eyes[:, 0].max() < 220 and abs(np.diff(eyes[:, 1])[0]) < 14
    assert 30 < mouth[1] - eyes[:, 1].mean() < 80
    assert np.ptp(points, 0).max() == pytest.approx(320 / 2.4, rel=0.02)


def test_training_starts_from_facemesh_and_says_what_it_does(trained: Path) -> None:
    log = (trained / "train.log").read_text()
    assert "start from facemesh" in log and "not calibrated" in log
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4]
    validated = [line for line in lines if line["kind"] == "validation"]
    assert validated[0]["step"] == 0 and "synthetic_validation_geodesic_mean_deg" in validated[0]


def test_the_heads_go_on_learning_alone(data: Path, trained: Path, tmp_path: Path) -> None:
    start = trained / "trg_mini.safetensors"
    assert _train(data, tmp_path, "--start", start, "--train.heads-only") == 0
    before, after = load_file(start), load_file(tmp_path / "trg_mini.safetensors")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all("presence_head" in n or "uncertainty_head" in n for n in moved), moved


def test_crops_are_used_more_than_once_where_that_is_asked_for(
    data: Path, trained: Path, tmp_path: Path
) -> None:
    """Another run of as many steps, on other batches than those of a run that uses each once."""
    assert _train(data, tmp_path, "--train.crop-uses", 2) == 0
    once, twice = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (trained, tmp_path)
    )
    losses = [
        [line["loss_total"] for line in lines if line["kind"] == "train"] for lines in (once, twice)
    ]
    assert len(losses[1]) == 4 and np.isfinite(losses[1]).all() and losses[0] != losses[1]


def test_what_is_kept_is_a_mean_of_the_start_and_of_what_was_learnt(
    data: Path, trained: Path, tmp_path: Path
) -> None:
    """Here of pairs of mirror images; their start's share of one leaves nothing of it."""
    start, weights = trained / "trg_mini.safetensors", {}
    for share in (0.0, 0.5, 1.0):
        run = ("--start", start, "--start-share", share)
        pairs = ("--train.crop-uses", 2, "--train.loss.mirror", 1.0)
        assert _train(data, tmp_path / str(share), *run, *pairs) == 0
        weights[share] = load_file(tmp_path / str(share) / "trg_mini.safetensors")
    before, moved = load_file(start), 0.0
    for name, old in before.items():
        if not old.is_floating_point():
            continue
        new, mean, kept = (weights[share][name].double() for share in (0.0, 0.5, 1.0))
        assert torch.equal(kept, old.double()), name
        moved += (new - old).abs().sum().item()
        np.testing.assert_allclose(mean, (new + old.double()) / 2, rtol=2e-3, atol=1e-6)
    assert moved > 0.0
    log = [json.loads(line) for line in (tmp_path / "0.5/metrics.jsonl").read_text().splitlines()]
    apart = [line["loss_mirror"] for line in log if line["kind"] == "train"]
    assert len(apart) == 4 and min(apart) > 0.0


def test_the_weights_load_and_judge_themselves(trained: Path) -> None:
    model = load_pose_model("trg-mini", device="cpu", path=trained / "trg_mini.safetensors")
    assert model.config.presence_head and model.config.uncertainty_head


def test_looks_are_not_calibrated_on_a_handful(
    data: Path, trained: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = trained / "trg_mini.safetensors"
    before = weights.read_bytes()
    assert _run("calibrate", "--weights", weights, "--data", data / "validation") == 2
    assert "too few" in capfd.readouterr().err and weights.read_bytes() == before


def test_a_stopped_run_goes_on(data: Path, trained: Path, tmp_path: Path) -> None:
    """Two steps, then two more of a run of four, give the weights of four steps at once."""
    (tmp_path / "STOP").touch()
    assert _train(data, tmp_path) == 0
    assert "stopped on request after step 1" in (tmp_path / "train.log").read_text()
    assert _train(data, tmp_path) == 0
    assert "resumed after step 1" in (tmp_path / "train.log").read_text()
    first, second = (
        newest_checkpoint(folder / "checkpoints", print) for folder in (trained, tmp_path)
    )
    assert first is not None and second is not None and first.step == second.step == 4
    for name, value in first.network.items():
        assert (value == second.network[name]).all(), name


def test_it_goes_on_from_shipped_weights(data: Path, trained: Path, tmp_path: Path) -> None:
    shipped = ASTRONAUT.parents[1] / "trg_mini.safetensors"
    assert _train(data, tmp_path, "--start", shipped, steps=1) == 0
    before_it, from_nothing = (
        json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
        for folder in (tmp_path, trained)
    )
    name = "synthetic_validation-portraits_geodesic_mean_deg"
    assert before_it[name] < 0.6 * from_nothing[name]
    power = "network.uncertainty_head.rotation_power"
    assert load_file(shipped)[power] != 1.0, "calibrated"
    assert load_file(tmp_path / "trg_mini.safetensors")[power] == 1.0, "and forgotten"


def test_the_trained_network_is_evaluated(data: Path, trained: Path, tmp_path: Path) -> None:
    weights = trained / "trg_mini.safetensors"
    asked = ("--protocol", "held-out", "--data", data / "validation", "--out", tmp_path)
    assert _run("evaluate", *asked, "--weights", weights) == 0
    assert (tmp_path / "held-out.json").is_file() and (tmp_path / "held-out.md").is_file()


def test_mistakes_are_sentences(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert _synthesize(empty, tmp_path / "out") == 2
    assert "no picture" in capsys.readouterr().err
    assert _train(empty, tmp_path / "run") == 2
    assert "synthesize" in capsys.readouterr().err
    assert _run("synthesize", "--portraits", empty, "--count", 40, "--out", data, "--seed", 9) == 2
    assert capsys.readouterr().err.count("Traceback") == 0
