"""MICA: registrations of neutral faces in FLAME's topology, with FLAME's parameters beside them.

Zielonka et al. 2022. A folder of one subset, or of several:
`[SUBSET/]FLAME_parameters/<actor>/*.npz`, `[SUBSET/]registrations/<actor>/*.obj`, and where the
user has them `[SUBSET/]images/<actor>/*` and `image_paths/SUBSET.npy`. A sample is one fit.
Meshes are given in the project's `head`; FLAME's own axes are x to the subject's left, y up, z out
of the face.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.flame.assets import (
    FLAME_TRIANGLES,
    FLAME_VERTICES,
    T_HEAD_FROM_FLAME,
    has_flame_counts,
)
from models.geometry.mesh_distance import NearestPoints, nearest_on_surface
from viewer.datasets.mica_files import (
    EXPRESSION_COUNT,
    SHAPE_COUNT,
    UNITS_M,
    ObjMesh,
    Parameters,
    guess_unit,
    read_image_list,
    read_obj,
    read_parameters,
    subset_of,
)
from viewer.datasets.mica_heads import (
    ParametricHead,
    flame_head,
    moved_onto,
    open_head,
    outward,
    transformed,
)
from viewer.datasets.mica_layout import (
    PARAMETERS,
    REGISTRATIONS,
    Fit,
    SubsetFolder,
    find_flame_model,
    find_image_list,
    fits_of,
    pictures_without_arcface,
    subset_folders,
)
from viewer.datasets.registry import DATASET_INFOS
from viewer.datasets.sample import Sample
from viewer.datasets.source import (
    DatasetError,
    Listing,
    Problem,
    Progress,
    SampleDetail,
    SampleMesh,
    silent,
)
from viewer.datasets.weak_perspective import is_name

Array = np.ndarray

REGISTRATION_NAME, PARAMETERS_NAME = "registration", "mesh of the parameters"


class Mica:
    """MICA's files in one folder, see the module."""

    info = DATASET_INFOS["mica"]

    def __init__(self, root: Path, flame: Path | None = None) -> None:
        """flame: the user's generic_model.pkl (or its .npz); None: looked for near the root."""
        self.root = Path(root)
        self.flame = find_flame_model(self.root) if flame is None else Path(flame)

    def list_samples(self, limit: int | None = None, progress: Progress = silent) -> Listing:
        """See `AnnotatedDataset`; a sample per fit, subsets and actors in order."""
        fits: list[Fit] = []
        problems: list[Problem] = []
        notes: list[str] = []
        for subset in subset_folders(self.root):
            actors = subset.actors()
            for actor in actors:
                if limit is not None and len(fits) >= limit:
                    break
                found, wrong = fits_of(subset, actor)
                fits += found
                problems += wrong
                progress(len(fits), None)
            notes.append(_subset_note(subset, len(actors)))
            self._compare_with_list(subset, actors, problems, notes)
        if not fits:
            raise DatasetError(
                f"{self.root} has no {PARAMETERS}/<actor>/*.npz and no "
                f"{REGISTRATIONS}/<actor>/*.obj; {self.info.title} is at {self.info.link} ."
            )
        notes.append("Unit and topology are checked when a sample is opened.")
        notes += self._flame_notes()
        files = {
            fit.key: tuple(path.relative_to(self.root).as_posix() for path in fit.files())
            for fit in fits[:limit]
        }
        return Listing(tuple(files), tuple(problems), tuple(notes), files)

    def read(self, key: str) -> Sample:
        """See `AnnotatedDataset`."""
        return self._sample(self._fit(key))

    def detail(self, key: str) -> SampleDetail:
        """See `AnnotatedDataset`: the registration, then the mesh of the parameters."""
        fit = self._fit(key)
        parameters = None if fit.parameters is None else read_parameters(fit.parameters)
        mesh = None if fit.registration is None else read_obj(fit.registration)
        notes: list[str] = []
        raw: dict[str, str] = {}
        if parameters is not None:
            raw |= {f"{fit.parameters.name}: {k}": v for k, v in parameters.printed.items()}
            notes += _parameter_notes(parameters)
        if mesh is not None:
            raw |= {f"{fit.registration.name}: {k}": v for k, v in _printed(mesh).items()}
            notes.append(_topology_note(mesh))
        meshes, landmarks_m = self._meshes(mesh, parameters, notes)
        return SampleDetail(
            sample=self._sample(fit),
            meshes=meshes,
            landmarks_68_m=landmarks_m,
            raw=raw,
            notes=(*notes, *_picture_notes(fit)),
        )

    def _sample(self, fit: Fit) -> Sample:
        known, pictures = subset_of(fit.subset.name), fit.pictures()
        return Sample(
            dataset=self.info.name,
            key=fit.key,
            group=f"{fit.subset.name}/{fit.actor}",
            image=pictures[0] if pictures else None,
            camera=None,
            R_cam_from_head=None,
            t_cam_from_head_mm=None,
            landmarks_68_px=None,
            box_xyxy_px=None,
            split="" if known is None else known.split,
            subject=fit.actor,
            sequence=fit.subset.name,
        )

    def _fit(self, key: str) -> Fit:
        """The sample of a key; the actor's name is the only part that is joined to a path."""
        actor = (key.split("/")[-2:-1] or [""])[0]
        if is_name(actor) and actor[0] != ".":
            for subset in subset_folders(self.root):
                for fit in fits_of(subset, actor)[0]:
                    if fit.key == key:
                        return fit
        raise DatasetError(f"{self.root} has no sample {key[:80]!r}.")

    def _compare_with_list(
        self, subset: SubsetFolder, actors: list[str], problems: list[Problem], notes: list[str]
    ) -> None:
        known = subset_of(subset.name)
        path = find_image_list(self.root, subset.name if known is None else known.folder)
        if path is None:
            return
        try:
            listed = read_image_list(path)
        except DatasetError as error:
            problems.append(Problem(f"{path.parent.name}/{path.name}", str(error)))
            return
        absent, more = len(listed.keys() - set(actors)), len(set(actors) - listed.keys())
        pictures = sum(len(row.images) for row in listed.values())
        notes.append(
            f"{path.name} lists {len(listed)} actors and {pictures} pictures; {absent} of these "
            f"actors are not here, {more} here are not in the list."
        )

    def _flame_notes(self) -> list[str]:
        if self.flame is None:
            return [
                "No FLAME model was found, so FLAME parameters give no mesh; put "
                "generic_model.pkl of FLAME 2020 into a folder FLAME2020 beside this one."
            ]
        return [f"FLAME meshes are made with {self.flame.name} of {self.flame.parent.name}."]

    def _head_of(self, mesh: ObjMesh | None, notes: list[str]) -> ParametricHead | None:
        """The model whose parameters stand beside this registration."""
        if mesh is not None and open_head().has_triangles(mesh.triangles):
            return open_head()
        if self.flame is None:
            return None
        try:
            return flame_head(self.flame)
        except DatasetError as error:
            notes.append(str(error))
            return None

    def _meshes(
        self, mesh: ObjMesh | None, parameters: Parameters | None, notes: list[str]
    ) -> tuple[tuple[SampleMesh, ...], Float[Array, "68 3"] | None]:
        """Registration and mesh of the parameters in `head`, and landmarks on the first."""
        head = self._head_of(mesh, notes)
        T = T_HEAD_FROM_FLAME if head is None else head.assets.T_head_from_flame
        found: list[tuple[str, Array, Array | None]] = []
        is_same = head is not None and mesh is not None and head.has_triangles(mesh.triangles)
        if mesh is not None:
            vertices_m = mesh.vertices * _metres(mesh, notes)
            triangles = outward(vertices_m, mesh.triangles) if len(mesh.triangles) else None
            found.append((REGISTRATION_NAME, vertices_m, triangles))
            if head is not None and not is_same:
                notes.append(f"Its triangles are not those of {head.title}.")
        if head is None and parameters is not None:
            notes.append("Without a FLAME model the parameters give no mesh.")
        if head is not None and parameters is not None and parameters.betas is not None:
            notes += filter(None, [head.mismatch(parameters)])
            posed_m = head.vertices_m(parameters)
            if is_same:
                motion = moved_onto(posed_m, vertices_m)
                posed_m = motion.vertices_m
                notes.append(
                    f"The mesh of the parameters ({head.title}) was turned by "
                    f"{motion.turned_deg:.2f} deg and moved by {motion.moved_mm:.1f} mm onto the "
                    "registration."
                )
            found.append((f"{PARAMETERS_NAME}, {head.title}", posed_m, head.triangles))
        meshes = tuple(
            SampleMesh(name, "head", transformed(T, points), triangles)
            for name, points, triangles in found
        )
        has_landmarks = bool(meshes) and head is not None and (mesh is None or is_same)
        return meshes, head.landmarks_68_m(meshes[0].vertices_m) if has_landmarks else None


