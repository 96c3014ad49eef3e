"""HeadPoseEstimator: an RGB picture in, 6DoF head poses in the camera's frame out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy.typing import ArrayLike

from models.face_detection.base import FaceDetections, FaceDetector
from models.face_detection.mtcnn import MtcnnDetector
from models.geometry.boxes import (
    bounding_box_xyxy,
    iou_xyxy,
    ray_box_from_xyxy,
)
from models.geometry.cameras import Camera, camera_from_horizontal_fov
from models.geometry.rotations import (
    YawPitchRollDeg,
    geodesic_deg,
    nearest_rotation,
    ypr_300wlp_from_matrix,
)
from models.trg.pose_model import PoseModel, PosePrediction
from models.trg.uncertainty import expected_geodesic_deg
from models.weights import load_pose_model

Array = np.ndarray

DETECTOR_BOX_SCALE = 1.4
"""Side of the first crop over the longer side of MTCNN's box: median of the second crop's side on
portraits."""

VIEWS = np.array(
    [[0.0, 0.0, 1.0, 0], [0.0, 0.0, 1.0, 1], [0.06, 0.03, 1.08, 0], [-0.05, -0.04, 0.93, 1]]
)
"""Crops whose agreement is the evidence: shift x, shift y (of the side), scale, mirrored. The first
is the answer."""

TRACKING_VIEWS = np.array([[0.0, 0.0, 1.0, 0], [0.03, 0.02, 1.04, 1]])
"""The same for a face that is being followed: one mirrored, shifted copy."""

SPREAD_SCALE_DEG, DEPTH_SPREAD_SCALE = 10.0, 0.06
"""Disagreement of the views that speaks against a face: faces stay below 6 deg and 0.03, hands and
bowls do not."""

MIN_CONFIDENCE = 0.5
UPRIGHT_WITHIN_DEG, SURE_OF_ROLL = 20.0, 0.8
"""When a followed face's next crop is turned, see `HeadPoseEstimator.roll_from_pose`."""
MAX_IOU_OF_TWO_FACES = 0.45


@dataclass(frozen=True)
class HeadPose:
    """One head in one picture, in the project's `head` frame, whatever network saw it.

    R_cam_from_head, t_cam_from_head_mm: OpenCV camera; the origin of `head` is ARKit's face anchor.
    K_image_from_cam: (3, 3) of the whole picture; the pose holds for this camera only.
    box_xyxy_px: extent of the projected mesh in the whole picture; may reach outside it.
    confidence: 0 to 1, that this is a face whose pose was understood.
    uncertainty_deg: expected geodesic error of R; uncertainty_source says how it was estimated.
    rotation_covariance_cam: of the rotation error's vector in the camera frame, rad^2, and
        t_sigma_mm: standard deviations of t; None if the network does not say.
    vertices_head_m: (v, 3) predicted face mesh, metres; triangles are the model's, see `PoseModel`.
    landmarks_68_head_m: (68, 3) iBUG order, metres.
    model: name of the network that made it, as in `models.weights`.
    """

    R_cam_from_head: Float[Array, "3 3"]
    t_cam_from_head_mm: Float[Array, "3"]
    K_image_from_cam: Float[Array, "3 3"]
    box_xyxy_px: Float[Array, "4"]
    confidence: float
    uncertainty_deg: float
    uncertainty_source: str
    vertices_head_m: Float[Array, "v 3"]
    landmarks_68_head_m: Float[Array, "68 3"]
    model: str
    rotation_covariance_cam: Float[Array, "3 3"] | None = None
    t_sigma_mm: Float[Array, "3"] | None = None

    @property
    def ypr_deg(self) -> YawPitchRollDeg:
        """Yaw, pitch, roll of 300W-LP, the project's own convention."""
        return ypr_300wlp_from_matrix(self.R_cam_from_head)

    @property
    def distance_mm(self) -> float:
        """From the camera's centre to the head's origin."""
        return float(np.linalg.norm(self.t_cam_from_head_mm))

    def vertices_cam_m(self) -> Float[Array, "v 3"]:
        """The mesh in the camera frame, metres."""
        return self.vertices_head_m @ self.R_cam_from_head.T + self.t_cam_from_head_mm / 1000.0

    def landmarks_68_cam_m(self) -> Float[Array, "68 3"]:
        """The 68 landmarks in the camera frame, metres."""
        return self.landmarks_68_head_m @ self.R_cam_from_head.T + self.t_cam_from_head_mm / 1000.0


