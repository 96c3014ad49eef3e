"""The columns of the tables: ways to get a pose from a crop. The first is the network as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, UInt8

from models.estimator import HeadPoseEstimator
from models.geometry.cameras import Camera
from models.geometry.rotations import nearest_rotation
from models.trg.pose_model import PosePrediction

Array = np.ndarray

SINGLE_PASS, TWO_PASSES, MIRROR_AVERAGE = "single pass", "two passes", "mirror average"
APP_ANSWER = "as the app looks"


@dataclass(frozen=True)
class Poses:
    """Poses of n heads, predicted or true, in the project's `head` frame; None: not known.

    covariance_rad2: of the rotation vector in the camera frame, as the network's own head says.
    sigma_t_mm: standard deviation of t, the same. presence: probability that there is a face.
    """

    R_cam_from_head: Float[Array, "n 3 3"]
    t_cam_from_head_mm: Float[Array, "n 3"] | None = None
    vertices_head_mm: Float[Array, "n v 3"] | None = None
    covariance_rad2: Float[Array, "n 3 3"] | None = None
    sigma_t_mm: Float[Array, "n 3"] | None = None
    presence: Float[Array, "n"] | None = None

    def __len__(self) -> int:
        return len(self.R_cam_from_head)


class CropModel(Protocol):
    """What a protocol asks of a network; `PoseModel` is one."""

    def predict(
        self,
        image_rgb: UInt8[Array, "h w 3"],
        camera: Camera,
        ray_boxes: Float[Array, "n 3"],
        mirror: bool = False,
        turn_deg: Float[Array, "n"] | float = 0.0,
    ) -> PosePrediction:
        """As `PoseModel.predict`."""

    def ray_box_of(self, vertices_cam_m: Float[Array, "v 3"]) -> Float[Array, "3"]:
        """As `PoseModel.ray_box_of`."""

    def upright_turn_deg(
        self, R_cam_from_head: Float[Array, "n 3 3"], t_cam_from_head: Float[Array, "n 3"]
    ) -> Float[Array, "n"]:
        """As `PoseModel.upright_turn_deg`."""


Column = Callable[[Array, Camera, Array], Poses]
"""(image_rgb, camera, ray_boxes) to the poses of the boxes."""


def poses_stacked(parts: list[Poses]) -> Poses:
    """All heads of the parts in order; what one part lacks, the whole lacks."""
    if not parts:
        return Poses(np.zeros((0, 3, 3)))
    values: dict[str, Array | None] = {}
    for name in Poses.__dataclass_fields__:
        arrays = [getattr(part, name) for part in parts]
        values[name] = None if any(a is None for a in arrays) else np.concatenate(arrays)
    return Poses(**values)


def single_pass(model: CropModel) -> Column:
    """The network looks once, at the crop that it is given."""

    def column(image_rgb: Array, camera: Camera, ray_boxes: Array) -> Poses:
        return _poses(model.predict(image_rgb, camera, ray_boxes))

    return column


def two_passes(model: CropModel) -> Column:
    """It looks again, at the crop around what it saw, turned upright if the model wants it so."""

    def column(image_rgb: Array, camera: Camera, ray_boxes: Array) -> Poses:
        first = model.predict(image_rgb, camera, ray_boxes)
        turn_deg = model.upright_turn_deg(first.R_cam_from_head, first.t_cam_from_head_m)
        return _poses(
            model.predict(image_rgb, camera, boxes_around(model, first), turn_deg=turn_deg)
        )

    return column


def app_answer(estimator: HeadPoseEstimator) -> Column:
    """Two passes as the app makes them, with several views in the second, and more where a head is
    not understood; the views' agreement counts in what is said of errors, and presence is the app's
    confidence."""

    def column(image_rgb: Array, camera: Camera, ray_boxes: Array) -> Poses:
        heads = estimator.predict_boxes(image_rgb, camera, ray_boxes)

        def stacked(name: str) -> Array | None:
            values = [getattr(head, name) for head in heads]
            return None if any(value is None for value in values) else np.stack(values)

        return Poses(
            stacked("R_cam_from_head"),
            stacked("t_cam_from_head_mm"),
            1000.0 * stacked("vertices_head_m"),
            stacked("rotation_covariance_cam"),
            stacked("t_sigma_mm"),
            stacked("confidence"),
        )

    return column


def mirror_average(model: CropModel) -> Column:
    """Mean of the crop's answer and the mirrored crop's, mirrored back; no uncertainty."""

    def column(image_rgb: Array, camera: Camera, ray_boxes: Array) -> Poses:
        seen = [
            _poses(model.predict(image_rgb, camera, ray_boxes, mirror=m)) for m in (False, True)
        ]
        return Poses(
            nearest_rotation(seen[0].R_cam_from_head + seen[1].R_cam_from_head),
            (seen[0].t_cam_from_head_mm + seen[1].t_cam_from_head_mm) / 2,
            (seen[0].vertices_head_mm + seen[1].vertices_head_mm) / 2,
        )

    return column


def model_columns(model: CropModel) -> dict[str, Column]:
    """The network once, twice, and averaged over the mirror."""
    return {
        SINGLE_PASS: single_pass(model),
        TWO_PASSES: two_passes(model),
        MIRROR_AVERAGE: mirror_average(model),
    }


def boxes_around(model: CropModel, first: PosePrediction) -> Float[Array, "n 3"]:
    """The crops in which the network wants to see again what it found."""
    return np.stack([model.ray_box_of(mesh) for mesh in first.vertices_cam_m()])


def _poses(found: PosePrediction) -> Poses:
    sigma_m = found.t_sigma_m
    return Poses(
        nearest_rotation(np.asarray(found.R_cam_from_head, np.float64)),
        1000.0 * np.asarray(found.t_cam_from_head_m, np.float64),
        1000.0 * np.asarray(found.vertices_head_m, np.float64),
        found.rotation_covariance_cam,
        None if sigma_m is None else 1000.0 * sigma_m,
        found.presence,
    )
