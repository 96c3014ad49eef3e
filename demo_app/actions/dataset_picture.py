"""Pictures of samples with their annotation drawn: thumbnails from a cache, full pictures."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from demo_app.actions.dataset_annotation import (
    SecondPose,
    annotation_of,
    needs_detail,
    other_pose,
)
from demo_app.actions.dataset_predictions import second_pose, stored_prediction
from demo_app.actions.dataset_shelf import DatasetActionError, OpenDataset, known_row, shelf_of
from demo_app.inference.export import atomic_file
from demo_app.services import Services
from viewer.datasets.sample import UnreadablePictureError
from viewer.datasets.source import DatasetError, SampleDetail
from viewer.render.annotation import LAYERS, Annotation, blank_picture, build_annotation
from viewer.render.labels import plate_wh_px
from viewer.render.overlay import draw_overlay
from viewer.render.palette import TRACK_COLOURS
from viewer.render.shapes import DrawList, Label

__all__ = [
    "DEFAULT_LAYERS",
    "LAYERS",
    "LAYER_TITLES",
    "PICTURE_PATH",
    "THUMBNAIL_PATH",
    "picture_address",
    "picture_jpeg",
    "thumbnail_address",
    "thumbnail_jpeg",
]

Array = np.ndarray

THUMBNAIL_PATH = "/studio/datasets/thumbnail"
PICTURE_PATH = "/studio/datasets/picture"

LAYER_TITLES = {
    "box": "Box",
    "axes": "Axes",
    "landmarks": "68 landmarks",
    "points": "Other points",
    "mesh": "Mesh",
    "depth": "Depth points",
}
DEFAULT_LAYERS = ("box", "axes")

THUMBNAIL_PX = 224
THUMBNAIL_REACH = 2.1
"""Side of the cut-out over the longer side of the head's box."""

MAX_PICTURE_PX = 1600
BLANK_WH_PX = (720, 720)
THUMBNAIL_QUALITY, PICTURE_QUALITY = 84, 92
DRAWING_VERSION = 1
"""Part of a thumbnail's name in the cache: raise it when drawings change."""

MAX_CACHED = 50_000
"""Thumbnails kept of one data set; about 10 kB each."""

_DECODERS = threading.Semaphore(2)
"""Pictures are decoded two at a time, so that a page of thumbnails leaves room for the rest."""


def thumbnail_address(data_id: str, key: str, layers: Sequence[str] = DEFAULT_LAYERS) -> str:
    """Address of a thumbnail, relative to the page."""
    asked = {"data": data_id, "key": key, "layers": ",".join(layers)}
    return f"{THUMBNAIL_PATH.removeprefix('/')}?{urlencode(asked)}"


def picture_address(
    data_id: str,
    key: str,
    layers: Sequence[str] = DEFAULT_LAYERS,
    pose: str = "",
    model: str = "",
) -> str:
    """Address of the whole picture, relative to the page.

    pose: name of another reading of the label (`SampleView.poses`). model: whose stored result is
    drawn beside the label, dashed.
    """
    asked = {"data": data_id, "key": key, "layers": ",".join(layers)}
    asked |= {name: text for name, text in (("pose", pose), ("model", model)) if text}
    return f"{PICTURE_PATH.removeprefix('/')}?{urlencode(asked)}"


def thumbnail_jpeg(services: Services, data_id: str, key: str, layers: Sequence[str]) -> bytes:
    """224 px square around the head. From the cache where key, files and layers are the same.

    Raises: DatasetActionError for a data set that is not open, a key that is not in its index or
    a layer that does not exist. A picture that cannot be read gives one that says so.
    """
    opened = shelf_of(services).get(data_id)
    row = known_row(services, data_id, key)
    checked = _checked(layers)
    cached = _cache_path(services, opened, row, checked)
    if cached.is_file():
        return cached.read_bytes()
    with _DECODERS:
        drawn = _draw_thumbnail(opened, key, checked)
    if drawn is None:
        return _jpeg(_message((THUMBNAIL_PX, THUMBNAIL_PX), "no picture"), THUMBNAIL_QUALITY)
    data = _jpeg(drawn, THUMBNAIL_QUALITY)
    cached.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(cached) as file:
        file.write(data)
    return data


