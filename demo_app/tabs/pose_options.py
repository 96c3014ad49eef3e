"""The switches of the Pose tab: model, camera, what to draw, convention, smoothing."""

from __future__ import annotations

from dataclasses import dataclass, fields

import gradio as gr

from demo_app.actions.model_choices import banner_html, missing_model_html, model_menu
from demo_app.actions.options import (
    CAMERA_MODES,
    LAYERS,
    MAX_FOV_DEG,
    MESH_STYLES,
    MIN_FOV_DEG,
    PoseOptions,
)
from demo_app.services import Services
from models.geometry.cameras import WEBCAM_HORIZONTAL_FOV_DEG
from models.geometry.conventions import CONVENTIONS

DEFAULTS = PoseOptions()

INTRINSICS = {
    "fx": "fx (px)",
    "fy": "fy (0: as fx)",
    "cx": "cx (0: middle)",
    "cy": "cy (0: middle)",
}

SEND_TO_LIVE = """(...values) => {
  const names = %s;
  window.trgOptions = Object.fromEntries(names.map((name, i) => [name, values[i]]));
  window.dispatchEvent(new CustomEvent('trg:options'));
}""" % list(PoseOptions._fields)  # noqa: UP031 the text is full of braces


@dataclass(frozen=True)
class OptionSwitches:
    """One component for each field of `PoseOptions`, under the same name."""

    model: gr.Dropdown
    camera_mode: gr.Radio
    horizontal_fov_deg: gr.Slider
    fx_px: gr.Number
    fy_px: gr.Number
    cx_px: gr.Number
    cy_px: gr.Number
    layers: gr.CheckboxGroup
    mesh: gr.Radio
    convention: gr.Dropdown
    smoothing: gr.Checkbox
    smoothing_strength: gr.Slider
    mirror: gr.Checkbox
    average_mirror: gr.Checkbox

    def inputs(self) -> list[gr.components.Component]:
        """In the order of `PoseOptions`, for `*options` of a handler."""
        return [getattr(self, name) for name in PoseOptions._fields]


@dataclass(frozen=True)
class OptionComponents:
    """The switches and what stands around them."""

    switches: OptionSwitches
    missing: gr.HTML
    fov_group: gr.Column
    intrinsics_group: gr.Row
    distance_cm: gr.Number
    calibrate: gr.Button
    calibration_note: gr.HTML
    set_zero: gr.Button
    clear_zero: gr.Button
    zero_note: gr.HTML


def build(services: Services) -> OptionComponents:
    """The column of switches."""
    with gr.Column(elem_classes="card"):
        model = gr.Dropdown(
            model_menu(services.model_statuses()),
            value=services.config.default_model,
            label="Model",
            elem_id="pose-model",
        )
        missing = gr.HTML(missing_model_html(services.config.default_model), elem_id="pose-missing")
    layers, mesh, mirror = _build_drawing()
    with gr.Accordion("Camera", open=False, elem_classes="panel", elem_id="pose-camera"):
        camera = _build_camera()
    with gr.Accordion("Angles and zero", open=False, elem_classes="panel", elem_id="pose-angles"):
        convention = gr.Dropdown(
            [(convention.label, key) for key, convention in CONVENTIONS.items()],
            value=DEFAULTS.convention,
            label="Convention",
            info="Of the angles and the matrix on this page. Files always hold the OpenCV matrix "
            "and 300W-LP angles.",
            elem_id="pose-convention",
        )
        with gr.Row(elem_classes="tight"):
            set_zero = gr.Button("Set zero", size="sm", elem_id="pose-set-zero")
            clear_zero = gr.Button("Clear zero", size="sm", elem_id="pose-clear-zero")
        zero_note = gr.HTML(
            '<p class="hint">Zero makes the pose on screen your neutral one: '
            "angles and position are then relative to it.</p>"
        )
    smoothing, strength, average_mirror = _build_steadiness()
    switches = OptionSwitches(
        model=model,
        **camera["switches"],
        layers=layers,
        mesh=mesh,
        convention=convention,
        smoothing=smoothing,
        smoothing_strength=strength,
        mirror=mirror,
        average_mirror=average_mirror,
    )
    return OptionComponents(
        switches=switches,
        missing=missing,
        set_zero=set_zero,
        clear_zero=clear_zero,
        zero_note=zero_note,
        **camera["others"],
    )