class HeadPoseEstimator:
    """Detector and pose network together.

    detector: finds the faces of a still picture; `predict_boxes` does without it.
    """

    def __init__(self, model: PoseModel, detector: FaceDetector):
        self.model = model
        self.detector = detector
        self.min_confidence = MIN_CONFIDENCE

    @classmethod
    def load(
        cls,
        name: str = "trg-mini",
        device: str | None = None,
        path: str | Path | None = None,
        root: str | Path | None = None,
    ) -> HeadPoseEstimator:
        """The estimator for a model of `models.weights`: "trg-mini" (bundled), "trg", "trg-multi".

        device: "cpu", "cuda"; None takes CUDA where there is one.
        path: a checkpoint in another place. root: the folder that holds `checkpoint/`.
        Raises: KeyError for an unknown name, CheckpointError where the weights are missing or
        wrong.
        """
        model = load_pose_model(name, device=device, path=path, root=root)
        return cls(model, MtcnnDetector(model.device))

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def triangles(self) -> Int[Array, "f 3"]:
        """Triangles of the predicted mesh, counter-clockwise seen from outside."""
        return self.model.triangles

    @property
    def landmark_68_ids(self) -> Int[Array, "68"]:
        """Vertices of the predicted mesh that are the iBUG landmarks."""
        return self.model.landmark_68_ids

    def predict(
        self,
        image_rgb: UInt8[Array, "height width 3"],
        camera: Camera | None = None,
        boxes_xyxy_px: ArrayLike | None = None,
        *,
        average_mirror: bool = False,
    ) -> list[HeadPose]:
        """All heads of a still picture, the largest first.

        camera: None assumes `DEFAULT_HORIZONTAL_FOV_DEG`.
        boxes_xyxy_px: face boxes as a detector would give them; None runs the detector, whose
            false finds are then rejected by what the pose network sees. Given boxes are never
            rejected; the answer keeps their order.
        average_mirror: see `predict_boxes`.
        Raises: ValueError if the picture is not (height, width, 3) uint8 or a box is empty.
        """
        if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
            got = f"{image_rgb.shape} {image_rgb.dtype}"
            raise ValueError(f"The picture must be (height, width, 3) uint8 RGB, got {got}.")
        size_wh_px = (image_rgb.shape[1], image_rgb.shape[0])
        camera = camera or camera_from_horizontal_fov(size_wh_px)
        if boxes_xyxy_px is not None:
            boxes = np.asarray(boxes_xyxy_px, np.float64).reshape(-1, 4)
            if (boxes[:, 2:] <= boxes[:, :2]).any() or not np.isfinite(boxes).all():
                raise ValueError(
                    "A face box must be left, top, right, bottom with right > left, bottom > top."
                )
            ray_boxes = [ray_box_from_xyxy(camera, box, DETECTOR_BOX_SCALE) for box in boxes]
            crops = np.reshape(ray_boxes, (-1, 3))
            return self.predict_boxes(image_rgb, camera, crops, average_mirror=average_mirror)
        poses: list[HeadPose] = []
        for lenient in (False, True):
            found = self.detector.detect(image_rgb, lenient=lenient)
            poses = poses or self._confirmed(image_rgb, camera, found, average_mirror)
            if poses:
                break
        return sorted(
            poses, key=lambda pose: -float(np.prod(pose.box_xyxy_px[2:] - pose.box_xyxy_px[:2]))
        )

    def _confirmed(
        self,
        image_rgb: UInt8[Array, "height width 3"],
        camera: Camera,
        found: FaceDetections,
        average_mirror: bool,
    ) -> list[HeadPose]:
        """Detections that the pose network takes for a face, each face once."""
        poses = self.predict_boxes(
            image_rgb,
            camera,
            self.ray_boxes_from_detections(camera, found),
            scores=found.scores,
            average_mirror=average_mirror,
        )
        kept: list[HeadPose] = []
        for pose in sorted(poses, key=lambda pose: -pose.confidence):
            if pose.confidence < self.min_confidence:
                break
            if not kept or (
                iou_xyxy(
                    pose.box_xyxy_px[None], np.stack([other.box_xyxy_px for other in kept])
                ).max()
                < MAX_IOU_OF_TWO_FACES
            ):
                kept.append(pose)
        return kept

    def predict_boxes(
        self,
        image_rgb: UInt8[Array, "height width 3"],
        camera: Camera,
        ray_boxes: Float[Array, "n 3"],
        *,
        passes: int = 2,
        views: Float[Array, "k 4"] = VIEWS,
        scores: Float[Array, "n"] | None = None,
        rolls_deg: Float[Array, "n"] | None = None,
        average_mirror: bool = False,
    ) -> list[HeadPose]:
        """One head per crop, in the order of the crops, all in one batch.

        passes: 2 first looks at the given crop and then at the one around the predicted mesh,
            turned upright for models that want it so; 1 trusts the crop.
        views: crops that must agree, see `VIEWS`; with a single row there is only what the network
            says of itself (if nothing: confidence 1, the model's typical error as uncertainty).
        scores: the detector's, where there was one.
        rolls_deg: how far the heads are turned clockwise, as `roll_from_pose` says of the frame
            before; None: not known.
        average_mirror: the answer is the mean of the crop's and the mirrored crop's; what the
            network says of its errors stays that of the crop. One more crop per head.
        """
        if len(ray_boxes) == 0:
            return []
        turns_deg = np.zeros(len(ray_boxes)) if rolls_deg is None else -rolls_deg
        if passes == 2:
            first = self.model.predict(image_rgb, camera, ray_boxes, turn_deg=turns_deg)
            ray_boxes = np.stack([self.model.ray_box_of(mesh) for mesh in first.vertices_cam_m()])
            turns_deg = self.model.upright_turn_deg(first.R_cam_from_head, first.t_cam_from_head_m)
        if average_mirror:
            views = np.concatenate([views, [[0.0, 0.0, 1.0, 1.0]]])
        n, k = len(ray_boxes), len(views)
        crops = np.repeat(ray_boxes, k, 0)
        moves = np.tile(views, (n, 1))
        crops[:, :2] += moves[:, :2] * crops[:, 2:]
        crops[:, 2] *= moves[:, 2]
        seen = self.model.predict(
            image_rgb, camera, crops, mirror=moves[:, 3] > 0, turn_deg=np.repeat(turns_deg, k)
        )
        seen = _averaged_with_last(seen, k) if average_mirror else seen
        return [
            self._head_pose(
                seen,
                slice(i * k, (i + 1) * k),
                camera,
                None if scores is None else float(scores[i]),
            )
            for i in range(n)
        ]

    def ray_boxes_from_detections(
        self, camera: Camera, found: FaceDetections
    ) -> Float[Array, "n 3"]:
        """First crops of detected faces."""
        crops = [ray_box_from_xyxy(camera, box, DETECTOR_BOX_SCALE) for box in found.boxes_xyxy_px]
        return np.reshape(np.array(crops, np.float64), (-1, 3))

    def ray_box_from_pose(self, pose: HeadPose) -> Float[Array, "3"]:
        """The crop around a predicted head: where to look in the next frame of a video."""
        return self.model.ray_box_of(pose.vertices_cam_m())

    def roll_from_pose(self, pose: HeadPose) -> float:
        """How far the next frame's crop should take the head for turned, degrees clockwise.

        0 near upright, where the network needs no help, and for a pose that may be wrong: a hidden
        head must not turn the crop in which it is looked for.
        """
        R, t = pose.R_cam_from_head[None], pose.t_cam_from_head_mm[None]
        roll_deg = -float(self.model.upright_turn_deg(R, t)[0])
        is_sure = pose.confidence >= SURE_OF_ROLL
        return roll_deg if is_sure and abs(roll_deg) > UPRIGHT_WITHIN_DEG else 0.0

    def _head_pose(
        self, seen: PosePrediction, rows: slice, camera: Camera, score: float | None
    ) -> HeadPose:
        R, t_m = seen.R_cam_from_head[rows], seen.t_cam_from_head_m[rows]
        vertices_head_m = seen.vertices_head_m[rows][0].astype(np.float64)
        evidence = self._evidence(seen, rows, score)
        R_cam_from_head = nearest_rotation(R[0])  # the network's is one to single precision
        covariance = seen.rotation_covariance_cam
        projected = camera.project(vertices_head_m @ R_cam_from_head.T + t_m[0])
        return HeadPose(
            R_cam_from_head=R_cam_from_head,
            t_cam_from_head_mm=t_m[0] * 1000.0,
            K_image_from_cam=camera.K_image_from_cam,
            box_xyxy_px=bounding_box_xyxy(projected),
            confidence=evidence.confidence,
            uncertainty_deg=evidence.uncertainty_deg,
            uncertainty_source=evidence.source,
            vertices_head_m=vertices_head_m,
            landmarks_68_head_m=vertices_head_m[self.landmark_68_ids],
            model=self.name,
            rotation_covariance_cam=None if covariance is None else covariance[rows][0],
            t_sigma_mm=None if seen.t_sigma_m is None else seen.t_sigma_m[rows][0] * 1000.0,
        )

    def _evidence(self, seen: PosePrediction, rows: slice, score: float | None) -> _Evidence:
        """How sure the answer is: what the network says of itself, else whether its views agree.

        Views that contradict each other overrule a network that is sure of itself.
        """
        R, t_m = seen.R_cam_from_head[rows], seen.t_cam_from_head_m[rows]
        agreement, spread_deg = _agreement(R, t_m, score)
        typical_deg = self.model.typical_error_deg
        if len(R) == 1:
            evidence = _Evidence(1.0, typical_deg, "typical of the model")
        else:
            error_deg = float(np.hypot(typical_deg, spread_deg))
            evidence = _Evidence(agreement, error_deg, "mirror and crop jitter")
        if seen.presence is not None:
            presence = float(seen.presence[rows].mean())
            known = presence if agreement >= MIN_CONFIDENCE else min(presence, agreement)
            evidence = replace(evidence, confidence=known)
        if seen.rotation_covariance_cam is not None:
            claimed = expected_geodesic_deg(seen.rotation_covariance_cam[rows][:1])
            evidence = replace(
                evidence, uncertainty_deg=float(claimed[0]), source="the network itself"
            )
        return evidence


