"""Before a run: what stands against it, what it takes, the command it is."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from demo_app.run_config import DataPart, RunConfig, default_config
from demo_app.run_plan import (
    command_of,
    estimate,
    measured_crops_per_s,
    parameter_count,
    problems_of,
    steps_of,
)
from models.training.config import LossWeights, TrainConfig


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    (tmp_path / "heads" / "train").mkdir(parents=True)
    (tmp_path / "heads" / "train" / "dataset.json").touch()
    return replace(default_config("trg-mini"), data=(DataPart("synthetic", tmp_path / "heads"),))


def test_problems_are_sentences(config: RunConfig, tmp_path: Path) -> None:
    assert problems_of(config) == ()
    assert "no training data" in problems_of(replace(config, data=()))[0]
    part = config.data[0]
    (tmp_path / "empty").mkdir()
    pairs = LossWeights(mirror=1.0)
    cases = [
        (replace(config, data=(replace(part, root=tmp_path / "no"),)), "there is no folder"),
        (replace(config, data=(DataPart("mica", tmp_path / "empty"),)), "is empty"),
        (replace(config, data=(replace(part, split="tests"),)), "make them with `synthesize`"),
        (replace(config, validation=(part,)), "both trained on and validated"),
        (replace(config, validation=(replace(part, split="test"),)), "may not choose checkpoints"),
        (replace(config, start="imagenet"), "no ResNet-18"),
        (replace(config, start=str(tmp_path / "w.safetensors")), "no weights"),
        (replace(config, recipe="trg", start="imagenet"), "needs arkitface"),
        (replace(config, backbone_file=tmp_path / "r.pth"), "no backbone file"),
        (replace(config, train=TrainConfig(precision="fp16")), "fp16 needs a GPU"),
        (replace(config, recipe="trg", train=TrainConfig(crop_uses=2)), "crop_uses is for"),
        (replace(config, train=TrainConfig(loss=pairs)), "set crop_uses"),
        (replace(config, train=TrainConfig(loss=pairs, crop_uses=2, batch_size=5)), "into pairs"),
        (replace(config, start_share=0.5), "start_share is for"),
        (replace(config, train=TrainConfig(batch_size=4, devices=3, gradient_accumulation=2)), "6"),
    ]
    for changed, words in cases:
        assert any(words in problem for problem in problems_of(changed)), words


def test_time_and_memory_follow_the_configuration(config: RunConfig) -> None:
    plain = estimate(config)
    assert plain.parameters == parameter_count("trg-mini") == 3_571_977
    assert plain.steps == 20_000 and plain.hours is not None
    assert estimate(config, measured=plain.crops_per_s * 2).hours == pytest.approx(plain.hours / 2)
    assert "measured here" in estimate(config, measured=9.0).based_on
    halved = replace(config, train=replace(config.train, gradient_accumulation=2))
    in_bf16 = replace(config, train=replace(config.train, precision="bf16"))
    assert estimate(halved).memory_mb == pytest.approx(plain.memory_mb - 32 * 15.0)
    assert estimate(in_bf16).memory_mb < plain.memory_mb
    trg = replace(config, recipe="trg", train=default_config("trg").train)
    assert estimate(trg).hours is None
    assert estimate(trg, n_samples=1000).steps == steps_of(trg.train, 1000) == 235


def test_a_probe_measures_this_machine(config: RunConfig) -> None:
    assert measured_crops_per_s(config, seconds=0.1, batch_size=2) > 0.0


def test_the_command_is_a_list_of_arguments(tmp_path: Path) -> None:
    path, out = tmp_path / "a b.json", tmp_path / "run; x"
    module = ["-m", "demo_app.train", "--config", str(path), "--out", str(out)]
    assert command_of(path, out, TrainConfig()) == [sys.executable, *module]
    two = command_of(path, out, TrainConfig(devices=2))
    assert two[:3] == [sys.executable, "-m", "torch.distributed.run"] and two[-6:] == module
