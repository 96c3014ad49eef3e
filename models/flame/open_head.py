"""The open head: a head model of FLAME's form that we may ship, made from MakeHuman's CC0 data.

Frame `open_head`, that of the canonical face and of trg-mini: x to the subject's left, y up,
z out of the face, metres. `T_HEAD_FROM_OPEN_HEAD` takes it to the project's `head`.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from models.geometry.rotations import GL_FROM_CV, about_x

Array = np.ndarray

_HEAD_TILT_DEG, _HEAD_OFFSET_M = -0.867, (0.0, 0.0025, -0.0036)
T_HEAD_FROM_OPEN_HEAD = np.eye(4)
T_HEAD_FROM_OPEN_HEAD[:3, :3] = about_x(_HEAD_TILT_DEG) @ GL_FROM_CV
T_HEAD_FROM_OPEN_HEAD[:3, 3] = _HEAD_OFFSET_M
"""p_head = T @ p_open_head, metres. Tilt: the canonical face's landmarks to those of 300W-LP's
model; origin: their centroid to that of ARKit's mean face."""

SHOULDERS = "shoulders"
"""Name of their part."""

OPEN_HEAD_PATH = Path(__file__).resolve().parents[2] / "assets" / "open_head.npz"

_FILE_KEYS = {
    "v_template": "template_vertices_m",
    "shapedirs": "shape_directions_m",
    "exprdirs": "expression_directions_m",
    "faces": "triangles",
    "part": "part_of_triangle",
    "uv_corners": "uv_of_corner",
    "J_regressor": "joint_regressor",
    "parent": "joint_parents",
    "lbs_weights": "skinning_weights",
    "lmk468_tri": "landmark_468_vertex_ids",
    "lmk468_bary": "landmark_468_weights",
    "lmk68_from_468": "landmark_68_of_468",
    "shape_samples": "shape_samples",
}
_NAME_KEYS = {
    "expr_names": "expression_names",
    "part_names": "part_names",
    "joint_names": "joint_names",
}


class HeadAssetsError(ValueError):
    """The head file is missing or not what it should be; the message says what to do."""


