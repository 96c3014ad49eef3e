"""A head model of FLAME's form and what belongs to it, whichever file it comes from.

Users bring FLAME's files: FLAME 2020 and 2023 need a registration at https://flame.is.tue.mpg.de ,
FLAME 2023 Open is CC-BY-4.0. The project's own open head stands in where there are none.

Frame `flame`: x to the subject's left, y up, z out of the face, metres, origin inside the head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from models.flame.flame_files import FLAME_KEYS, FlameFileError, read_flame_arrays
from models.flame.flame_landmarks import (
    CONTOUR_COUNT,
    CONTOUR_MAX_DEG,
    HeadLandmarks,
    landmarks_of_open_head,
    read_flame_masks,
    read_landmark_embedding,
)
from models.flame.open_head import SHOULDERS, T_HEAD_FROM_OPEN_HEAD, load_open_head
from models.geometry.rotations import GL_FROM_CV, about_x

Array = np.ndarray

FLAME_VERTICES, FLAME_TRIANGLES = 5023, 9976
SHAPE_COUNT = 300
"""FLAME's directions are 300 of identity, then 100 of expression."""
FLAME_JOINTS = ("global", "neck", "jaw", "left_eye", "right_eye")

FLAME_FILES = {
    "generic_model": "FLAME 2020",
    "flame2020": "FLAME 2020",
    "flame2023": "FLAME 2023",
    "flame2023_no_jaw": "FLAME 2023 no jaw",
    "flame2023_open": "FLAME 2023 Open",
}
"""FLAME's files, by name in lower case without ending, in the order in which they are preferred."""
OPEN_HEAD_NAME = "open head"
LANDMARKS_FILE, MASKS_FILE = "landmark_embedding.npy", "FLAME_masks.pkl"
_MASKS_PLACES = (MASKS_FILE, f"FLAME_masks/{MASKS_FILE}")
_WEIGHT_SUM_ERROR = 1e-3

_HEAD_TILT_DEG, _HEAD_OFFSET_M = 5.756, (0.0, -0.0064, -0.0015)
T_HEAD_FROM_FLAME = np.eye(4)
T_HEAD_FROM_FLAME[:3, :3] = about_x(_HEAD_TILT_DEG) @ GL_FROM_CV
T_HEAD_FROM_FLAME[:3, 3] = _HEAD_OFFSET_M
"""p_head = T @ p_flame, metres. As for the pose models: tilt of FLAME's mean face (51 inner
landmarks) to 300W-LP's model about x, and its landmarks' centroid to that of ARKit's mean face."""


