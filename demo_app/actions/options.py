"""PoseOptions: every switch of the Pose tab as one record, checked once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from demo_app.inference.camera_choice import CameraChoice
from demo_app.inference.pipeline import PipelineOptions
from demo_app.inference.smoothing import SmoothingOptions
from demo_app.runs.exports import is_own_name
from models.geometry.cameras import DEFAULT_HORIZONTAL_FOV_DEG, WEBCAM_HORIZONTAL_FOV_DEG
from models.geometry.conventions import CONVENTIONS, Convention
from models.weights import MODELS
from viewer.render.overlay import OverlayOptions

LAYERS = {"axes": "Axes", "box": "Box", "landmarks": "Landmarks"}
"""What can be drawn beside the mesh, and its name on the screen."""

SHADED, FULL_HEAD = "shaded", "head"
MESH_STYLES = {
    "none": "No mesh",
    "wireframe": "Wireframe",
    SHADED: "Shaded",
    FULL_HEAD: "Full head",
}
"""How the heads are drawn: as the network's mesh, or as a whole head fitted to it."""

CAMERA_MODES = {
    "auto": "Auto",
    "fov": "Field of view",
    "intrinsics": "fx fy cx cy",
}
"""Ways to find the camera. Calibration by distance ends in one of them."""

DEFAULT_CONVENTION = "300wlp"
"""The convention of the JSON and CSV files, so that the table agrees with them at first."""

MIN_FOV_DEG, MAX_FOV_DEG = 10.0, 150.0


class OptionError(ValueError):
    """A switch has a value that cannot be used; the message says which and what would do."""


class PoseOptions(NamedTuple):
    """The switches in the order in which the page holds them.

    model: a name of `models.weights.MODELS`, or of an `OwnModel`.
    camera_mode: a key of `CAMERA_MODES`.
    fx_px, fy_px, cx_px, cy_px: None or 0 where the field is empty.
    layers: keys of `LAYERS`; mesh: a key of `MESH_STYLES`; convention: a key of `CONVENTIONS`.
    smoothing: of videos and the webcam. smoothing_strength: 0 to 1; light by default, so that an
        overlay trails the face little.
    mirror: shows the picture mirrored, the numbers stay.
    average_mirror: the mean of what the network says of a face and of its mirror image.
    """

    model: str = "trg-mini"
    camera_mode: str = "auto"
    horizontal_fov_deg: float = DEFAULT_HORIZONTAL_FOV_DEG
    fx_px: float | None = None
    fy_px: float | None = None
    cx_px: float | None = None
    cy_px: float | None = None
    layers: Sequence[str] = ("axes", "box")
    mesh: str = "none"
    convention: str = DEFAULT_CONVENTION
    smoothing: bool = True
    smoothing_strength: float = 0.25
    mirror: bool = False
    average_mirror: bool = False

    def checked(self) -> PoseOptions:
        """The same with clean types. Raises: OptionError."""
        if not is_own_name(self.model):
            _one_of("model", self.model, MODELS)
        _one_of("camera mode", self.camera_mode, CAMERA_MODES)
        _one_of("mesh style", self.mesh, MESH_STYLES)
        _one_of("convention", self.convention, CONVENTIONS)
        for layer in self.layers or ():
            _one_of("layer", layer, LAYERS)
        fov_deg = _number("horizontal field of view", self.horizontal_fov_deg)
        if fov_deg is None or not MIN_FOV_DEG <= fov_deg <= MAX_FOV_DEG:
            raise OptionError(
                f"The horizontal field of view must be {MIN_FOV_DEG:g} to {MAX_FOV_DEG:g} degrees."
            )
        strength = _number("smoothing strength", self.smoothing_strength)
        if strength is None or not 0.0 <= strength <= 1.0:
            raise OptionError("The smoothing strength must be 0 to 1.")
        return self._replace(
            horizontal_fov_deg=fov_deg,
            **{name: _number(name, getattr(self, name)) or None for name in _INTRINSICS},
            layers=tuple(self.layers or ()),
            smoothing=bool(self.smoothing),
            smoothing_strength=strength,
            mirror=bool(self.mirror),
            average_mirror=bool(self.average_mirror),
        )

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> PoseOptions:
        """Options from a JSON object; absent ones keep their default. Raises: OptionError."""
        unknown = set(message) - set(cls._fields)
        if unknown:
            raise OptionError(f"Unknown setting {sorted(unknown)[0]!r}.")
        return cls(**message).checked()

    def camera_choice(self, webcam: bool = False) -> CameraChoice:
        """How to find the camera of a picture; a webcam is wider where nothing else was said."""
        fov_deg = self.horizontal_fov_deg
        if webcam and self.camera_mode == "auto" and fov_deg == DEFAULT_HORIZONTAL_FOV_DEG:
            fov_deg = WEBCAM_HORIZONTAL_FOV_DEG
        return CameraChoice(
            mode=self.camera_mode,
            horizontal_fov_deg=fov_deg,
            fx_px=self.fx_px,
            fy_px=self.fy_px,
            cx_px=self.cx_px,
            cy_px=self.cy_px,
        )

    def overlay(self) -> OverlayOptions:
        """What to draw of what the network found."""
        return OverlayOptions(
            axes="axes" in self.layers,
            box="box" in self.layers,
            mesh=SHADED if self.mesh == FULL_HEAD else self.mesh,
            landmarks="landmarks" in self.layers,
        )

    def pipeline_options(self, uncertainty: bool = True) -> PipelineOptions:
        """For a stream of frames."""
        smoothing = smoothing_of_strength(self.smoothing_strength) if self.smoothing else None
        return PipelineOptions(
            smoothing=smoothing, uncertainty=uncertainty, average_mirror=self.average_mirror
        )

    def shown_convention(self) -> Convention:
        """The convention of the table's angles."""
        return CONVENTIONS[self.convention]


_INTRINSICS = ("fx_px", "fy_px", "cx_px", "cy_px")


def smoothing_of_strength(strength: float) -> SmoothingOptions:
    """0.5 gives the tuned filter; each step of 0.25 halves or doubles its cutoffs."""
    tuned, factor = SmoothingOptions(), 2.0 ** (4.0 * (0.5 - strength))
    return SmoothingOptions(
        min_cutoff_hz=tuned.min_cutoff_hz * factor,
        beta=tuned.beta * math.sqrt(factor),
        position_beta=tuned.position_beta * math.sqrt(factor),
    )


def _one_of(what: str, value: Any, known: Mapping[str, Any]) -> None:
    if not isinstance(value, str) or value not in known:
        raise OptionError(f"Unknown {what} {value!r}: use {', '.join(known)}.")


def _number(what: str, value: Any) -> float | None:
    """None for an empty field."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise OptionError(f"The {what.removesuffix('_px')} must be a number, got {value!r}.")
    return float(value)