def registration_distance(detail: SampleDetail) -> NearestPoints | None:
    """From each vertex of the registration to the mesh of its parameters, metres.

    None where one of the two is not there. About a second for two FLAME heads.
    """
    if len(detail.meshes) < 2 or detail.meshes[1].triangles is None:
        return None
    registration, fitted = detail.meshes[:2]
    return nearest_on_surface(registration.vertices_m, fitted.vertices_m, fitted.triangles)


def _metres(mesh: ObjMesh, notes: list[str]) -> float:
    """Metres in the file's unit, guessed and noted."""
    extent = np.ptp(mesh.vertices, axis=0)
    size = " x ".join(f"{side:.4g}" for side in extent)
    unit = guess_unit(mesh.vertices)
    if unit is None:
        notes.append(f"A bounding box of {size} is a head's in no unit; taken as metres.")
        return 1.0
    notes.append(f"The bounding box is {size}, so the unit is taken to be {unit}.")
    return UNITS_M[unit]


def _topology_note(mesh: ObjMesh) -> str:
    counts = f"{len(mesh.vertices)} vertices and {len(mesh.triangles)} triangles"
    if has_flame_counts(len(mesh.vertices), len(mesh.triangles)):
        return f"{counts}, as FLAME has."
    is_ours = open_head().has_triangles(mesh.triangles)
    ours = " It is the project's open head, and its parameters are the open head's." * is_ours
    return f"Not FLAME topology: {counts}; FLAME has {FLAME_VERTICES} and {FLAME_TRIANGLES}.{ours}"


