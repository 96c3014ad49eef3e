"""The head model that a visitor works on in the FLAME tab, and the head's parameters."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
import weakref
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from demo_app.actions.flame_parameters import FlameTabError, HeadParameters
from demo_app.actions.flame_sampling import mirror_ids
from demo_app.actions.flame_sliders import slider_groups
from demo_app.services import Services, Visitor
from models.flame.assets import FlameAssets, open_head_assets
from models.flame.layer import FlameLayer
from viewer.datasets.mica_layout import Fit
from viewer.render.mesh_files import NamedMesh
from viewer.render.palette import TRACK_COLOURS, hex_colour
from viewer.render.render_scene import CLAY

Array = np.ndarray

FLAME = "flame"
"""Name of the desk in `Visitor.results`."""


@dataclass(frozen=True)
class Clip:
    """A moving head. title: for the screen."""

    title: str
    fps: float
    frames: tuple[HeadParameters, ...]


@dataclass(frozen=True)
class ShownHead:
    """A head as it is seen, in the model's frame, metres."""

    vertices_flame_m: Float[Array, "v 3"]
    landmarks_68_flame_m: Float[Array, "68 3"] | None


@dataclass(eq=False)
class FlameDesk:
    """folder: for files of this desk. other: the registration that was opened.

    fits: of the MICA folder that was opened, by their keys. stem: for names of files.
    """

    folder: Path
    assets: FlameAssets
    layer: FlameLayer
    stem: str = "head"
    other: NamedMesh | None = None
    clip: Clip | None = None
    fits: dict[str, Fit] = field(default_factory=dict)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(18))

    @cached_property
    def mirror(self) -> Int[Array, "v"]:
        """See `mirror_ids`; takes a second."""
        return mirror_ids(self.assets)

    def head(self, parameters: HeadParameters) -> ShownHead:
        """The mesh of parameters."""
        tensors = [
            torch.tensor(values, dtype=torch.float32)[None] for values in vars(parameters).values()
        ]
        with torch.inference_mode():
            out = self.layer(*tensors)
        landmarks = out.landmarks_68_flame_m
        return ShownHead(
            out.vertices_flame_m[0].numpy(), None if landmarks is None else landmarks[0].numpy()
        )


class DeskShelf:
    """All desks by their tokens, as long as their visitors have them."""

    def __init__(self) -> None:
        self._desks: weakref.WeakValueDictionary[str, FlameDesk] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    def add(self, desk: FlameDesk) -> None:
        with self._lock:
            self._desks[desk.token] = desk

    def get(self, token: object) -> FlameDesk:
        """Raises: FlameTabError."""
        with self._lock:
            desk = self._desks.get(token) if isinstance(token, str) else None
        if desk is None:
            raise FlameTabError("The server no longer has this head: reload the page.")
        return desk


@lru_cache(maxsize=1)
def _open_head_layer() -> FlameLayer:
    return FlameLayer(open_head_assets())


def new_desk(services: Services, visitor: Visitor, assets: FlameAssets) -> FlameDesk:
    """A desk with this model in place of the visitor's earlier one."""
    is_ours = assets is open_head_assets()
    layer = _open_head_layer() if is_ours else FlameLayer(assets)
    desk = FlameDesk(visitor.new_folder(FLAME), assets, layer)
    services.kept(DeskShelf).add(desk)
    visitor.keep(FLAME, desk)
    return desk


def desk_of(services: Services, visitor: Visitor) -> FlameDesk:
    """The visitor's desk; the first one has the open head."""
    desk = visitor.results.get(FLAME)
    return desk if desk is not None else new_desk(services, visitor, open_head_assets())


def mesh_bytes(desk: FlameDesk, parameters: HeadParameters) -> bytes:
    """Vertices, then the 68 landmarks where there are some: little-endian single floats."""
    head = desk.head(parameters)
    parts = [head.vertices_flame_m]
    if head.landmarks_68_flame_m is not None:
        parts.append(head.landmarks_68_flame_m)
    return np.concatenate(parts).astype("<f4").tobytes()


def stage_value(*messages: dict[str, Any]) -> str:
    """Messages for the page, one after the other; never equal to an earlier value."""
    return json.dumps([*messages, {"kind": "end", "number": time.monotonic_ns()}])


def model_message(desk: FlameDesk, parameters: HeadParameters) -> dict[str, Any]:
    """What the page needs to show and to move a head."""
    assets = desk.assets
    return {
        "kind": "model",
        "desk": desk.token,
        "name": assets.name,
        "title": model_title(assets),
        "vertices": len(assets.template_vertices_m),
        "triangles": base64_of(assets.triangles, "<u4"),
        "landmarks": 0 if assets.landmarks is None else 68,
        "colour": list(CLAY),
        "masks": [
            {
                "name": name,
                "colour": hex_colour(TRACK_COLOURS[k % len(TRACK_COLOURS)]),
                "ids": base64_of(ids, "<u4"),
            }
            for k, (name, ids) in enumerate(sorted(assets.masks.items()))
        ],
        "groups": slider_groups(assets),
        "parameters": parameters.message(),
    }


def base64_of(array: Array, dtype: str) -> str:
    """The numbers of an array for a script."""
    return base64.b64encode(np.ascontiguousarray(array).astype(dtype).tobytes()).decode("ascii")


def model_title(assets: FlameAssets) -> str:
    """Which head it is; the open head is never called FLAME."""
    return "The open head" if assets.is_open_head else assets.name
