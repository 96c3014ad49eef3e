"""Portraits made ready for rendering: the record, its file, and the folder they come from."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from models.flame.open_head import OPEN_HEAD_PATH
from models.geometry.cameras import Camera

Array = np.ndarray

PORTRAIT_PX = 512
"""Portraits are worked on as squares of this side."""

HELD_OUT_ONE_IN = 5

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

_FORMAT = "trg-studio portrait 1"
_SHORT_KINDS = {"f": np.float32, "i": np.int32, "u": np.uint8}


class PortraitError(ValueError):
    """A portrait cannot be used; the message names it and says why."""


@dataclass(frozen=True)
class PortraitAsset:
    """A portrait with a head fitted to it: v vertices of the open head, a sheet behind it.

    person: relative path without suffix, such as "female/12".
    image_rgb: texture coordinates below are its continuous pixels.
    person_mask: 255 person, hair and clothes included.
    camera: the one assumed in the fit.
    R_cam_from_open_head, t_cam_from_open_head_m, identity, expression: the fit.
    texture_px: where each vertex falls in image_rgb.
    texture_weight: 1 paint from the portrait, 0 paint `fill_rgb`.
    fill_rgb: 0..255, what the portrait does not show: the mirrored side, diffusion, hair colour on
        the scalp, ambient occlusion.
    hair_rgb, skin_rgb: 0..255.
    inflation: >= 1, growth of the scalp away from `SCALP_CENTRE_OPEN_HEAD_M`
        (viewer.synthesis.portrait_texture) to the hair's silhouette; 1 on skin.
    sheet_*: a 2.5D sheet with long hair and shoulders; transparent where person_mask is 0.
    fit_error_px: mean distance of the 468 landmarks, in pixels of image_rgb.
    made_from_sha256: of the picture's file and of the head model; "" of a picture that is no file.
    """

    person: str
    image_rgb: UInt8[Array, "512 512 3"]
    person_mask: UInt8[Array, "512 512"]
    camera: Camera
    R_cam_from_open_head: Float[Array, "3 3"]
    t_cam_from_open_head_m: Float[Array, "3"]
    identity: Float[Array, "60"]
    expression: Float[Array, "52"]
    texture_px: Float[Array, "v 2"]
    texture_weight: Float[Array, "v"]
    fill_rgb: Float[Array, "v 3"]
    hair_rgb: Float[Array, "3"]
    skin_rgb: Float[Array, "3"]
    inflation: Float[Array, "v"]
    sheet_vertices_open_head_m: Float[Array, "s 3"]
    sheet_px: Float[Array, "s 2"]
    sheet_triangles: Int[Array, "g 3"]
    fit_error_px: float
    made_from_sha256: str = ""


def find_portraits(root: Path | str) -> dict[str, Path]:
    """Person -> picture, for every picture under a folder, in a fixed order.

    Raises: PortraitError if there is none, or if two pictures have the same person.
    """
    root, found = Path(root), {}
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    for path in paths:
        person = path.relative_to(root).with_suffix("").as_posix()
        if person in found:
            raise PortraitError(f"{path.name} and {found[person].name} are both person {person}.")
        found[person] = path
    if not found:
        raise PortraitError(f"There is no picture ({', '.join(PICTURE_SUFFIXES)}) under {root}.")
    return found


def held_out(person: str) -> bool:
    """Whether a person is kept for validation: numbers divisible by 5, else a fifth by hash."""
    name = person.rsplit("/", 1)[-1]
    if name.isascii() and name.isdigit():
        return int(name) % HELD_OUT_ONE_IN == 0
    digest = hashlib.sha256(person.encode()).digest()
    return int.from_bytes(digest[:8], "big") % HELD_OUT_ONE_IN == 0


def write_portrait(path: Path | str, asset: PortraitAsset) -> None:
    """One .npz, floats in single precision; written beside and renamed, so never half there."""
    path = Path(path)
    arrays = {"format": np.array(_FORMAT)}
    for field in fields(asset):
        value = getattr(asset, field.name)
        if isinstance(value, Camera):
            value = value.K_image_from_cam
        value = np.asarray(value)
        arrays[field.name] = value.astype(_SHORT_KINDS.get(value.dtype.kind, value.dtype))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)
    unfinished.replace(path)


def read_portrait(path: Path | str) -> PortraitAsset:
    """What `write_portrait` wrote. Raises: PortraitError."""
    path = Path(path)
    names = [field.name for field in fields(PortraitAsset)]
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["format"]) != _FORMAT:
                raise PortraitError(f"{path} has the format {file['format']}, not {_FORMAT}.")
            arrays = {name: _widened(file[name]) for name in names}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, PortraitError):
            raise
        raise PortraitError(f"{path} holds no portrait ({error}); delete it.") from error
    camera = Camera(arrays["camera"], (PORTRAIT_PX, PORTRAIT_PX), "assumed in the fit")
    scalars = {
        "person": str(arrays["person"]),
        "camera": camera,
        "fit_error_px": float(arrays["fit_error_px"]),
        "made_from_sha256": str(arrays["made_from_sha256"]),
    }
    return PortraitAsset(**{**arrays, **scalars})


def fitted_from_sha256(path: Path) -> str:
    """What a file of `write_portrait` was made from; "" if it is none, or does not say."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return str(file["made_from_sha256"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        return ""


def made_from_sha256(picture: Path) -> str:
    """Of the head model here and of a portrait's picture: another of either needs another fit."""
    model = hashlib.sha256(OPEN_HEAD_PATH.read_bytes()).hexdigest()
    return hashlib.sha256(f"{model} {picture_sha256(picture)}".encode()).hexdigest()


def picture_sha256(path: Path) -> str:
    """Of the file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _widened(array: Array) -> Array:
    """Floats and whole numbers as wide as they are used; bytes and texts as they are."""
    wide = {"f": np.float64, "i": np.int64}.get(array.dtype.kind, array.dtype)
    return array.astype(wide)