def picture_jpeg(
    services: Services,
    data_id: str,
    key: str,
    layers: Sequence[str],
    pose: str = "",
    model: str = "",
) -> bytes:
    """The whole picture with the layers, at most 1600 px wide. Raises: as `thumbnail_jpeg`."""
    opened = shelf_of(services).get(data_id)
    known_row(services, data_id, key)
    second = second_pose(stored_prediction(opened.folder, model, key))
    with _DECODERS:
        try:
            drawn = draw_sample(opened, key, _checked(layers), pose, second)
        except (DatasetError, UnreadablePictureError):
            drawn = _message((640, 480), "This picture cannot be read.")
    return _jpeg(drawn, PICTURE_QUALITY)


def encode_picture(opened: OpenDataset, key: str, layers: Sequence[str]) -> bytes:
    """The whole picture with the layers as JPEG. Raises: DatasetError, UnreadablePictureError,
    DatasetActionError."""
    return _jpeg(draw_sample(opened, key, _checked(layers)), PICTURE_QUALITY)


def draw_sample(
    opened: OpenDataset,
    key: str,
    layers: Sequence[str],
    pose: str = "",
    second: SecondPose | None = None,
) -> UInt8[Array, "h w 3"]:
    """Raises: DatasetError, UnreadablePictureError."""
    scene = _scene(opened, key, layers, pose, second)
    scale = min(1.0, MAX_PICTURE_PX / max(scene.annotation.size_wh_px))
    return _drawn(scene, layers, (0.0, 0.0), scale, None)


@dataclass(frozen=True)
class _Scene:
    image_rgb: UInt8[Array, "h w 3"]
    annotation: Annotation


def _checked(layers: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in layers if name not in LAYERS]
    if unknown:
        raise DatasetActionError(f"There is no layer {unknown[0]!r}.")
    return tuple(name for name in LAYERS if name in layers)


def _scene(
    opened: OpenDataset,
    key: str,
    layers: Sequence[str],
    pose: str = "",
    second: SecondPose | None = None,
) -> _Scene:
    sample = opened.dataset.read(key)
    detail = SampleDetail(sample)
    if pose or needs_detail(sample.image is not None, layers):
        detail = opened.dataset.detail(key)
    if sample.image is None:
        image_rgb, drawn = blank_picture(BLANK_WH_PX), BLANK_WH_PX
    else:
        image_rgb = sample.read_image_rgb()
        drawn = (image_rgb.shape[1], image_rgb.shape[0])
    return _Scene(image_rgb, annotation_of(detail, drawn, other_pose(detail, pose), second))


def _draw_thumbnail(
    opened: OpenDataset, key: str, layers: Sequence[str]
) -> UInt8[Array, "h w 3"] | None:
    """None where the picture or its label cannot be read."""
    try:
        scene = _scene(opened, key, layers)
    except (DatasetError, UnreadablePictureError):
        return None
    bare = opened.dataset.read(key).image is None
    shown = ["mesh"] if bare else layers
    left, top, side = _cut_out(scene.annotation, bare)
    return _drawn(scene, shown, (left, top), THUMBNAIL_PX / side, (THUMBNAIL_PX, THUMBNAIL_PX))


def _cut_out(annotation: Annotation, whole: bool) -> tuple[float, float, float]:
    """Left, top and side of a square around the head, moved into the picture where it fits."""
    width, height = annotation.size_wh_px
    box = None if whole else annotation.face_box_px()
    if box is None:
        side = float(max(width, height))
        return (width - side) / 2, (height - side) / 2, side
    side = float(np.clip(THUMBNAIL_REACH * (box[2:] - box[:2]).max(), 32, max(width, height)))
    corner = (box[:2] + box[2:]) / 2 - side / 2
    room = np.array([width, height]) - side
    moved = np.where(room >= 0, np.clip(corner, 0, np.maximum(room, 0)), room / 2)
    return float(moved[0]), float(moved[1]), side