@dataclass(frozen=True)
class FlameAssets:
    """A head of FLAME's form: v vertices, f triangles, s identity, e expression and p pose
    directions, j joints.

    name: "FLAME 2020", "FLAME 2023", "FLAME 2023 no jaw", "FLAME 2023 Open", "open head", or that
        of its file where this says nothing.
    triangles: counter-clockwise seen from outside.
    shape_directions_m: offsets for one standard deviation each; expression_directions_m alike, for
        the open head for the full expression.
    pose_directions_m: p = 9 (j - 1): offsets for the entries, row by row, of (R_k - identity) of
        joints 1, 2, ...; the first joint has none.
    joint_regressor: joints = joint_regressor @ vertices of the unposed person.
    joint_parents: -1 for the first joint; a parent comes before its children.
    skinning_weights: how far each vertex follows each joint; rows sum to 1.
    expression_names: the open head's, as ARKit names them; () for FLAME.
    masks: vertex numbers by region; {} where FLAME_masks.pkl is absent.
    T_head_from_flame: p_head = T @ p_flame, rigid, metres.
    """

    name: str
    is_open_head: bool
    template_vertices_m: Float[Array, "v 3"]
    triangles: Int[Array, "f 3"]
    shape_directions_m: Float[Array, "s v 3"]
    expression_directions_m: Float[Array, "e v 3"]
    pose_directions_m: Float[Array, "p v 3"]
    joint_regressor: Float[Array, "j v"]
    skinning_weights: Float[Array, "v j"]
    joint_parents: Int[Array, "j"]
    joint_names: tuple[str, ...] = FLAME_JOINTS
    expression_names: tuple[str, ...] = ()
    landmarks: HeadLandmarks | None = None
    masks: Mapping[str, Int[Array, "_n"]] = field(default_factory=dict)
    T_head_from_flame: Float[Array, "4 4"] = field(default_factory=T_HEAD_FROM_FLAME.copy)

    def __post_init__(self) -> None:
        v, j = len(self.template_vertices_m), len(self.joint_names)
        wanted = {
            "template_vertices_m": (v, 3),
            "triangles": (len(self.triangles), 3),
            "shape_directions_m": (len(self.shape_directions_m), v, 3),
            "expression_directions_m": (len(self.expression_directions_m), v, 3),
            "pose_directions_m": (9 * (j - 1), v, 3),
            "joint_parents": (j,),
            "joint_regressor": (j, v),
            "skinning_weights": (v, j),
        }
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array.shape != shape:
                self._refuse(f"{name} has shape {array.shape}, expected {shape}")
            if not np.isfinite(array).all():
                self._refuse(f"{name} has numbers that are not finite")
        if not self.triangles.size:
            self._refuse("it has no triangles")
        self._check_ids("its triangles", self.triangles)
        parents = self.joint_parents
        if parents[0] != -1 or any(not 0 <= p < k for k, p in enumerate(parents[1:], 1)):
            self._refuse(f"its joints' parents {parents.tolist()} are no tree from the first joint")
        if np.abs(self.skinning_weights.sum(1) - 1).max() > _WEIGHT_SUM_ERROR:
            self._refuse("its skinning weights do not sum to 1")
        if self.expression_names and len(self.expression_names) != len(
            self.expression_directions_m
        ):
            self._refuse(f"it has {len(self.expression_names)} names of expressions")
        for region, ids in self.masks.items():
            self._check_ids(f"its mask {region}", ids)
        if self.landmarks is not None:
            self._check_ids("its landmarks", self.landmarks.static_vertex_ids)
            self._check_ids("its table of outlines", self.landmarks.contour_vertex_ids)
        T = self.T_head_from_flame
        is_rigid = np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-6)
        if not is_rigid or not np.array_equal(T[3], [0, 0, 0, 1]):
            self._refuse("its way to the project's head frame is not rigid")

    def _check_ids(self, what: str, ids: Array) -> None:
        v = len(self.template_vertices_m)
        if ids.size and not 0 <= ids.min() <= ids.max() < v:
            self._refuse(f"{what} point outside 0 to {v - 1}")

    def _refuse(self, why: str) -> None:
        raise FlameFileError(f"{self.name} is no head model of FLAME's form: {why}.")

    @property
    def has_jaw(self) -> bool:
        """Whether its jaw joint moves anything; FLAME 2023 no jaw has expressions for that."""
        if self.name == FLAME_FILES["flame2023_no_jaw"] or "jaw" not in self.joint_names:
            return False
        return bool(self.skinning_weights[:, self.joint_names.index("jaw")].any())

    @cached_property
    def head_triangles(self) -> Int[Array, "g 3"]:
        """Those without the shoulders, where it has them as a region: a face does not tell how the
        body under it is turned."""
        shoulders = self.masks.get(SHOULDERS, np.zeros(0, np.int64))
        return self.triangles[~np.isin(self.triangles, shoulders).any(1)]

    @property
    def is_flame_topology(self) -> bool:
        """Whether the counts are FLAME's."""
        return has_flame_counts(len(self.template_vertices_m), len(self.triangles))


def has_flame_counts(vertices: int, triangles: int) -> bool:
    """Whether a mesh has as many vertices and triangles as FLAME's head."""
    return (vertices, triangles) == (FLAME_VERTICES, FLAME_TRIANGLES)


@lru_cache(maxsize=1)
def open_head_assets() -> FlameAssets:
    """The project's open head in FLAME's form; it has no pose directions, so these are 0.

    Its expressions are ARKit's 52 by name, its first joint is the neck, its frame `open_head`.
    Raises: HeadAssetsError if the project's own file is missing.
    """
    head = load_open_head()
    v, j = len(head.template_vertices_m), len(head.joint_names)
    return FlameAssets(
        name=OPEN_HEAD_NAME,
        is_open_head=True,
        template_vertices_m=head.template_vertices_m,
        triangles=head.triangles,
        shape_directions_m=head.shape_directions_m,
        expression_directions_m=head.expression_directions_m,
        pose_directions_m=np.zeros((9 * (j - 1), v, 3)),
        joint_regressor=head.joint_regressor,
        skinning_weights=head.skinning_weights / head.skinning_weights.sum(1, keepdims=True),
        joint_parents=head.joint_parents,
        joint_names=head.joint_names,
        expression_names=head.expression_names,
        landmarks=landmarks_of_open_head(head),
        masks={name: np.unique(head.triangles_of(name)) for name in head.part_names}
        | {SHOULDERS: np.setdiff1d(head.triangles_of(SHOULDERS), head.head_triangles)},
        T_head_from_flame=T_HEAD_FROM_OPEN_HEAD.copy(),
    )


