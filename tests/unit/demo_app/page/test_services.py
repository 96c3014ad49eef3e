"""Long-lived objects: one network a name, files that go with their visitor, places, the GPU."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from demo_app.actions.model_choices import banner_html, missing_model_html, model_menu
from demo_app.config import AppConfig
from demo_app.services import LiveSlots, Services, SharedEstimator, Visitors
from models.trg.checkpoints import CheckpointError
from models.weights import ModelStatus, describe_models

PICTURE = np.zeros((48, 64, 3), np.uint8)


def test_one_network_a_name_whoever_asks_first(tmp_path: Path) -> None:
    loaded: list[str] = []

    def load(name: str, device: str | None) -> Any:
        loaded.append(name)
        time.sleep(0.05)
        return SimpleNamespace(min_confidence=0.5, name=name)

    services = Services(AppConfig(cache_dir=tmp_path), load_estimator=load)
    assert not loaded, "loaded before it was asked for"
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(services.estimator("trg-mini")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loaded == ["trg-mini"] and len(set(map(id, found))) == 1


def test_a_failed_load_is_tried_again(tmp_path: Path) -> None:
    tries: list[str] = []

    def load(name: str, device: str | None) -> Any:
        tries.append(name)
        if len(tries) == 1:
            raise CheckpointError("broken")
        return SimpleNamespace(min_confidence=0.5)

    services = Services(AppConfig(cache_dir=tmp_path), load_estimator=load)
    with pytest.raises(CheckpointError):
        services.estimator("trg-mini")
    assert services.estimator("trg-mini").min_confidence == 0.5


def test_calls_take_turns() -> None:
    running, most = [], []

    def predict(image_rgb: Any) -> list[Any]:
        running.append(1)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()
        return []

    inner = SimpleNamespace(min_confidence=0.5, predict=predict, triangles="its own")
    shared = SharedEstimator(inner, lambda function: function)
    threads = [threading.Thread(target=shared.predict, args=(PICTURE,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5
    assert shared.triangles == "its own"


def test_a_missing_model_is_explained_before_it_is_loaded(tmp_path: Path) -> None:
    missing = [status for status in describe_models() if not status.present]
    if not missing:
        pytest.skip("all models are installed here")

    def load(name: str, device: str | None) -> Any:
        raise AssertionError("tried to load what is not there")

    services = Services(AppConfig(cache_dir=tmp_path), load_estimator=load)
    with pytest.raises(CheckpointError, match="fetch trg"):
        services.estimator(missing[0].name)


def test_the_menu_and_the_banner_say_what_is_missing(services: Services) -> None:
    there = ModelStatus("trg-mini", "trg-mini (bundled)", True, (), "")
    gone = ModelStatus("trg", "TRG", False, ("checkpoint/<x>.bin",), "Get it & put it there.")
    assert model_menu([there, gone]) == [
        ("trg-mini (bundled)", "trg-mini"),
        ("TRG – not installed", "trg"),
    ]
    assert missing_model_html("trg-mini", [there, gone]) == ""
    said = missing_model_html("trg", [there, gone])
    assert "checkpoint/&lt;x&gt;.bin" in said and "Get it &amp; put" in said
    banner = banner_html(services, "trg-mini")
    assert "trg-mini (bundled)" in banner and "CPU" in banner and "never stored" in banner


def test_files_go_with_their_visitor(tmp_path: Path) -> None:
    visitors = Visitors(tmp_path, idle_s=3600)
    one, other = visitors.get("a"), visitors.get("b")
    assert visitors.get("a") is one and one.folder != other.folder
    assert one.folder.name != "a" and len(one.folder.name) > 30, "cannot be guessed"
    folder = one.new_folder("picture")
    (folder / "x.jpg").write_bytes(b"x")
    visitors.close("a")
    visitors.close("a")
    assert not one.folder.exists() and other.folder.exists() and one.cancelled.is_set()
    visitors.close_all()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_app_left_is_swept(tmp_path: Path) -> None:
    old, fresh = tmp_path / "visitor-old", tmp_path / "visitor-fresh"
    for folder in (old, fresh):
        folder.mkdir()
    long_ago = time.time() - 3 * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    Visitors(tmp_path, idle_s=3600)
    assert not old.exists() and fresh.exists()


def test_idle_visitors_are_forgotten(tmp_path: Path) -> None:
    visitors = Visitors(tmp_path, idle_s=0.02)
    idle = visitors.get("idle")
    time.sleep(0.05)
    visitors.get("new")
    assert len(visitors) == 1 and not idle.folder.exists()


def test_a_page_that_closes_waits_for_its_job(tmp_path: Path) -> None:
    visitors = Visitors(tmp_path, idle_s=3600)
    visitor = visitors.get("a")
    still_there: list[bool] = []

    def job() -> None:
        with visitor.working:
            started.set()
            visitor.cancelled.wait(5)
            time.sleep(0.05)
            still_there.append(visitor.folder.exists())

    started = threading.Event()
    thread = threading.Thread(target=job)
    thread.start()
    started.wait()
    visitors.close("a")
    thread.join()
    assert still_there == [True] and not visitor.folder.exists()


def test_places_for_webcams() -> None:
    slots = LiveSlots(2)
    assert [slots.take() for _ in range(3)] == [True, True, False]
    slots.give_back()
    assert slots.take()


def test_the_gpu_is_lent_where_there_is_zero_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, world: Any
) -> None:
    lent: list[str] = []

    def gpu(duration: int) -> Callable[..., Any]:
        def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
            def run(method: str, *given: Any) -> Any:
                lent.append(method)
                return function(method, *given)

            return run

        return wrap

    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=gpu))
    plain = Services(AppConfig(cache_dir=tmp_path), lambda name, device: world)
    plain.estimator("trg-mini").predict(world.picture(0.0))
    assert not lent
    zero = Services(AppConfig(cache_dir=tmp_path, zero_gpu=True), lambda name, device: world)
    assert len(zero.estimator("trg-mini").predict(world.picture(0.0))) == 2
    zero.estimator("trg-mini").detector.detect(world.picture(0.0))
    assert lent == ["predict", "detect"]
    assert zero.device_label() == "GPU, lent per call"