def _build_drawing() -> tuple[gr.CheckboxGroup, gr.Radio, gr.Checkbox]:
    with gr.Column(elem_classes="card"):
        layers = gr.CheckboxGroup(
            [(label, key) for key, label in LAYERS.items()],
            value=list(DEFAULTS.layers),
            label="Draw",
            elem_id="pose-layers",
        )
        mesh = gr.Radio(
            [(label, key) for key, label in MESH_STYLES.items()],
            value=DEFAULTS.mesh,
            show_label=False,
            container=False,
            elem_id="pose-mesh",
            elem_classes="under-draw",
        )
        mirror = gr.Checkbox(
            DEFAULTS.mirror,
            label="Mirror the preview",
            container=False,
            elem_id="pose-mirror",
            elem_classes="under-draw",
        )
    return layers, mesh, mirror


def _build_camera() -> dict[str, dict[str, gr.components.Component]]:
    mode = gr.Radio(
        [(label, key) for key, label in CAMERA_MODES.items()],
        value=DEFAULTS.camera_mode,
        label="Where the focal length comes from",
        info="Auto reads EXIF and takes the field of view below where there is none.",
        elem_id="pose-camera-mode",
    )
    with gr.Column(elem_classes="tight") as fov_group:
        fov = gr.Slider(
            MIN_FOV_DEG,
            MAX_FOV_DEG,
            value=DEFAULTS.horizontal_fov_deg,
            step=0.5,
            label="Horizontal field of view (degrees)",
            info=f"Assumed {DEFAULTS.horizontal_fov_deg:g}°, for a webcam "
            f"{WEBCAM_HORIZONTAL_FOV_DEG:g}°, unless you know better. "
            "The distance z follows the focal length.",
            elem_id="pose-fov",
        )
    with gr.Row(visible=False, elem_classes="tight intrinsics") as intrinsics_group:
        numbers = {
            f"{name}_px": gr.Number(0, label=label, minimum=0, min_width=90, elem_id=f"pose-{name}")
            for name, label in INTRINSICS.items()
        }
    with gr.Row(elem_classes="tight calibrate"):
        distance_cm = gr.Number(
            60, label="My face is … cm away", minimum=10, maximum=1000, min_width=120
        )
        calibrate = gr.Button("Calibrate", size="sm", min_width=90, elem_id="pose-calibrate")
    note = gr.HTML('<p class="hint">One picture at a known distance gives the focal length.</p>')
    return {
        "switches": {"camera_mode": mode, "horizontal_fov_deg": fov, **numbers},
        "others": {
            "fov_group": fov_group,
            "intrinsics_group": intrinsics_group,
            "distance_cm": distance_cm,
            "calibrate": calibrate,
            "calibration_note": note,
        },
    }


def _build_steadiness() -> tuple[gr.Checkbox, gr.Slider, gr.Checkbox]:
    with gr.Accordion("Steadiness", open=False, elem_classes="panel", elem_id="pose-smoothing"):
        smoothing = gr.Checkbox(
            DEFAULTS.smoothing,
            label="Smooth videos and the webcam",
            info="One-Euro filter on the rotation and the position; single pictures are never "
            "smoothed.",
            container=False,
        )
        strength = gr.Slider(
            0.0, 1.0, value=DEFAULTS.smoothing_strength, step=0.05, label="Strength"
        )
        average_mirror = gr.Checkbox(
            DEFAULTS.average_mirror,
            label="Average with the mirror image",
            info="The network looks at each face twice, once mirrored, and the mean is shown: "
            "steadier, and slower.",
            container=False,
            elem_id="pose-average-mirror",
        )
    return smoothing, strength, average_mirror


def connect(options: OptionComponents, banner: gr.HTML, services: Services) -> None:
    """What the switches do to each other; what they do to results is the views' part."""
    switches = options.switches

    def on_model(name: str) -> tuple[str, str]:
        said = missing_model_html(name, services.model_statuses())
        return said, banner_html(services, name)

    def on_camera_mode(mode: str) -> tuple[gr.Column, gr.Row]:
        return gr.Column(visible=mode != "intrinsics"), gr.Row(visible=mode == "intrinsics")

    switches.model.change(
        on_model,
        switches.model,
        [options.missing, banner],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    switches.camera_mode.change(
        on_camera_mode,
        switches.camera_mode,
        [options.fov_group, options.intrinsics_group],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    on_any_change(options.switches, SEND_TO_LIVE)


def on_any_change(switches: OptionSwitches, js: str) -> None:
    """Run a piece of JavaScript in the page with all switches when one of them changes."""
    for field in fields(switches):
        getattr(switches, field.name).change(fn=None, inputs=switches.inputs(), js=js)
