"""A head model fitted to vertices, to landmarks, or to what a pose network saw.

Every unknown enters through FLAME's own formula, whose derivatives are known (`fit_points`); a few
Gauss-Newton steps (`fit_solver`) find them. Targets are in the frame `flame` (x to the subject's
left, y up, z out of the face) wherever the head stands in it. A camera's frame becomes one by
turning y and z: p_flame = GL_FROM_CV p_cam, so that a frontal face has no turn.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from models.flame.assets import FlameAssets
from models.flame.fit_points import HeadState, PosedPoints, SurfacePoints, at_rest
from models.flame.fit_solver import FitTarget, PixelTarget, Prior, solve
from models.flame.open_head import load_open_head
from models.geometry.rotations import (
    GL_FROM_CV,
    matrix_from_rotation_vector,
    nearest_rotation,
    rotation_vector_from_matrix,
)

Array = np.ndarray

VERTEX_NOISE_M, LANDMARK_NOISE_M, LANDMARK_NOISE_PX = 1e-5, 2e-3, 1.5
"""Standard deviations: of a mesh that is one of the model's, and of landmarks of a network."""

CONTOUR_COUNT, CONTOUR_NOISE = 17, 4.0
"""The jaw line of 68 landmarks is a different line on each head model: it counts for less."""

EXPRESSION_SIGMA, WEIGHT_SIGMA = 1.0, 0.4
"""Of FLAME's expression components, and of expressions with names, which go from 0 to 1."""

COARSE_VERTICES = 1200

FRAME_SHAPES, FRAME_EXPRESSIONS = 100, 50
"""Components without names that a frame's landmarks can tell apart from noise, and more."""


class FitError(ValueError):
    """The target cannot be fitted; the message says why."""


@dataclass(frozen=True)
class FitOptions:
    """How to fit.

    free_joints: names of the joints that may turn beside the root; None: all for a whole mesh; for
        landmarks the jaw, unless the model's expressions open it.
    noise_m: standard deviation of the target; None: by its kind.
    fixed_shape: identity that is known, for all frames of a video.
    start: an earlier fit of the same model, such as the last frame's.
    """

    free_joints: tuple[str, ...] | None = None
    noise_m: float | None = None
    joint_sigma_rad: float = 0.35
    max_iterations: int = 30
    fixed_shape: Float[Array, "s"] | None = None
    start: FlameFit | None = None


@dataclass(frozen=True)
class FlameFit:
    """A fitted head: what to give the layer, and what comes of it.

    model: name of the head model. pose_rad: one rotation vector a joint, root first, flat.
    vertices_flame_m: with pose and translation, in the target's frame.
    residual_*_mm: distances of the fitted points from their targets.
    """

    model: str
    shape: Float[Array, "s"]
    expression: Float[Array, "e"]
    pose_rad: Float[Array, "j3"]
    translation_m: Float[Array, "3"]
    vertices_flame_m: Float[Array, "v 3"]
    residual_mean_mm: float
    residual_median_mm: float
    residual_max_mm: float
    iterations: int
    seconds: float

    @property
    def vertices_cam_m(self) -> Float[Array, "v 3"]:
        """The head in an OpenCV camera's frame, where the target was seen by one."""
        return self.vertices_flame_m @ GL_FROM_CV


@dataclass(frozen=True)
class HeadMorphs:
    """A posed head with its expressions left open: for one pose they only add up.

    p_flame = R (neutral + sum of weight * offset) + t. The neutral head has its jaw, neck and eyes
    turned as they are, in the model's own frame.
    """

    neutral_m: Float[Array, "v 3"]
    offsets_m: Float[Array, "e v 3"]
    weights: Float[Array, "e"]
    R_flame_from_neutral: Float[Array, "3 3"]
    t_flame_from_neutral_m: Float[Array, "3"]


