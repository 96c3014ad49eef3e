"""The environment, read in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo_app.config import RECORDED_RUNS, AppConfig, ConfigError


def test_nothing_set_is_a_private_page() -> None:
    config = AppConfig.from_environment({})
    assert (config.server_name, config.server_port) == ("127.0.0.1", None)
    assert config.local_paths_allowed and not config.on_space and not config.zero_gpu


def test_a_space() -> None:
    config = AppConfig.from_environment(
        {
            "GRADIO_SERVER_NAME": "0.0.0.0",
            "GRADIO_SERVER_PORT": "7860",
            "SPACE_ID": "someone/x",
            "SPACES_ZERO_GPU": "true",
            "GRADIO_TEMP_DIR": "/somewhere",
        }
    )
    assert (config.server_name, config.server_port) == ("0.0.0.0", 7860)
    assert config.on_space and config.zero_gpu and not config.local_paths_allowed
    assert config.cache_dir == Path("/somewhere").resolve()


@pytest.mark.parametrize(
    "environment",
    [{"GRADIO_SERVER_NAME": "0.0.0.0"}, {"SPACE_ID": "x/y"}, {"GRADIO_SHARE": "True"}],
)
def test_paths_are_off_wherever_others_can_come(environment: dict[str, str]) -> None:
    assert not AppConfig.from_environment(environment).local_paths_allowed


@pytest.mark.parametrize("port", ["http", "0", "70000", "-1", "78.5"])
def test_a_port_that_is_none(port: str) -> None:
    with pytest.raises(ConfigError, match="GRADIO_SERVER_PORT"):
        AppConfig.from_environment({"GRADIO_SERVER_PORT": port})


def test_indexes_and_flags_lie_in_the_home_folder_or_where_it_says(tmp_path: Path) -> None:
    assert AppConfig.from_environment({}).data_dir == Path.home() / ".trg-studio"
    assert AppConfig.from_environment({"TRG_DATA_DIR": str(tmp_path)}).data_dir == tmp_path
    assert AppConfig().data_dir == Path.home() / ".trg-studio"


def test_runs_lie_beside_the_data_or_where_it_says(tmp_path: Path) -> None:
    assert AppConfig.from_environment({}).runs_dir == AppConfig().runs_dir
    assert AppConfig.from_environment({"TRG_DATA_DIR": str(tmp_path)}).runs_dir == tmp_path / "runs"
    there = AppConfig.from_environment({"TRG_RUNS_DIR": str(tmp_path)})
    assert there.runs_dir == tmp_path
    assert AppConfig.from_environment({"SPACE_ID": "a/b"}).runs_dir == RECORDED_RUNS


@pytest.mark.parametrize(
    ("environment", "may"),
    [
        ({}, True),
        ({"GRADIO_SERVER_NAME": "0.0.0.0"}, False),
        ({"GRADIO_SERVER_NAME": "0.0.0.0", "TRG_AUTH": "me:se:cret"}, True),
        ({"GRADIO_SHARE": "1"}, False),
        ({"GRADIO_SHARE": "1", "TRG_AUTH": "me:secret"}, True),
        ({"SPACE_ID": "x/y"}, False),
        ({"SPACE_ID": "x/y", "TRG_AUTH": "me:secret"}, False),
    ],
)
def test_processes_are_started_only_for_those_who_may(
    environment: dict[str, str], may: bool
) -> None:
    assert AppConfig.from_environment(environment).training_allowed == may


def test_a_login_is_a_name_and_a_password_and_is_not_shown() -> None:
    config = AppConfig.from_environment({"TRG_AUTH": "me:se:cret"})
    assert config.login == ("me", "se:cret") and "cret" not in repr(config)
    for text in ("me", "me:", ":secret"):
        with pytest.raises(ConfigError, match="NAME:PASSWORD"):
            AppConfig.from_environment({"TRG_AUTH": text})
