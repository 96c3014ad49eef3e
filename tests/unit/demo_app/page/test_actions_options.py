"""Switches of the page as one checked record."""

from __future__ import annotations

from typing import Any

import pytest

from demo_app.actions.options import (
    CAMERA_MODES,
    OptionError,
    PoseOptions,
    smoothing_of_strength,
)
from demo_app.inference.smoothing import SmoothingOptions
from models.geometry.cameras import DEFAULT_HORIZONTAL_FOV_DEG


def test_the_defaults_are_valid_and_give_what_they_say() -> None:
    options = PoseOptions().checked()
    assert options.camera_choice().mode == "auto"
    assert options.camera_choice().horizontal_fov_deg == DEFAULT_HORIZONTAL_FOV_DEG
    overlay = options.overlay()
    assert (overlay.axes, overlay.box, overlay.mesh, overlay.landmarks) == (
        True,
        True,
        "none",
        False,
    )
    light = options.pipeline_options().smoothing
    assert light is not None and light.min_cutoff_hz > SmoothingOptions().min_cutoff_hz
    assert PoseOptions(smoothing=False).pipeline_options().smoothing is None
    assert options.shown_convention().key == "300wlp"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": "gpt"}, "model"),
        ({"model": None}, "model"),
        ({"camera_mode": "guess"}, "camera mode"),
        ({"mesh": "gold"}, "mesh"),
        ({"convention": "../../etc"}, "convention"),
        ({"layers": ["axes", "wings"]}, "layer"),
        ({"horizontal_fov_deg": 5}, "field of view"),
        ({"horizontal_fov_deg": float("nan")}, "field of view|number"),
        ({"horizontal_fov_deg": None}, "field of view"),
        ({"smoothing_strength": 2}, "strength"),
        ({"fx_px": "wide"}, "fx"),
        ({"fx_px": True}, "fx"),
        ({"cy_px": float("inf")}, "cy"),
    ],
)
def test_a_wrong_value_is_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        PoseOptions(**changed).checked()


def test_an_empty_number_is_no_number() -> None:
    options = PoseOptions(camera_mode="intrinsics", fx_px=700, cx_px=0, cy_px="").checked()
    choice = options.camera_choice()
    assert (choice.fx_px, choice.fy_px) == (700.0, None)
    assert (choice.cx_px, choice.cy_px) == (None, None)


def test_messages_may_leave_out_but_not_invent() -> None:
    assert PoseOptions.from_message({"mesh": "shaded"}).mesh == "shaded"
    with pytest.raises(OptionError, match="device"):
        PoseOptions.from_message({"device": "cuda"})


def test_every_camera_mode_of_the_menu_is_known_to_the_camera_choice() -> None:
    assert set(CAMERA_MODES) <= {"auto", "exif", "fov", "intrinsics"}


def test_strength_is_monotonous_around_the_tuned_filter() -> None:
    weak, tuned, strong = (smoothing_of_strength(s) for s in (0.25, 0.5, 0.75))
    assert tuned == SmoothingOptions()
    assert weak.min_cutoff_hz == pytest.approx(2 * tuned.min_cutoff_hz)
    assert strong.min_cutoff_hz == pytest.approx(tuned.min_cutoff_hz / 2)
    assert weak.beta > tuned.beta > strong.beta