def read_flame_assets(
    path: Path | str,
    landmark_embedding: Path | str | None = None,
    masks: Path | str | None = None,
) -> FlameAssets:
    """A FLAME model from generic_model.pkl, flame2023*.pkl, or an .npz of `write_flame_npz`.

    landmark_embedding: MICA's and DECA's landmark_embedding.npy; masks: FLAME_masks.pkl. An .npz
        has its own, for which these stand in.
    Raises: FlameFileError if a file is missing, damaged, hostile or of another kind.
    """
    path = Path(path)
    return _assets(path, read_flame_arrays(path), landmark_embedding, masks)


def find_flame_assets(folder: Path | str | None) -> FlameAssets:
    """The user's FLAME in a folder, with landmark_embedding.npy and FLAME_masks.pkl beside it.

    The open head where there is no folder or none of FLAME's files in it. Raises: FlameFileError.
    """
    path = None if folder is None else find_flame_file(Path(folder))
    if path is None:
        return open_head_assets()
    return read_flame_assets(path, *files_beside(path))


def find_flame_file(folder: Path) -> Path | None:
    """FLAME's model in a folder, .npz before .pkl, the names in the order of FLAME_FILES."""
    files = {path.name.lower(): path for path in sorted(folder.glob("*")) if path.is_file()}
    names = (f"{stem}.{ending}" for stem in FLAME_FILES for ending in ("npz", "pkl"))
    return next((files[name] for name in names if name in files), None)


def files_beside(path: Path) -> tuple[Path | None, Path | None]:
    """landmark_embedding.npy and FLAME_masks.pkl in the folder of a model, where they are."""
    places = [[path.with_name(LANDMARKS_FILE)], [path.parent / place for place in _MASKS_PLACES]]
    return tuple(next((one for one in some if one.is_file()), None) for some in places)


def flame_name(path: Path) -> str:
    """Which FLAME a file is by its name; the name itself where that does not say."""
    return FLAME_FILES.get(path.stem.lower(), path.name)


def write_flame_npz(path: Path | str, assets: FlameAssets) -> None:
    """Everything of the assets, the model under FLAME's own names, without pickles.

    Written beside and renamed.
    """
    path = Path(path)
    directions = np.concatenate([assets.shape_directions_m, assets.expression_directions_m])
    arrays = {
        "v_template": assets.template_vertices_m,
        "f": assets.triangles.astype(np.uint32),
        "shapedirs": directions.transpose(1, 2, 0),
        "posedirs": assets.pose_directions_m.transpose(1, 2, 0),
        "J_regressor": assets.joint_regressor,
        "weights": assets.skinning_weights,
        "kintree_table": np.stack([assets.joint_parents, np.arange(len(assets.joint_parents))]),
        "shape_count": np.array(len(assets.shape_directions_m)),
        "is_open_head": np.array(assets.is_open_head),
        "T_head_from_flame": assets.T_head_from_flame,
        "name": _text([assets.name]),
        "joint_names": _text(assets.joint_names),
    }
    if assets.expression_names:
        arrays["expression_names"] = _text(assets.expression_names)
    if assets.landmarks is not None:
        arrays |= {key: one for key, one in vars(assets.landmarks).items() if one.size}
    arrays |= {f"mask_{region}": ids for region, ids in assets.masks.items()}
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)
    unfinished.replace(path)


def _text(names: list[str] | tuple[str, ...]) -> Array:
    return np.array([name.encode() for name in names])


