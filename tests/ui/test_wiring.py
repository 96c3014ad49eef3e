"""Every event of the built page: inputs fit the handler, outputs fit what it returns."""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.blocks import BlockFunction

from demo_app.actions.options import PoseOptions
from demo_app.config import AppConfig
from demo_app.services import Services
from demo_app.tabs.pose_options import INTRINSICS
from demo_app.ui import build_app

SPECIAL = (gr.Request, gr.EventData, gr.Progress)
"""Annotations of parameters that Gradio fills in itself."""


def _never(*_: object) -> None:
    raise AssertionError("a network was loaded while the page was built")


def _build(folder: Path, **config: Any) -> gr.Blocks:
    return build_app(Services(AppConfig(cache_dir=folder, **config), load_estimator=_never))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> gr.Blocks:
    return _build(tmp_path_factory.mktemp("cache"))


def _is_special(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, SPECIAL)


def accepted(handler: Any) -> tuple[int, int]:
    """Least and greatest number of inputs. `*options` stands for all fields of `PoseOptions`."""
    hints = typing.get_type_hints(handler)
    least = most = 0
    for parameter in inspect.signature(handler).parameters.values():
        if _is_special(hints.get(parameter.name)):
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            assert parameter.name == "options", f"*{parameter.name} says nothing about its length"
            least += len(PoseOptions._fields)
            most += len(PoseOptions._fields)
        else:
            least += parameter.default is parameter.empty
            most += 1
    return least, most


def returned(handler: Any) -> int:
    """Number of values that a handler gives back, by its return annotation."""
    hints = typing.get_type_hints(handler)
    assert "return" in hints, f"{handler.__qualname__} has no return annotation"
    kind = hints["return"]
    if typing.get_origin(kind) in (Iterator, Generator, AsyncIterator):
        kind = typing.get_args(kind)[0]
    if kind is types.NoneType:
        return 0
    if typing.get_origin(kind) is tuple:
        return len(typing.get_args(kind))
    if inspect.isclass(kind) and hasattr(kind, "_fields"):
        return len(kind._fields)
    return 1


def problems(event: BlockFunction) -> list[str]:
    """What does not fit in one event, as sentences."""
    if event.fn is None:
        return [] if event.js else ["neither Python nor JavaScript"]
    given, wanted = len(event.inputs), len(event.outputs)
    least, most = accepted(event.fn)
    found = []
    if not least <= given <= most:
        found.append(f"{event.name}: {given} inputs for {least} to {most} parameters")
    if returned(event.fn) != wanted:
        found.append(f"{event.name}: {returned(event.fn)} values for {wanted} outputs")
    return found


def _own_events(page: gr.Blocks) -> list[BlockFunction]:
    """Those whose handler is ours; examples bring Gradio's own."""
    return [
        event
        for event in page.fns.values()
        if event.fn is None or event.fn.__module__.startswith("demo_app")
    ]


def test_every_event_fits(page: gr.Blocks) -> None:
    events = _own_events(page)
    assert len(events) > 90
    found = [sentence for event in events for sentence in problems(event)]
    assert not found, "\n".join(found)


def test_on_a_space_too(tmp_path: Path) -> None:
    page = _build(tmp_path, on_space=True)
    found = [sentence for event in _own_events(page) for sentence in problems(event)]
    assert not found, "\n".join(found)


def test_javascript_gets_and_gives_the_right_number(page: gr.Blocks) -> None:
    checked = 0
    for event in page.fns.values():
        if event.fn is not None or not event.js:
            continue
        if names := re.search(r"const names = (\[.*?\]);", event.js):
            assert json.loads(names[1].replace("'", '"')) == list(PoseOptions._fields)
            assert len(event.inputs) == len(PoseOptions._fields) and not event.outputs
            checked += 1
        elif event.outputs:
            assert event.js.count("__type__") == len(event.outputs)
            checked += 1
    assert checked >= len(PoseOptions._fields) + 4


def test_switches_come_in_the_order_of_the_options(page: gr.Blocks) -> None:
    labels = {
        "model": "Model",
        "camera_mode": "Where the focal length comes from",
        "horizontal_fov_deg": "Horizontal field of view (degrees)",
        **{f"{name}_px": label for name, label in INTRINSICS.items()},
        "layers": "Draw",
        "convention": "Convention",
        "smoothing_strength": "Strength",
        "mirror": "Mirror the preview",
        "average_mirror": "Average with the mirror image",
    }
    ends = [
        event.inputs[-len(PoseOptions._fields) :]
        for event in _own_events(page)
        if event.fn and "options" in inspect.signature(event.fn).parameters
    ]
    assert len(ends) > 10
    for inputs in ends:
        for name, component in zip(PoseOptions._fields, inputs, strict=True):
            assert labels.get(name) in (None, component.label)


@pytest.mark.filterwarnings("ignore:Expected")
def test_a_planted_mistake_is_found() -> None:
    with gr.Blocks() as blocks:
        box = gr.Textbox()

        def one_in_two_out(text: str) -> tuple[str, str]:
            return text, text

        box.change(one_in_two_out, [box, box], [box])
    (event,) = blocks.fns.values()
    assert problems(event) == [
        "one_in_two_out: 2 inputs for 1 to 1 parameters",
        "one_in_two_out: 2 values for 1 outputs",
    ]


def test_named_endpoints_and_nothing_else(page: gr.Blocks) -> None:
    named = page.get_api_info()["named_endpoints"]
    assert set(named) == {"/predict_image", "/predict_video", "/predict_files", "/models"}
    assert not page.get_api_info()["unnamed_endpoints"]


@pytest.mark.parametrize(
    ("config", "there"),
    [
        ({}, True),
        ({"on_space": True}, False),
        ({"server_name": "0.0.0.0"}, False),
        ({"public_link": True}, False),
    ],
)
def test_a_path_can_be_typed_only_where_nobody_else_comes(
    config: dict[str, Any], there: bool, tmp_path: Path
) -> None:
    ids = [getattr(block, "elem_id", None) for block in _build(tmp_path, **config).blocks.values()]
    assert any(str(name).startswith("local-path-") for name in ids) == there
