"""The named endpoints, called by a program through gradio_client as a user of the API would."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples"


@pytest.fixture(scope="module")
def client(app) -> Client:
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    return Client(app.address, verbose=False)


def test_one_picture_gives_its_rows(client: Client) -> None:
    photo = handle_file(str(EXAMPLES / "astronaut.jpg"))
    (row,) = client.predict(photo, "trg-mini", 40.0, api_name="/predict_image")
    assert row["source"] == "astronaut.jpg" and row["model"] == "trg-mini"
    assert abs(row["yaw_deg"]) < 8.0 and abs(row["roll_deg"]) < 8.0
    assert 800.0 < row["t_cam_from_head_mm"][2] < 1300.0


def test_several_pictures_keep_their_order(client: Client) -> None:
    files = [handle_file(str(EXAMPLES / name)) for name in ("montage.jpg", "astronaut.jpg")]
    rows = client.predict(files, "trg-mini", 0, api_name="/predict_files")
    assert [row["source"] for row in rows] == ["montage.jpg"] * 6 + ["astronaut.jpg"]


def test_models_say_what_is_missing(client: Client) -> None:
    models = {model["name"]: model for model in client.predict(api_name="/models")}
    assert models["trg-mini"]["present"]
    assert {"trg", "trg-multi"} <= set(models)


def test_a_file_that_is_no_picture_is_a_sentence(client: Client, tmp_path: Path) -> None:
    fake = tmp_path / "fake.jpg"
    fake.write_text("no picture")
    with pytest.raises(AppError, match="text"):
        client.predict(handle_file(str(fake)), "trg-mini", 0, api_name="/predict_image")