def _assets(
    path: Path,
    arrays: Mapping[str, Array],
    landmark_embedding: Path | str | None,
    masks: Path | str | None,
) -> FlameAssets:
    _check_flame_arrays(path.name, arrays)
    shape_count = max(0, int(arrays.get("shape_count", SHAPE_COUNT)))
    directions = arrays["shapedirs"].transpose(2, 0, 1).astype(np.float64)
    triangles, joints = arrays["f"].astype(np.int64), len(arrays["J_regressor"])
    # The root's parent is 4294967295 in FLAME's file.
    parents = arrays["kintree_table"][0].astype(np.int64)
    numbered = tuple(f"joint {k}" for k in range(joints))
    default_joints = FLAME_JOINTS if joints == len(FLAME_JOINTS) else numbered
    if landmark_embedding is not None:
        landmarks = read_landmark_embedding(landmark_embedding, triangles)
    else:
        landmarks = _stored_landmarks(path.name, arrays)
    regions = _stored_masks(arrays) if masks is None else read_flame_masks(masks)
    return FlameAssets(
        name=_names(arrays, "name", (flame_name(path),))[0],
        is_open_head=bool(arrays.get("is_open_head", False)),
        template_vertices_m=arrays["v_template"].astype(np.float64),
        triangles=triangles,
        shape_directions_m=directions[:shape_count],
        expression_directions_m=directions[shape_count:],
        pose_directions_m=arrays["posedirs"].transpose(2, 0, 1).astype(np.float64),
        joint_regressor=arrays["J_regressor"].astype(np.float64),
        skinning_weights=arrays["weights"].astype(np.float64),
        joint_parents=np.where(parents >= joints, -1, parents),
        joint_names=_names(arrays, "joint_names", default_joints),
        expression_names=_names(arrays, "expression_names", ()),
        landmarks=landmarks,
        masks=regions,
        T_head_from_flame=arrays.get("T_head_from_flame", T_HEAD_FROM_FLAME).astype(np.float64),
    )


_KINDS = {
    "v_template": (2, "fiu"),
    "f": (2, "iu"),
    "shapedirs": (3, "fiu"),
    "posedirs": (3, "fiu"),
    "J_regressor": (2, "fiu"),
    "weights": (2, "fiu"),
    "kintree_table": (2, "iu"),
    "shape_count": (0, "iu"),
    "is_open_head": (0, "b"),
    "T_head_from_flame": (2, "f"),
    "static_vertex_ids": (2, "iu"),
    "static_weights": (2, "f"),
    "contour_vertex_ids": (3, "iu"),
    "contour_weights": (3, "f"),
}
"""Dimensions and kinds of numbers of each array."""


def _check_flame_arrays(name: str, arrays: Mapping[str, Array]) -> None:
    missing = [key for key in FLAME_KEYS if key not in arrays]
    if missing:
        raise FlameFileError(f"{name} is no FLAME model: it has no array {', '.join(missing)}.")
    kinds = _KINDS | {key: (1, "iu") for key in arrays if key.startswith("mask_")}
    for key in sorted(kinds.keys() & arrays.keys()):
        array, (dimensions, numbers) = arrays[key], kinds[key]
        if array.ndim != dimensions or array.dtype.kind not in numbers:
            raise FlameFileError(
                f"{name} is no FLAME model: {key} is {array.shape} of {array.dtype}."
            )
    if arrays.get("T_head_from_flame", T_HEAD_FROM_FLAME).shape != (4, 4):
        raise FlameFileError(f"{name} is no FLAME model: T_head_from_flame is not 4 by 4.")
    if 0 in (*arrays["kintree_table"].shape, *arrays["J_regressor"].shape):
        raise FlameFileError(f"{name} is no FLAME model: it has no joints.")


def _names(arrays: Mapping[str, Array], key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    """Names in an .npz; bytes, as NumPy's strings of damaged files end the process."""
    stored = arrays.get(key)
    if stored is None or stored.dtype.kind != "S" or stored.ndim != 1 or not stored.size:
        return default
    return tuple(name.decode("utf-8", "replace") for name in stored.tolist())


def _stored_landmarks(name: str, arrays: Mapping[str, Array]) -> HeadLandmarks | None:
    if "static_vertex_ids" not in arrays:
        return None
    contour = np.zeros((0, CONTOUR_COUNT, 3))
    stored = {
        "static_vertex_ids": arrays["static_vertex_ids"].astype(np.int64),
        "static_weights": arrays.get("static_weights", np.zeros(0)).astype(np.float64),
        "contour_vertex_ids": arrays.get("contour_vertex_ids", contour).astype(np.int64),
        "contour_weights": arrays.get("contour_weights", contour).astype(np.float64),
    }
    rows = len(stored["contour_weights"])
    for key, array in stored.items():
        shape = (68, 3) if key.startswith("static") else (rows, CONTOUR_COUNT, 3)
        if array.shape != shape:
            raise FlameFileError(f"{name} is no FLAME model: {key} has shape {array.shape}.")
    if rows not in (0, 2 * CONTOUR_MAX_DEG + 1):
        raise FlameFileError(f"{name} is no FLAME model: its table of outlines has {rows} rows.")
    return HeadLandmarks(**stored)


def _stored_masks(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {
        key.removeprefix("mask_"): ids.astype(np.int64)
        for key, ids in arrays.items()
        if key.startswith("mask_")
    }