def _averaged_with_last(seen: PosePrediction, k: int) -> PosePrediction:
    """Of every k views of a head, the pose and the mesh of the first become the mean of the first
    and the last."""
    R, t, vertices = (
        array.copy()
        for array in (seen.R_cam_from_head, seen.t_cam_from_head_m, seen.vertices_head_m)
    )
    R[::k] = nearest_rotation(R[::k] + R[k - 1 :: k])
    t[::k] = (t[::k] + t[k - 1 :: k]) / 2
    vertices[::k] = (vertices[::k] + vertices[k - 1 :: k]) / 2
    return replace(seen, R_cam_from_head=R, t_cam_from_head_m=t, vertices_head_m=vertices)


@dataclass(frozen=True)
class _Evidence:
    confidence: float
    uncertainty_deg: float
    source: str


def _agreement(
    R: Float[Array, "k 3 3"], t_m: Float[Array, "k 3"], score: float | None
) -> tuple[float, float]:
    """(how well the views of one crop agree, 0 to 1; their spread in degrees).

    On a face a network says the same of every view; on anything else it says something else each
    time. The detector's score moves the balance: a logistic of 2.2 - 2.2 E + 0.5 (logit(score) -
    4), where E is the squared disagreement in units of `SPREAD_SCALE_DEG` and
    `DEPTH_SPREAD_SCALE`. Not calibrated. One view agrees with itself.
    """
    if len(R) == 1:
        return 1.0, 0.0
    spread_deg = float(np.sqrt(np.mean(geodesic_deg(R[1:], R[:1]) ** 2)))
    depth_spread = float(np.abs(np.log(np.maximum(t_m[1:, 2], 1e-3) / max(t_m[0, 2], 1e-3))).max())
    against = (spread_deg / SPREAD_SCALE_DEG) ** 2 + (depth_spread / DEPTH_SPREAD_SCALE) ** 2
    logit = 2.2 - 2.2 * against
    if score is not None:
        p = float(np.clip(score, 0.1, 0.999))
        logit += 0.5 * (np.log(p / (1 - p)) - 4.0)
    return float(1.0 / (1.0 + np.exp(-np.clip(logit, -50, 50)))), spread_deg
