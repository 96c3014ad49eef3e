"""RunConfig: nothing is lost in its file, and what does not fit is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from demo_app.run_config import (
    RECIPES,
    DataPart,
    RunConfig,
    RunConfigError,
    default_config,
    read_run_config,
    write_run_config,
)
from demo_app.train import train_defaults


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_file_gives_back_what_was_written(recipe: str, tmp_path: Path) -> None:
    config = replace(
        default_config(recipe),
        data=(DataPart("arkitface", Path("a b/ä"), 2.0, limit=5),),
        validation=(DataPart("biwi", Path("/x"), split="validation"),),
        backbone_file=Path("resnet18.pth"),
    )
    write_run_config(tmp_path / "run.json", config)
    assert read_run_config(tmp_path / "run.json") == config
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_the_published_values_are_the_defaults_of_trg() -> None:
    train = default_config("trg").train
    assert (train.lr, train.batch_size, train.epochs) == (1e-4, 128, 30)
    assert train.betas == (0.9, 0.999) and train.weight_decay == 0.0 and train.ema_decay == 0.0
    assert train.trg_loss.rotation == 10.0 and train.trg_loss.landmarks_68 == 1.25
    assert default_config("trg-multi").train == train


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("3", "no JSON object"),
        ('{"recipe": "x"}', "recipe must be one of"),
        ('{"recipe": ["trg"]}', "recipe must be one of"),
        ('{"train": {"stepz": 1}}', "Unknown field train.stepz"),
        ('{"train": {"steps": 1.5}}', "train.steps must be a whole number"),
        ('{"train": {"steps": true}}', "train.steps must be a whole number"),
        ('{"train": {"steps": 0}}', "steps must be positive"),
        ('{"train": {"lr": NaN}}', "lr must be positive"),
        ('{"train": {"betas": [0.9]}}', "train.betas must have 2 entries"),
        ('{"train": {"precision": "fp8"}}', "train.precision must be one of fp32"),
        ('{"train": 3}', "train. must be an object"),
        ('{"data": [{"dataset": "biwi"}]}', r"data\[0\] lacks root"),
        ('{"data": [{"dataset": "q", "root": "a"}]}', r"data\[0\].dataset must be one of"),
        ('{"data": [{"dataset": "mica", "root": "a", "weight": -1}]}', "weight of mica"),
        ('{"data": {"dataset": "mica"}}', "data must be a list"),
    ],
)
def test_what_does_not_fit_is_named(text: str, sentence: str) -> None:
    with pytest.raises(RunConfigError, match=sentence):
        RunConfig.from_json(text)


def test_files_that_are_no_configuration_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunConfigError, match="cannot be read"):
        read_run_config(tmp_path / "none.json")
    (tmp_path / "large.json").write_bytes(b" " * 1_000_001)
    with pytest.raises(RunConfigError, match="too large"):
        read_run_config(tmp_path / "large.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunConfigError, match="cannot be read"):
        read_run_config(tmp_path / "bytes.json")


def test_steps_replace_the_epochs_of_a_recipe() -> None:
    assert RunConfig.from_json('{"recipe": "trg", "train": {"steps": 4}}').train.epochs is None
    assert RunConfig.from_json('{"recipe": "trg", "train": {"lr": 1}}').train.epochs == 30
    given = train_defaults(["--recipe", "trg", "--train.steps=4"])
    assert given.train.epochs is None and given.train.lr == 1e-4
    assert train_defaults(["--recipe=trg-multi"]).train.epochs == 30


def test_a_configuration_gives_the_verb_its_defaults(tmp_path: Path) -> None:
    config = replace(default_config("trg"), start="random", workers=0, seed=7)
    write_run_config(tmp_path / "run.json", config)
    verb = train_defaults(["--config", str(tmp_path / "run.json"), "--out", "x"])
    assert (verb.recipe, verb.start, verb.workers, verb.seed) == ("trg", "random", 0, 7)
    assert verb.train == config.train
    assert json.loads(config.to_json())["start"] == "random"
