"""HeadPoseEstimator: an RGB picture in, 6DoF head poses in the camera's frame out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
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
    nearest_rotation,
    ypr_300wlp_from_matrix,
)
from models.trg.evidence import MIN_CONFIDENCE, evidence_of_views
from models.trg.looks import VIEWS
from models.trg.pose_model import PoseModel, PosePrediction
from models.weights import load_pose_model

Array = np.ndarray

DETECTOR_BOX_SCALE = 1.4
"""Side of the first crop over the longer side of MTCNN's box: median of the second crop's side on
portraits."""

UPRIGHT_WITHIN_DEG, SURE_OF_ROLL, ROLL_KNOWN_WITHIN_DEG = 20.0, 0.8, 15.0
"""When a followed face's next crop is turned, see `HeadPoseEstimator.roll_from_pose`."""
MAX_IOU_OF_TWO_FACES = 0.45

MAYBE_A_FACE, UNSURE_DEG, LOST_DEG, SURER_BY_FAR = 0.02, 8.0, 15.0, 4.0
"""When a head is looked at again, see `HeadPoseEstimator._thought_again`; tried on renders of the
validation persons."""


@dataclass(frozen=True)
class HeadPose:
    """One head in one picture, in the project's `head` frame, whatever network saw it.

    R_cam_from_head, t_cam_from_head_mm: OpenCV camera; the origin of `head` is ARKit's face anchor.
    K_image_from_cam: (3, 3) of the whole picture; the pose holds for this camera only.
    box_xyxy_px: extent of the projected mesh in the whole picture; may reach outside it.
    confidence: 0 to 1, that this is a face; for networks that do not say, that its views agree.
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
        """One head per crop, in their order; one batch but for heads that need more looks.

        passes: 2 first looks at the given crop and then at the one around the predicted mesh,
            turned upright for models that want it so, and again at heads that are not understood; 1
            trusts the crop.
        views: crops that must agree, see `models.trg.looks`; with a single row there is only what
            the network says of itself (if nothing: confidence 1, the model's typical error as
            uncertainty).
        scores: the detector's, where there was one.
        rolls_deg: how far the heads are turned clockwise, as `roll_from_pose` says of the frame
            before; None: not known.
        average_mirror: the answer is the mean of the crop's and the mirrored crop's; what the
            network says of its errors stays that of the crop. One more crop per head.
        """
        if len(ray_boxes) == 0:
            return []
        if average_mirror:
            views = np.concatenate([views, [[0.0, 0.0, 1.0, 1.0]]])
        answer = partial(
            self._answers, image_rgb, camera, views=views, average_mirror=average_mirror
        )
        heads = answer(ray_boxes, passes, scores, rolls_deg)
        if passes == 2 and self.model.looks is not None and len(views) > 1:
            for i, head in enumerate(heads):
                score = None if scores is None else scores[i : i + 1]
                heads[i] = self._thought_again(answer, head, ray_boxes[i : i + 1], score)
        return heads

    def _answers(
        self,
        image_rgb: UInt8[Array, "height width 3"],
        camera: Camera,
        ray_boxes: Float[Array, "n 3"],
        passes: int,
        scores: Float[Array, "n"] | None,
        rolls_deg: Float[Array, "n"] | None,
        *,
        views: Float[Array, "k 4"],
        average_mirror: bool,
    ) -> list[HeadPose]:
        """As `predict_boxes`, without second thoughts."""
        k = len(views)
        seen, before = self.look(image_rgb, camera, ray_boxes, passes, views, rolls_deg)
        seen = _averaged_with_last(seen, k) if average_mirror else seen
        return [
            self._head_pose(
                seen,
                slice(i * k, (i + 1) * k),
                camera,
                before[i],
                None if scores is None else float(scores[i]),
            )
            for i in range(len(ray_boxes))
        ]

    def _thought_again(
        self,
        answer: Callable[..., list[HeadPose]],
        head: HeadPose,
        ray_box: Float[Array, "1 3"],
        score: Float[Array, "1"] | None,
    ) -> HeadPose:
        """A head that may be a face and is not understood is looked at a third time, where and how
        turned it seems to be, which says no more of whether it is a face; then from the start as if
        it lay on either side or on its head. The surer answer counts, the last if surer by far."""
        if head.confidence < MAYBE_A_FACE or head.uncertainty_deg <= UNSURE_DEG:
            return head
        R, t = head.R_cam_from_head[None], head.t_cam_from_head_mm[None]
        (third,) = answer(
            self.ray_box_from_pose(head)[None], 1, score, -self.model.upright_turn_deg(R, t)
        )
        if third.uncertainty_deg < head.uncertainty_deg:
            head = replace(third, confidence=head.confidence)
        if head.uncertainty_deg <= LOST_DEG:
            return head
        scores = None if score is None else np.repeat(score, 3)
        turned = answer(np.repeat(ray_box, 3, 0), 2, scores, np.array([90.0, 180.0, 270.0]))
        surest = min(turned, key=lambda other: other.uncertainty_deg)
        is_surer = surest.uncertainty_deg < head.uncertainty_deg / SURER_BY_FAR
        return surest if is_surer and surest.confidence > head.confidence else head

    def look(
        self,
        image_rgb: UInt8[Array, "height width 3"],
        camera: Camera,
        ray_boxes: Float[Array, "n 3"],
        passes: int = 2,
        views: Float[Array, "k 4"] = VIEWS,
        rolls_deg: Float[Array, "n"] | None = None,
    ) -> tuple[PosePrediction, Float[Array, "n l"]]:
        """What `predict_boxes` judges: all k views of each crop, one crop's after the other's; and
        the presence of the l looks before them, l = 0 where there were none or it is not known."""
        turns_deg = np.zeros(len(ray_boxes)) if rolls_deg is None else -rolls_deg
        before = np.zeros((len(ray_boxes), 0))
        if passes == 2:
            first = self.model.predict(image_rgb, camera, ray_boxes, turn_deg=turns_deg)
            ray_boxes = np.stack([self.model.ray_box_of(mesh) for mesh in first.vertices_cam_m()])
            turns_deg = self.model.upright_turn_deg(first.R_cam_from_head, first.t_cam_from_head_m)
            before = before if first.presence is None else first.presence[:, None]
        n, k = len(ray_boxes), len(views)
        crops = np.repeat(ray_boxes, k, 0)
        moves = np.tile(views, (n, 1))
        crops[:, :2] += moves[:, :2] * crops[:, 2:]
        crops[:, 2] *= moves[:, 2]
        turns_deg = np.repeat(turns_deg, k)
        seen = self.model.predict(
            image_rgb, camera, crops, mirror=moves[:, 3] > 0, turn_deg=turns_deg
        )
        return seen, before

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
        head must not turn the crop in which it is looked for, nor may one that is not understood.
        """
        R, t = pose.R_cam_from_head[None], pose.t_cam_from_head_mm[None]
        roll_deg = -float(self.model.upright_turn_deg(R, t)[0])
        is_face = pose.confidence >= SURE_OF_ROLL
        is_sure = is_face and pose.uncertainty_deg <= ROLL_KNOWN_WITHIN_DEG
        return roll_deg if is_sure and abs(roll_deg) > UPRIGHT_WITHIN_DEG else 0.0

    def _head_pose(
        self,
        seen: PosePrediction,
        rows: slice,
        camera: Camera,
        presence_before: Float[Array, "l"],
        score: float | None,
    ) -> HeadPose:
        """presence_before: of looks before those of the rows."""
        R, t_m = seen.R_cam_from_head[rows], seen.t_cam_from_head_m[rows]
        vertices_head_m = seen.vertices_head_m[rows][0].astype(np.float64)
        known = (seen.presence, seen.rotation_covariance_cam)
        presence, claimed = (None if said is None else said[rows] for said in known)
        if presence is not None:
            presence = np.concatenate([presence_before, presence])
        evidence = evidence_of_views(
            R, t_m, presence, claimed, score, self.model.typical_error_deg, self.model.looks
        )
        R_cam_from_head = nearest_rotation(R[0])  # the network's is one to single precision
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
            rotation_covariance_cam=evidence.rotation_covariance_cam,
            t_sigma_mm=None if seen.t_sigma_m is None else seen.t_sigma_m[rows][0] * 1000.0,
        )


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
