"""Which sliders a head model has in the FLAME tab: names, ranges and units."""

from __future__ import annotations

import math
import re
from typing import Any

from models.flame.assets import FlameAssets

SHAPES, NUMBERED_EXPRESSIONS = 20, 20
"""Leading components with a slider; the others keep what was loaded or sampled."""

SIGMAS = 3.0
_DEGREES = {"global": 90.0, "neck": 45.0, "jaw": 30.0, "eye": 40.0}
_AXES = ("nod", "turn", "tilt")
_JAW_AXES = ("open", "sideways", "twist")
_EXPRESSION_GROUPS = {
    "brow": "Brows",
    "eye": "Eyes",
    "jaw": "Jaw",
    "mouth": "Mouth",
    "cheek": "Cheeks, nose, tongue",
    "nose": "Cheeks, nose, tongue",
    "tongue": "Cheeks, nose, tongue",
}
_SHIFT_MM = 100.0


def slider_groups(assets: FlameAssets) -> list[dict[str, Any]]:
    """Groups of sliders: each with the array and the index that it sets, as value = scale * shown.

    Turns are the parts of a rotation vector, shown in degrees.
    """
    shapes = min(SHAPES, len(assets.shape_directions_m))
    shape = [_component("shape", k, f"Shape {k + 1}") for k in range(shapes)]
    return [
        {"title": "Shape", "open": True, "sliders": shape},
        *_expressions(assets),
        *_joints(assets),
    ]


def _component(array: str, index: int, label: str) -> dict[str, Any]:
    return {
        "array": array, "index": index, "label": label,
        "low": -SIGMAS, "high": SIGMAS, "step": 0.05, "scale": 1.0, "unit": "",
    }  # fmt: skip


def _expressions(assets: FlameAssets) -> list[dict[str, Any]]:
    if not assets.expression_names:
        count = min(NUMBERED_EXPRESSIONS, len(assets.expression_directions_m))
        sliders = [_component("expression", k, f"Expression {k + 1}") for k in range(count)]
        return [{"title": "Expression", "open": True, "sliders": sliders}] if sliders else []
    groups: dict[str, list[dict[str, Any]]] = {title: [] for title in _EXPRESSION_GROUPS.values()}
    for k, name in enumerate(assets.expression_names):
        part = re.match("[a-z]*", name).group()
        slider = _component("expression", k, spaced(name)) | {"low": 0.0, "high": 1.0, "step": 0.01}
        groups.setdefault(_EXPRESSION_GROUPS.get(part, "More"), []).append(slider)
    return [
        {"title": f"Expression: {title[:1].lower()}{title[1:]}", "open": False, "sliders": sliders}
        for title, sliders in groups.items()
        if sliders
    ]


def spaced(name: str) -> str:
    """`browDownLeft` as "Brow down left"."""
    words = re.findall("[A-Z]?[a-z]+|[0-9]+|[A-Z]+", name) or [name]
    text = " ".join(word.lower() for word in words)
    return sentence_case(text)


def sentence_case(text: str) -> str:
    """With a capital first."""
    return text[:1].upper() + text[1:]


def _joints(assets: FlameAssets) -> list[dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for k, name in enumerate(assets.joint_names):
        if name == "jaw" and not assets.has_jaw:
            continue
        groups.setdefault(_group_of(k, name), []).extend(_turns(k, name))
    shift = [
        {
            "array": "translation_m", "index": axis, "label": f"Move {letter}",
            "low": -_SHIFT_MM, "high": _SHIFT_MM, "step": 1.0, "scale": 0.001, "unit": "mm",
        }
        for axis, letter in enumerate("xyz")
    ]  # fmt: skip
    first = _group_of(0, assets.joint_names[0])
    groups[first] += shift
    order = [title for title in groups if title != first]
    return [{"title": title, "open": False, "sliders": groups[title]} for title in (*order, first)]


def _group_of(index: int, name: str) -> str:
    if index == 0:
        return "Global pose"
    if name in ("neck", "head"):
        return "Neck joint"
    return "Eye joints" if "eye" in name else f"{spaced(name)} joint"


def _turns(index: int, name: str) -> list[dict[str, Any]]:
    kind = "global" if index == 0 else "eye" if "eye" in name else name
    degrees = _DEGREES.get(kind, _DEGREES["neck"])
    axes, words = (0, 1, 2), _JAW_AXES if kind == "jaw" else _AXES
    prefix = ""
    if kind == "eye":
        axes = (0, 1)
        prefix = (
            "Left eye " if name.lower().startswith("l") or name.endswith("_l") else "Right eye "
        )
    return [
        {
            "array": "pose_rad",
            "index": 3 * index + axis,
            "label": sentence_case(f"{prefix}{words[axis]}"),
            "low": -degrees,
            "high": degrees,
            "step": 0.5,
            "scale": math.pi / 180,
            "unit": "°",
        }
        for axis in axes
    ]