def _parameter_notes(parameters: Parameters) -> list[str]:
    notes, whole = [], SHAPE_COUNT + EXPRESSION_COUNT
    if parameters.betas is None:
        notes.append("The parameters have no betas.")
    elif len(parameters.betas) != whole:
        notes.append(f"There are {len(parameters.betas)} betas; MICA has {whole}.")
    if parameters.pose_rad is None:
        notes.append("The parameters have no pose; it is taken as neutral.")
    more = sorted(parameters.printed.keys() - {"betas", "pose"})
    if more:
        notes.append(f"The parameters also have {', '.join(more)}; these are shown and not used.")
    return notes


def _printed(mesh: ObjMesh) -> dict[str, str]:
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    return {
        "vertices": str(len(mesh.vertices)),
        "triangles": str(len(mesh.triangles)),
        "lowest corner": " ".join(f"{x:.6g}" for x in low),
        "highest corner": " ".join(f"{x:.6g}" for x in high),
    }


def _subset_note(subset: SubsetFolder, actors: int) -> str:
    known = subset_of(subset.name)
    if known is None:
        return f"{subset.name}: {actors} actors; not one of MICA's eight subsets."
    return (
        f"{subset.name} ({known.title}): {actors} actors here; {known.subjects} are published, "
        f"MICA's list has {known.listed_actors} with {known.listed_images} pictures."
    )


def _picture_notes(fit: Fit) -> list[str]:
    pictures = len(fit.pictures())
    if not pictures:
        return ["No picture of this actor; MICA has none, the original data set does."]
    missing = pictures_without_arcface(fit)
    prepared = "" if missing is None else f", {missing} of them without an arcface .npy"
    return [f"The actor has {pictures} pictures{prepared}; the first one is shown."]