class FlameFitter:
    """Fits one head model; made once, used for any number of targets.

    shape_count, expression_count: how many of the model's components to use; None uses all.
    """

    def __init__(
        self,
        assets: FlameAssets,
        shape_count: int | None = None,
        expression_count: int | None = None,
    ) -> None:
        shapes = assets.shape_directions_m[:shape_count]
        expressions = assets.expression_directions_m[:expression_count]
        self.assets = assets
        self.shape_count = len(shapes)
        self._directions = np.concatenate([shapes, expressions])
        self._joint_directions = np.tensordot(
            self._directions, assets.joint_regressor, (1, 1)
        ).transpose(0, 2, 1)
        self._all = self._points(None)
        self._kept: dict[tuple[int, bool], PosedPoints] = {}

    @classmethod
    def for_frames(cls, assets: FlameAssets) -> FlameFitter:
        """With as many components as landmarks are good for: a frame in milliseconds."""
        return cls(assets, FRAME_SHAPES, None if assets.expression_names else FRAME_EXPRESSIONS)

    def to_vertices(
        self, vertices_flame_m: Float[Array, "v 3"], options: FitOptions | None = None
    ) -> FlameFit:
        """The head nearest to a mesh of the model's own topology. Raises: FitError."""
        options = options or FitOptions()
        count = len(self.assets.template_vertices_m)
        if len(vertices_flame_m) != count:
            raise FitError(
                f"The mesh has {len(vertices_flame_m)} vertices; {self.assets.name} has {count}."
            )
        noise = np.full(count, options.noise_m or VERTEX_NOISE_M)
        joints = self._joints(options, self.assets.joint_names)
        some = slice(None, None, max(1, count // COARSE_VERTICES))
        ids = np.arange(count)[some]
        coarse = self._points(_single_vertices(ids))
        targets = [
            FitTarget(coarse, vertices_flame_m[some], noise[some]),
            FitTarget(self._all, vertices_flame_m, noise),
        ]
        return self._fit(targets, joints, options)

    def to_landmarks(
        self, landmarks_flame_m: Float[Array, "n 3"], options: FitOptions | None = None
    ) -> FlameFit:
        """The likeliest head for 68 landmarks (iBUG), or 468 (FaceMesh; the open head only).

        Raises: FitError.
        """
        options = options or FitOptions()
        noise = np.full(len(landmarks_flame_m), options.noise_m or LANDMARK_NOISE_M)
        joints = self._joints(options, self._landmark_joints())
        points = self._landmarks(len(landmarks_flame_m), joints, options)
        target = FitTarget(points, np.asarray(landmarks_flame_m, np.float64), noise)
        return self._fit([target], joints, options)

    def to_camera(
        self,
        landmarks_cam_m: Float[Array, "n 3"],
        K_image_from_cam: Float[Array, "3 3"],
        landmarks_px: Float[Array, "n 2"] | None = None,
        options: FitOptions | None = None,
    ) -> FlameFit:
        """The likeliest head for a network's 68 or 468 landmarks, in metres and in the picture.

        landmarks_px: None takes the projected ones, so that the head lies on the face as the
            network's own mesh does. Raises: FitError.
        """
        options = options or FitOptions()
        count = len(landmarks_cam_m)
        joints = self._joints(options, self._landmark_joints())
        points = self._landmarks(count, joints, options)
        if not np.isfinite(landmarks_cam_m).all() or (landmarks_cam_m[:, 2] <= 0).any():
            raise FitError("A landmark is behind the camera or not finite.")
        if landmarks_px is None:
            projected = landmarks_cam_m @ K_image_from_cam.T
            landmarks_px = projected[:, :2] / projected[:, 2:]
        trust = np.ones(count)
        if count == 68 and not self.assets.is_open_head:
            trust[:CONTOUR_COUNT] = CONTOUR_NOISE
        # one pixel at the face's distance, but no less than the pixels of a small face are worth
        pixel_m = float(np.median(landmarks_cam_m[:, 2]) / K_image_from_cam[0, 0])
        noise_px = max(LANDMARK_NOISE_PX, 0.25 * LANDMARK_NOISE_M / pixel_m)
        pixels = PixelTarget(landmarks_px, K_image_from_cam, noise_px * trust)
        noise_m = (options.noise_m or LANDMARK_NOISE_M) * trust
        target = FitTarget(points, landmarks_cam_m @ GL_FROM_CV, noise_m, pixels)
        return self._fit([target], joints, options)

    def morphs(
        self,
        shape: Float[Array, "s"],
        expression: Float[Array, "e"],
        pose_rad: Float[Array, "j3"],
        translation_m: Float[Array, "3"],
    ) -> HeadMorphs:
        """A head as a neutral one with an offset for each expression; exact, not a linearisation.

        The coefficients are as many as the fitter uses.
        """
        coefficients = np.concatenate([shape, expression])
        R = matrix_from_rotation_vector(pose_rad.reshape(-1, 3))
        state = HeadState(coefficients, R, translation_m)
        places, moves = self._all.with_derivatives(state, ())
        by_weight = moves[..., self.shape_count : len(coefficients)]
        without = replace(state, coefficients=np.pad(shape, (0, len(expression))))
        root_m = self._root_m(without)
        t = translation_m + root_m - R[0] @ root_m
        return HeadMorphs(
            neutral_m=(places - by_weight @ expression - t) @ R[0],
            offsets_m=by_weight.transpose(2, 0, 1) @ R[0],
            weights=expression,
            R_flame_from_neutral=R[0],
            t_flame_from_neutral_m=t,
        )

    def _fit(
        self, targets: list[FitTarget], joints: tuple[int, ...], options: FitOptions
    ) -> FlameFit:
        began_s = time.perf_counter()
        for target in targets:
            if not np.isfinite(target.target_m).all():
                raise FitError("The target has numbers that are not finite.")
        state, prior = self._start(options), self._prior(options)
        state = _rigidly_on(targets[0], state, self._root_m(state))
        iterations = 0
        for target in targets:
            state, used = solve(target, state, joints, prior, options.max_iterations)
            iterations += used
        off_mm = 1000 * np.linalg.norm(
            targets[-1].points.positions_m(state) - targets[-1].target_m, axis=1
        )
        return FlameFit(
            model=self.assets.name,
            shape=state.coefficients[: self.shape_count],
            expression=state.coefficients[self.shape_count :],
            pose_rad=rotation_vector_from_matrix(state.R).ravel(),
            translation_m=state.translation_m,
            vertices_flame_m=self._all.positions_m(state),
            residual_mean_mm=float(off_mm.mean()),
            residual_median_mm=float(np.median(off_mm)),
            residual_max_mm=float(off_mm.max()),
            iterations=iterations,
            seconds=time.perf_counter() - began_s,
        )

    def _start(self, options: FitOptions) -> HeadState:
        state = at_rest(self.assets, len(self._directions))
        coefficients, R = state.coefficients, state.R
        if options.start is not None:
            if options.start.model != self.assets.name:
                raise FitError(f"The start is a fit of {options.start.model}.")
            coefficients = np.concatenate([options.start.shape, options.start.expression])
            R = matrix_from_rotation_vector(options.start.pose_rad.reshape(-1, 3))
            R[0] = np.eye(3)
        if options.fixed_shape is not None:
            coefficients[: self.shape_count] = self._shape_of_all(options.fixed_shape)
        if len(coefficients) != len(self._directions):
            raise FitError("The start was fitted with another number of components.")
        return HeadState(coefficients, R, state.translation_m)

    def _shape_of_all(self, shape: Float[Array, "s"]) -> Float[Array, "t"]:
        if len(shape) > self.shape_count:
            raise FitError(
                f"{len(shape)} identity components were given; {self.shape_count} are in use."
            )
        return np.pad(shape, (0, self.shape_count - len(shape)))

    def _prior(self, options: FitOptions) -> Prior:
        count, shapes = len(self._directions), self.shape_count
        sigma = np.ones(count)
        low, high = np.full(count, -np.inf), np.full(count, np.inf)
        if self.assets.expression_names:
            low[shapes:], high[shapes:] = 0.0, 1.0
        sigma[shapes:] = WEIGHT_SIGMA if self.assets.expression_names else EXPRESSION_SIGMA
        if options.fixed_shape is not None:
            low[:shapes] = high[:shapes] = self._shape_of_all(options.fixed_shape)
        return Prior(sigma, low, high, options.joint_sigma_rad)

    def _joints(self, options: FitOptions, usual: tuple[str, ...]) -> tuple[int, ...]:
        names = self.assets.joint_names
        wanted = usual if options.free_joints is None else options.free_joints
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise FitError(f"There is no joint {unknown[0]!r}; known are {', '.join(names)}.")
        return tuple(k for k, name in enumerate(names) if k == 0 or name in wanted)

    def _landmark_joints(self) -> tuple[str, ...]:
        is_free = "jaw" in self.assets.joint_names and not self.assets.expression_names
        return ("jaw",) if is_free else ()

    def _root_m(self, state: HeadState) -> Float[Array, "3"]:
        mean = self.assets.joint_regressor[0] @ self.assets.template_vertices_m
        return mean + state.coefficients @ self._joint_directions[:, 0]

    def _landmarks(self, count: int, joints: tuple[int, ...], options: FitOptions) -> PosedPoints:
        bent = options.start is not None and bool(options.start.pose_rad[3:].any())
        in_one_piece = joints == (0,) and not bent
        key = (count, in_one_piece)
        if key not in self._kept:
            self._kept[key] = self._points(self._landmark_points(count), in_one_piece)
        return self._kept[key]

    def _landmark_points(self, count: int) -> SurfacePoints:
        landmarks = self.assets.landmarks
        if count == 468 and self.assets.is_open_head:
            return _open_head_468()
        if count != 68:
            known = "68 or 468" if self.assets.is_open_head else "68"
            raise FitError(f"{count} landmarks were given; {self.assets.name} has {known}.")
        if landmarks is None:
            raise FitError(
                f"{self.assets.name} has no landmarks: put landmark_embedding.npy beside its file."
            )
        return SurfacePoints(landmarks.static_vertex_ids, landmarks.static_weights)

    def _points(self, points: SurfacePoints | None, in_one_piece: bool = False) -> PosedPoints:
        return PosedPoints(
            self.assets,
            self._directions,
            self._joint_directions,
            points,
            in_one_piece=in_one_piece,
        )


def _single_vertices(ids: Array) -> SurfacePoints:
    return SurfacePoints(np.repeat(ids[:, None], 3, 1), np.tile([1.0, 0.0, 0.0], (len(ids), 1)))


@lru_cache(maxsize=1)
def _open_head_468() -> SurfacePoints:
    head = load_open_head()
    return SurfacePoints(head.landmark_468_vertex_ids, head.landmark_468_weights)


def _rigidly_on(target: FitTarget, state: HeadState, root_m: Float[Array, "3"]) -> HeadState:
    """The unturned head moved and turned as one piece onto the target (Kabsch)."""
    weights = target.noise_m**-2.0 / (target.noise_m**-2.0).sum()
    own = target.points.positions_m(state)
    own_middle, middle = weights @ own, weights @ target.target_m
    spread = (target.target_m - middle).T @ ((own - own_middle) * weights[:, None])
    R = nearest_rotation(spread / np.abs(spread).max()) if spread.any() else np.eye(3)
    turned = state.R.copy()
    turned[0] = R
    return HeadState(state.coefficients, turned, middle - root_m - R @ (own_middle - root_m))
