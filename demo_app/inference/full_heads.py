"""Whole heads for the faces that a network found: the user's FLAME, or the open head."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from demo_app.inference.records import FacePose
from models.estimator import HeadPose
from models.flame.assets import FlameAssets, find_flame_assets
from models.flame.fit import FitError, FitOptions, FlameFit, FlameFitter

Array = np.ndarray

FACEMESH_COUNT = 468
"""A predicted mesh of so many vertices is FaceMesh's, whose points the open head knows."""

IDENTITY_FRAMES = 10
"""The identity of a person in a video is the mean of so many frames, then it stays."""

MOST_PEOPLE = 32
"""A webcam runs for hours: who was seen longest ago is forgotten."""


@dataclass(frozen=True)
class FullHead:
    """The head of one face of one frame, in the camera of that face's pose."""

    track_id: int
    fit: FlameFit


class FullHeads:
    """Fits heads; reads the head model when it is first needed.

    folder: where the user's FLAME files may be.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._fitter: FlameFitter | None = None

    @property
    def fitter(self) -> FlameFitter:
        """For frames. Raises: FlameFileError for a FLAME file that cannot be used."""
        with self._lock:
            if self._fitter is None:
                self._fitter = FlameFitter.for_frames(find_flame_assets(self._folder))
            return self._fitter

    @property
    def assets(self) -> FlameAssets:
        """The head model in use. Raises as `fitter`."""
        return self.fitter.assets

    def fit(self, pose: HeadPose, options: FitOptions | None = None) -> FlameFit:
        """The head of a pose. Raises: FlameFileError; FitError for a pose that no head has."""
        return fit_pose(self.fitter, pose, options)

    def of_faces(self, faces: Sequence[FacePose]) -> tuple[FullHead, ...]:
        """The heads of a frame, in its order; a face that no head can have is left out.

        Raises: FlameFileError.
        """
        return _heads(faces, lambda face: self.fit(face.pose))


class HeadFollower:
    """Heads of a video, frame after frame: a person keeps one identity."""

    def __init__(self, heads: FullHeads) -> None:
        self._heads = heads
        self._people: dict[int, _Person] = {}

    def of_faces(self, faces: Sequence[FacePose]) -> tuple[FullHead, ...]:
        """As `FullHeads.of_faces`, for the next frame."""
        return _heads(faces, self._next)

    def _next(self, face: FacePose) -> FlameFit:
        person = self._people.pop(face.track_id, None) or _Person()
        self._people[face.track_id] = person
        if len(self._people) > MOST_PEOPLE:
            del self._people[next(iter(self._people))]
        options = FitOptions(start=person.last)
        if len(person.shapes) >= IDENTITY_FRAMES:
            options = replace(options, fixed_shape=np.mean(person.shapes, 0))
        fit = person.last = self._heads.fit(face.pose, options)
        if len(person.shapes) < IDENTITY_FRAMES:
            person.shapes.append(fit.shape)
        return fit


@dataclass
class _Person:
    """shapes: of the first frames. last: the newest fit."""

    shapes: list[Float[Array, "s"]] = field(default_factory=list)
    last: FlameFit | None = None


def fit_pose(fitter: FlameFitter, pose: HeadPose, options: FitOptions | None = None) -> FlameFit:
    """The head of a pose. Raises: FitError for a pose that no head has."""
    knows_mesh = fitter.assets.is_open_head and len(pose.vertices_head_m) == FACEMESH_COUNT
    points_m = pose.vertices_cam_m() if knows_mesh else pose.landmarks_68_cam_m()
    return fitter.to_camera(points_m, pose.K_image_from_cam, options=options)


def _heads(faces: Sequence[FacePose], fit: Callable[[FacePose], FlameFit]) -> tuple[FullHead, ...]:
    found = []
    for face in faces:
        with suppress(FitError):
            found.append(FullHead(face.track_id, fit(face)))
    return tuple(found)


def pose_with_head(pose: HeadPose, fit: FlameFit) -> HeadPose:
    """The same pose with the fitted head in place of the face's mesh."""
    from_origin_m = fit.vertices_cam_m - pose.t_cam_from_head_mm / 1000.0
    return replace(pose, vertices_head_m=from_origin_m @ pose.R_cam_from_head)