def _drawn(
    scene: _Scene,
    layers: Sequence[str],
    corner_px: tuple[float, float],
    scale: float,
    size_wh_px: tuple[int, int] | None,
) -> UInt8[Array, "h w 3"]:
    """A part of the picture in another size; lines are drawn after scaling, so they stay crisp."""
    full = scene.annotation.size_wh_px
    if size_wh_px is None:
        size_wh_px = (max(1, round(full[0] * scale)), max(1, round(full[1] * scale)))
    image_rgb = scene.image_rgb
    if size_wh_px != full or corner_px != (0.0, 0.0):
        image_rgb = _resampled(image_rgb, corner_px, scale, size_wh_px)
    annotation = scene.annotation.seen_in(size_wh_px, *corner_px, scale)
    known = [name for name in layers if name in annotation.layers() or name == "axes"]
    return draw_overlay(image_rgb, build_annotation(annotation, known))


def _resampled(
    image_rgb: UInt8[Array, "h w 3"],
    corner_px: tuple[float, float],
    scale: float,
    size_wh_px: tuple[int, int],
) -> UInt8[Array, "h2 w2 3"]:
    """Continuous pixels: the corner lands on 0, and a cut-out's pixels are averages."""
    if scale < 0.5:
        factor = 0.5 ** int(np.floor(np.log2(0.5 / scale) + 1))
        height, width = image_rgb.shape[:2]
        small = (max(1, round(width * factor)), max(1, round(height * factor)))
        image_rgb = cv2.resize(image_rgb, small, interpolation=cv2.INTER_AREA)
        exact = np.array(small) / [width, height]
    else:
        exact = np.ones(2)
    step = exact / scale
    start: Float[Array, "2"] = np.array(corner_px) * exact + 0.5 * step - 0.5
    inverse = np.array([[step[0], 0.0, start[0]], [0.0, step[1], start[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image_rgb, inverse, size_wh_px, flags=flags, borderValue=(24, 28, 38))


def _message(size_wh_px: tuple[int, int], text: str) -> UInt8[Array, "h w 3"]:
    height_px = max(11.0, 0.045 * size_wh_px[0])
    width_px, plate_px = plate_wh_px(text, height_px)
    x_px, y_px = (size_wh_px[0] - width_px) / 2, (size_wh_px[1] + plate_px) / 2
    label = Label(x_px, y_px, text, height_px, TRACK_COLOURS[6])
    return draw_overlay(blank_picture(size_wh_px), DrawList((label,), size_wh_px))


def _jpeg(image_rgb: UInt8[Array, "h w 3"], quality: int) -> bytes:
    image_bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _cache_path(
    services: Services, opened: OpenDataset, row: dict[str, object], layers: Sequence[str]
) -> Path:
    """Named after key, files and drawing; the picture's own time is looked at too, so that one
    that was replaced since the index was built is drawn anew."""
    parts = [str(DRAWING_VERSION), row["key"], row.get("signature") or "", ",".join(layers)]
    image = row.get("image")
    if image:
        with_picture = Path(opened.dataset.root) / str(image)
        if with_picture.is_file():
            stat = with_picture.stat()
            parts.append(f"{stat.st_size} {stat.st_mtime_ns}")
    name = hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogateescape")).hexdigest()
    folder = services.config.data_dir / "thumbnails" / opened.data_id
    return folder / name[:2] / f"{name[2:34]}.jpg"


def prune_thumbnails(services: Services, opened: OpenDataset, keep: int = MAX_CACHED) -> int:
    """Delete the oldest thumbnails beyond `keep`; returns how many went."""
    folder = services.config.data_dir / "thumbnails" / opened.data_id
    found = list(folder.glob("*/*.jpg")) if folder.is_dir() else []
    if len(found) <= keep:
        return 0
    found.sort(key=lambda path: path.stat().st_mtime)
    for path in found[: len(found) - keep]:
        path.unlink(missing_ok=True)
    return len(found) - keep
