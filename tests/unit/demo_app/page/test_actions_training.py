"""The Training tab without a page: forms to configurations, buttons, what a public page may."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo_app.actions import training_acts
from demo_app.actions.model_choices import banner_html, missing_model_html
from demo_app.actions.training_acts import act
from demo_app.actions.training_desk import desk_of
from demo_app.actions.training_form import check_values, form_value
from demo_app.actions.training_values import config_from_values, short_try, values_of
from demo_app.actions.training_view import look
from demo_app.config import RECORDED_RUNS, AppConfig
from demo_app.run_config import RECIPES, DataPart, RunConfigError, default_config
from demo_app.run_state import RunState, write_state
from demo_app.runs.fields import config_fields
from demo_app.runs.status import read_status
from demo_app.services import Services
from models.training.config import TrainConfig
from viewer.datasets.registry import bundled_root

SAMPLES = bundled_root("synthetic")
SLEEP = "import signal, time; signal.signal(15, lambda *_: exit(0)); time.sleep(60)"


@pytest.fixture
def services(tmp_path: Path) -> Services:
    config = AppConfig(
        cache_dir=tmp_path / "cache", data_dir=tmp_path / "data", runs_dir=tmp_path / "runs"
    )
    return Services(config)


@pytest.fixture
def quiet_start(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Runs start a process that only waits; the commands they would have been."""
    asked: list[list[str]] = []

    def command_of(config: Path, folder: Path, train: TrainConfig) -> list[str]:
        asked.append([str(config), str(folder)])
        return [sys.executable, "-c", SLEEP]

    monkeypatch.setattr(training_acts, "command_of", command_of)
    return asked


def _do(services: Services, what: str, **more: Any) -> dict[str, Any]:
    answer = act(services, {"do": what, "token": desk_of(services).token, **more})
    json.dumps(answer)
    return answer


def _form(services: Services, name: str = "one", **fields: Any) -> dict[str, Any]:
    values = {**form_value(services)["short"], "name": name}
    return {**values, "fields": {**values["fields"], **fields}}


def _finished(services: Services, name: str) -> Path:
    """A run that has ended, with a checkpoint."""
    config, _ = short_try(SAMPLES)
    folder = services.runs.create(name, config)
    write_state(folder, RunState("finished", 1, 1.0, 30, 30))
    (folder / "checkpoints").mkdir()
    for ending in ("pt", "safetensors"):
        (folder / "checkpoints" / f"step-00000030.{ending}").write_text("x")
    return folder


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_form_gives_back_the_configuration(recipe: str) -> None:
    part = DataPart("synthetic", SAMPLES, 2.5, limit=7)
    config = replace(default_config(recipe), data=(part,), start="some/file.pt")
    values = json.loads(json.dumps(values_of(config)))
    assert config_from_values(values) == config


def test_every_field_has_its_sentence_and_shows_once(services: Services) -> None:
    fields, form = config_fields(), form_value(services)
    assert [path for path, one in fields.items() if not one.sentence] == []
    shown = [path for group in form["groups"] for path in group["paths"]]
    assert len(shown) == len(set(shown)) == len(fields) - 3
    assert fields["train.lr"].sentence == "Highest learning rate of AdamW."
    names = [row["name"] for row in form["sets"]]
    assert len(names) == 6 and names[0] == "synthetic"
    assert [r["name"] for r in form["sets"] if not r["trainable"]] == ["aflw2000"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"train.lr": "fast"}, "train.lr must be a number, got 'fast'"),
        ({"train.steps": "1.5"}, "train.steps must be a number"),
        ({"train.steps": ""}, "train.steps must be a number"),
        ({"train.steps": "0"}, "steps must be positive"),
        ({"train.precision": "fp8"}, "train.precision must be one of"),
        ({"train.betas": "0.9"}, "train.betas must have 2 entries"),
        ({"train.nonsense": "1"}, "Unknown field train.nonsense"),
        ({"start": "no/such.pt"}, "There are no weights"),
    ],
)
def test_what_cannot_be_meant_is_said_before_the_start(
    services: Services, fields: dict[str, str], sentence: str, quiet_start: list[list[str]]
) -> None:
    told = check_values(services, _form(services, **fields))
    assert any(sentence in one for one in told["problems"]), told["problems"]
    assert sentence in _do(services, "begin", values=_form(services, **fields))["error"]
    assert services.runs.names() == [] and quiet_start == []


def test_the_check_says_time_command_and_configuration(services: Services) -> None:
    for name in ("../x", ""):
        assert "letters, digits" in check_values(services, _form(services, name))["problems"][0]
    told = check_values(services, _form(services))
    for _ in range(100):
        if not told["counting"]:
            break
        time.sleep(0.05)
        told = check_values(services, _form(services))
    assert told["problems"] == [] and "32 samples" in told["estimate"]
    assert "60 steps" in told["estimate"] and "GB of memory" in told["estimate"]
    assert "-m demo_app.train --config" in told["command"]
    assert json.loads(told["config"])["validation"][0]["limit"] == 24
    with pytest.raises(RunConfigError, match="Validation crops"):
        config_from_values({**_form(services), "validation_limit": "some"})