@dataclass(frozen=True)
class HeadAssets:
    """A head with v vertices, f triangles, s shape components, e expressions, j joints.

    template_vertices_m: the mean person, neutral.
    shape_directions_m: offsets for one standard deviation of each identity component.
    expression_directions_m: offsets for the full expression; named as ARKit names them.
    triangles: counter-clockwise seen from outside.
    part_of_triangle: index into part_names (skin of head and neck, the two eyes, teeth, tongue,
        shoulders). The vertices of the shoulders alone come after all others.
    uv_of_corner: texture coordinates of each triangle's corners, v upwards.
    joint_regressor: joints = joint_regressor @ vertices. joint_parents: -1 for a root.
    landmark_468_*: three vertices and their weights for each FaceMesh landmark.
    landmark_68_of_468: the iBUG landmarks (0 at image left of a frontal face) among the 468.
    shape_samples: identity coefficients of n random persons, in standard deviations.
    """

    template_vertices_m: Float[Array, "v 3"]
    shape_directions_m: Float[Array, "s v 3"]
    expression_directions_m: Float[Array, "e v 3"]
    expression_names: tuple[str, ...]
    triangles: Int[Array, "f 3"]
    part_of_triangle: Int[Array, "f"]
    part_names: tuple[str, ...]
    uv_of_corner: Float[Array, "f 3 2"]
    joint_names: tuple[str, ...]
    joint_parents: Int[Array, "j"]
    joint_regressor: Float[Array, "j v"]
    skinning_weights: Float[Array, "v j"]
    landmark_468_vertex_ids: Int[Array, "468 3"]
    landmark_468_weights: Float[Array, "468 3"]
    landmark_68_of_468: Int[Array, "68"]
    shape_samples: Float[Array, "n s"]

    def __post_init__(self) -> None:
        v, f, j = len(self.template_vertices_m), len(self.triangles), len(self.joint_names)
        s, e = len(self.shape_directions_m), len(self.expression_names)
        wanted = {
            "template_vertices_m": (v, 3),
            "shape_directions_m": (s, v, 3),
            "expression_directions_m": (e, v, 3),
            "triangles": (f, 3),
            "part_of_triangle": (f,),
            "uv_of_corner": (f, 3, 2),
            "joint_parents": (j,),
            "joint_regressor": (j, v),
            "skinning_weights": (v, j),
            "landmark_468_vertex_ids": (468, 3),
            "landmark_468_weights": (468, 3),
            "landmark_68_of_468": (68,),
            "shape_samples": (len(self.shape_samples), s),
        }
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise HeadAssetsError(
                    f"{name} has shape {getattr(self, name).shape}, expected {shape}."
                )
        _check_ids("triangles", self.triangles, v)
        _check_ids("landmark_468_vertex_ids", self.landmark_468_vertex_ids, v)
        _check_ids("landmark_68_of_468", self.landmark_68_of_468, 468)
        _check_ids("part_of_triangle", self.part_of_triangle, len(self.part_names))

    def vertices_m(
        self,
        shape: Float[Array, "k"] | None = None,
        expression: Mapping[str, float] | None = None,
        eye_angles_deg: Float[Array, "2 2"] | None = None,
    ) -> Float[Array, "v 3"]:
        """The mesh of one person with one expression and gaze, in the `open_head` frame.

        shape: the first k identity coefficients in standard deviations; the others are 0.
        expression: weight by name, 1 is full.
        eye_angles_deg: yaw and pitch of the left and the right eyeball, see `with_eyes_turned`.
        Raises: HeadAssetsError for too many coefficients or an unknown expression.
        """
        coefficients = np.zeros(0) if shape is None else np.asarray(shape, np.float64)
        if len(coefficients) > len(self.shape_directions_m):
            raise HeadAssetsError(
                f"{len(coefficients)} identity coefficients were given; the head has "
                f"{len(self.shape_directions_m)}."
            )
        vertices = self.template_vertices_m + np.tensordot(
            coefficients, self.shape_directions_m[: len(coefficients)], 1
        )
        for name, weight in (expression or {}).items():
            if name not in self.expression_names:
                known = ", ".join(self.expression_names)
                raise HeadAssetsError(f"There is no expression {name!r}; known are {known}.")
            vertices += weight * self.expression_directions_m[self.expression_names.index(name)]
        return (
            vertices if eye_angles_deg is None else self.with_eyes_turned(vertices, eye_angles_deg)
        )

    def with_eyes_turned(
        self, vertices_m: Float[Array, "v 3"], eye_angles_deg: Float[Array, "2 2"]
    ) -> Float[Array, "v 3"]:
        """The mesh with its eyeballs turned about their joints; the lids stay (see eyeLook*).

        eye_angles_deg: left eye, right eye: yaw (positive to the subject's left), then pitch
            (positive upwards). An eye that looked along z looks along
            (sin yaw cos pitch, sin pitch, cos yaw cos pitch).
        """
        turned = vertices_m.copy()
        for name, angles_deg in zip(("eye_l", "eye_r"), eye_angles_deg, strict=True):
            ids = np.unique(self.triangles_of(name))
            joint = self.joint_regressor[self.joint_names.index(name)] @ vertices_m
            turned[ids] = (
                joint + (vertices_m[ids] - joint) @ _gaze_matrix(*np.radians(angles_deg)).T
            )
        return turned

    def with_body_turned(
        self, vertices_m: Float[Array, "v 3"], body_from_head: Float[Array, "3 3"]
    ) -> Float[Array, "v 3"]:
        """The mesh with its neck bent: the head stays, the body under it turns.

        body_from_head: rotation about the neck's joint, in the `open_head` frame; vertices follow
            it by their skinning weight for the neck.
        """
        neck_ids, weight, joint_ids, regressor = self._neck
        joint = regressor @ vertices_m[joint_ids]
        neck_m = vertices_m[neck_ids]
        bent = vertices_m.copy()
        bent[neck_ids] = neck_m + (neck_m - joint) @ (body_from_head.T - np.eye(3)) * weight
        return bent

    @cached_property
    def _neck(self) -> tuple[Array, Array, Array, Array]:
        """Vertices that follow the neck, their weights (n, 1); those that its joint follows, and
        by which weights."""
        neck = self.joint_names.index("neck")
        weight, regressor = self.skinning_weights[:, neck], self.joint_regressor[neck]
        neck_ids, joint_ids = np.flatnonzero(weight), np.flatnonzero(regressor)
        return neck_ids, weight[neck_ids, None], joint_ids, regressor[joint_ids]

    def landmarks_468_m(self, vertices_m: Float[Array, "v 3"]) -> Float[Array, "468 3"]:
        """FaceMesh's landmarks on a mesh of this topology, in its frame."""
        corners = vertices_m[self.landmark_468_vertex_ids]
        return (corners * self.landmark_468_weights[..., None]).sum(1)

    def landmarks_68_m(self, vertices_m: Float[Array, "v 3"]) -> Float[Array, "68 3"]:
        """iBUG's 68 landmarks on a mesh of this topology, in its frame."""
        return self.landmarks_468_m(vertices_m)[self.landmark_68_of_468]

    @cached_property
    def head_triangles(self) -> Int[Array, "n 3"]:
        """Those of head and neck: all but the shoulders'."""
        return self.triangles[self.part_of_triangle != self.part_names.index(SHOULDERS)]

    @property
    def head_vertex_count(self) -> int:
        """Head and neck have so many of the vertices, from the first on."""
        return int(self.head_triangles.max()) + 1

    def triangles_of(self, part_name: str) -> Int[Array, "n 3"]:
        """The triangles of one part."""
        return self.triangles[self.part_of_triangle == self.part_names.index(part_name)]


def _gaze_matrix(yaw_rad: float, pitch_rad: float) -> Float[Array, "3 3"]:
    """Pitch about x, then yaw about y, in the `open_head` frame."""
    cy, sy, cp, sp = np.cos(yaw_rad), np.sin(yaw_rad), np.cos(pitch_rad), np.sin(pitch_rad)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return about_y @ np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])


def _check_ids(name: str, ids: Int[Array, "*shape"], count: int) -> None:
    if ids.size and not 0 <= ids.min() <= ids.max() < count:
        raise HeadAssetsError(f"{name} points outside 0 to {count - 1}.")


def load_open_head(path: Path | str = OPEN_HEAD_PATH) -> HeadAssets:
    """The head model of the project's own file; nothing in it is a pickle.

    Raises: HeadAssetsError if the file is missing, damaged or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise HeadAssetsError(f"{path} is missing; get the project's assets/ folder again.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in (*_FILE_KEYS, *_NAME_KEYS)}
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise HeadAssetsError(
            f"{path} is not a head model ({error}); get the project's assets/ folder again."
        ) from error
    fields = {_FILE_KEYS[key]: _widened(arrays[key]) for key in _FILE_KEYS}
    names = {_NAME_KEYS[key]: tuple(map(str, arrays[key])) for key in _NAME_KEYS}
    return HeadAssets(**fields, **names)


def _widened(array: Array) -> Array:
    """The file's half floats and short integers as float64 and int64, read-only."""
    wide = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
    wide.flags.writeable = False
    return wide