def test_start_stop_and_kill_after_a_grace_period(
    services: Services, quiet_start: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _do(services, "begin", values=_form(services))["run"] == "one"
    folder = services.runs.path("one")
    assert quiet_start[-1][1] == str(folder) and read_status(folder).kind == "starting"
    assert "already" in _do(services, "begin", values=_form(services))["error"]
    assert "goes on" in _do(services, "resume", name="one")["error"]
    assert "stop it first" in _do(services, "delete", name="one", again="one")["error"]
    assert "Press Stop first" in _do(services, "kill", name="one")["error"]
    assert "writes a checkpoint" in _do(services, "stop", name="one")["note"]
    assert look(services, {"run": "one"})["run"]["kind"] == "stopping"
    assert "Press Stop first" in _do(services, "kill", name="one")["error"]
    monkeypatch.setattr(training_acts, "KILL_AFTER_S", 0.0)
    assert "killed" in _do(services, "kill", name="one")["note"]
    for _ in range(100):
        if not read_status(folder).goes_on:
            break
        time.sleep(0.05)
    assert read_status(folder).kind == "killed"


def test_resume_branch_duplicate_and_delete(
    services: Services, quiet_start: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _finished(services, "old")
    (folder / "STOP").touch()
    assert _do(services, "branch", name="old", step=30)["run"] == "old-from-30"
    assert read_status(folder).kind == "finished", "the run itself stays"
    assert (services.runs.path("old-from-30") / "checkpoints" / "step-00000030.pt").is_file()
    assert "no checkpoint" in _do(services, "branch", name="old", step=7)["error"]
    assert _do(services, "resume", name="old")["run"] == "old"
    assert not (folder / "STOP").exists(), "a stale STOP would end it at once"
    given = _do(services, "duplicate", name="old", step=30)
    assert given["name"] == "old-2" and given["values"]["fields"]["start"].endswith("30.pt")
    monkeypatch.setattr(training_acts, "KILL_AFTER_S", 0.0)
    for name in ("old", "old-from-30"):
        _do(services, "stop", name=name)
        _do(services, "kill", name=name)
    for _ in range(100):
        if not read_status(folder).goes_on:
            break
        time.sleep(0.05)
    assert "cannot be brought back" in _do(services, "delete", name="old")["ask"]
    assert folder.is_dir()
    assert _do(services, "delete", name="old", again="old")["run"] == ""
    assert not folder.exists()


def test_nothing_changes_without_the_token_of_the_page(services: Services) -> None:
    folder = _finished(services, "old")
    for token in ("", "wrong", None):
        answer = act(services, {"do": "delete", "name": "old", "again": "old", "token": token})
        assert answer["stale"] and folder.is_dir()


@pytest.mark.parametrize(
    ("config", "may"),
    [
        ({"on_space": True}, False),
        ({"on_space": True, "login": ("a", "b")}, False),
        ({"server_name": "0.0.0.0"}, False),
        ({"public_link": True}, False),
        ({"server_name": "0.0.0.0", "login": ("a", "b")}, True),
        ({}, True),
    ],
)
def test_a_public_page_shows_runs_and_changes_nothing(
    config: dict[str, Any], may: bool, tmp_path: Path
) -> None:
    services = Services(AppConfig(cache_dir=tmp_path / "c", runs_dir=tmp_path / "runs", **config))
    folder = _finished(services, "old")
    (folder / "train.log").write_text(f"wrote {folder}/x\n")
    (folder / "command").write_text('["python", "x"]')
    shown = look(services, {"run": "old"})
    assert shown["run"]["kind"] == "finished" and shown["runs"][0]["name"] == "old"
    assert (not shown["why"]) == may
    token = desk_of(services).token
    answer = act(services, {"do": "delete", "name": "old", "again": "old", "token": token})
    assert ("error" not in answer) == may and folder.exists() != may
    if not may:
        text = json.dumps(shown)
        assert str(SAMPLES.parent) not in text and str(tmp_path) not in text
        assert token not in text
        assert ("Space" if config.get("on_space") else "--auth") in shown["why"]


def test_a_space_shows_the_recorded_run_with_its_curves(tmp_path: Path) -> None:
    found = AppConfig.from_environment({"SPACE_ID": "a/b", "GRADIO_TEMP_DIR": str(tmp_path)})
    shown = look(Services(found), {"run": "first-steps"})
    run, curves = shown["run"], shown["curves"]["first-steps"]
    assert (run["kind"], run["step"], run["steps"]) == ("finished", 400, 400)
    recorded = (RECORDED_RUNS / "first-steps" / "metrics.jsonl").read_text().splitlines()
    assert run["since_s"] == json.loads(recorded[-1])["time_s"]
    steps = [json.loads(line)["step"] for line in recorded if '"kind": "train"' in line]
    assert len(steps) == 80 and str(steps[-1]) in json.dumps(curves)


def test_configurations_are_kept_and_taken(services: Services) -> None:
    assert _do(services, "keep", name="my short", values=_form(services))["saved"] == ["my-short"]
    taken = _do(services, "take", name="my-short")["values"]
    assert config_from_values(taken) == config_from_values(_form(services))
    assert "begins with a letter" in _do(services, "take", name="../../x")["error"]
    assert "no JSON" in _do(services, "load", text="{")["error"]
    text = default_config("trg").to_json()
    assert _do(services, "load", text=text)["values"]["fields"]["train.epochs"] == "30"


def test_an_own_model_never_passes_as_a_known_one(services: Services) -> None:
    folder = _finished(services, "old") / "exports" / "step-00000030"
    folder.mkdir(parents=True)
    (folder / "trg_mini.safetensors").write_text("x")
    assert services.own_models() == [], "nothing was offered to the Pose tab yet"
    (folder / "pose.json").write_text('{"file": "../../trg_mini.safetensors"}')
    (own,) = services.own_models()
    assert own.file == folder / "trg_mini.safetensors"
    assert own.name == "run:old@30"
    for said in (
        banner_html(services, own.name),
        missing_model_html(own.name, services.model_statuses()),
    ):
        assert "our own training: old, step 30" in said and "trg-mini" not in said
    services.runs.delete("old")
    assert services.own_models() == []
