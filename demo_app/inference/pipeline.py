"""FramePipeline: frames in, heads with stable numbers out. Detect -> track -> crop -> predict ->
smooth; drawing is not here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int, UInt8

from demo_app.inference.records import FacePose, FrameResult
from demo_app.inference.smoothing import PoseSmoother, SmoothingOptions
from demo_app.inference.tracking import Observation, Track, Tracker, TrackingOptions
from models.estimator import HeadPose
from models.face_detection.base import FaceDetections, FaceDetector
from models.geometry.boxes import RayBox
from models.geometry.cameras import Camera
from models.trg.looks import TRACKING_VIEWS

Array = np.ndarray

EVIDENCE_EVERY_S = 0.2
"""How often a followed face is checked with a second view when not every frame has its own
uncertainty."""


class PoseEstimator(Protocol):
    """What the pipeline needs of `models.estimator.HeadPoseEstimator`."""

    min_confidence: float

    @property
    def name(self) -> str: ...

    @property
    def triangles(self) -> Int[Array, "f 3"]: ...

    def predict(
        self,
        image_rgb: UInt8[Array, "height width 3"],
        camera: Camera | None = None,
        *,
        average_mirror: bool = False,
    ) -> list[HeadPose]: ...

    def predict_boxes(
        self,
        image_rgb: UInt8[Array, "height width 3"],
        camera: Camera,
        ray_boxes: Float[Array, "n 3"],
        *,
        passes: int = 2,
        views: Float[Array, "k 4"] = ...,
        scores: Float[Array, "n"] | None = None,
        rolls_deg: Float[Array, "n"] | None = None,
        average_mirror: bool = False,
    ) -> list[HeadPose]: ...

    def ray_boxes_from_detections(
        self, camera: Camera, found: FaceDetections
    ) -> Float[Array, "n 3"]: ...

    def ray_box_from_pose(self, pose: HeadPose) -> RayBox: ...

    def roll_from_pose(self, pose: HeadPose) -> float: ...


@dataclass(frozen=True)
class PipelineOptions:
    """How a stream of frames is worked on."""

    smoothing: SmoothingOptions | None = None
    """Smoothing over time; None shows what the network says of each frame."""
    uncertainty: bool = True
    """Uncertainty of every frame from a second, mirrored view; without it a few times a second,
    which is faster."""
    average_mirror: bool = False
    """The pose is the mean of what the network says of the crop and of its mirror image."""
    tracking: TrackingOptions = field(default_factory=TrackingOptions)
    """When faces are looked for and how long they are remembered."""


class FramePipeline:
    """Works on one stream of frames at a time; `reset` starts another. Not for two threads at
    once."""

    def __init__(
        self,
        estimator: PoseEstimator,
        detector: FaceDetector,
        options: PipelineOptions | None = None,
    ) -> None:
        self.estimator = estimator
        self.options = options or PipelineOptions()
        self._detector = detector
        self._tracker = Tracker(self.options.tracking, estimator.min_confidence)
        self._smoothers: dict[int, PoseSmoother] = {}
        self._evidence_s = -np.inf

    def reset(self) -> None:
        """Forget all faces and the smoothing; numbers go on where they were."""
        self._tracker.reset()
        self._smoothers.clear()
        self._evidence_s = -np.inf

    def process(
        self,
        image_rgb: UInt8[Array, "height width 3"],
        frame_index: int,
        time_s: float,
        camera: Camera,
        source: str = "",
    ) -> FrameResult:
        """The heads of the next frame of a stream, of this very frame: nothing is delayed.

        time_s: when the frame was taken, in seconds from any start; frames may come at any
            spacing.
        camera: may change from frame to frame, see `Tracker.start_frame`.
        Raises: ValueError if the picture is not (height, width, 3) uint8 or not of the camera's
            size.
        """
        _check_picture(image_rgb, camera)
        if self._tracker.start_frame(camera, time_s):
            self._smoothers.clear()
            self._evidence_s = -np.inf
        self._follow(image_rgb, camera, time_s)
        detector_ran = self._tracker.wants_detection()
        if detector_ran:
            self._search(image_rgb, camera)
        faces = tuple(self._face(track, time_s, camera) for track in self._tracker.visible)
        seen = {face.track_id for face in faces}
        self._smoothers = {key: kept for key, kept in self._smoothers.items() if key in seen}
        return FrameResult(source, frame_index, time_s, camera, faces, detector_ran)

    def process_still(
        self, image_rgb: UInt8[Array, "height width 3"], camera: Camera, source: str = ""
    ) -> FrameResult:
        """All heads of a picture that belongs to no stream, the largest first and numbered from 1.

        Leaves the stream's faces alone; nothing is smoothed. Raises: ValueError as `process`.
        """
        _check_picture(image_rgb, camera)
        found = self.estimator.predict(
            image_rgb, camera, average_mirror=self.options.average_mirror
        )
        poses = found[: self.options.tracking.max_faces]
        faces = tuple(FacePose(i, pose, pose) for i, pose in enumerate(poses, start=1))
        return FrameResult(source, 0, 0.0, camera, faces, detector_ran=True)

    def _follow(self, image_rgb: Array, camera: Camera, time_s: float) -> None:
        """One batch over all faces that are being followed."""
        followed = self._tracker.followed()
        tracks = [track for track, _ in followed]
        if not tracks:
            self._tracker.follow([], [])
            return
        due = (
            self.options.uncertainty
            or time_s - self._evidence_s >= EVIDENCE_EVERY_S
            or any(track.lost for track in tracks)
        )
        poses = self.estimator.predict_boxes(
            image_rgb,
            camera,
            np.stack([ray_box for _, ray_box in followed]),
            passes=1,
            views=TRACKING_VIEWS if due else TRACKING_VIEWS[:1],
            rolls_deg=np.array([self.estimator.roll_from_pose(track.pose) for track in tracks]),
            average_mirror=self.options.average_mirror,
        )
        if due:
            self._evidence_s = time_s
        else:
            poses = [_with_evidence_of(p, t.pose) for p, t in zip(poses, tracks, strict=True)]
        self._tracker.follow(tracks, self._observations(poses))

    def _search(self, image_rgb: Array, camera: Camera) -> None:
        """Run the detector and look twice at what is new."""
        found = self._detector.detect(image_rgb)
        ray_boxes = self.estimator.ray_boxes_from_detections(camera, found)
        news = np.flatnonzero(self._tracker.unexplained(ray_boxes))
        poses = self.estimator.predict_boxes(
            image_rgb,
            camera,
            ray_boxes[news],
            passes=2,
            scores=found.scores[news],
            average_mirror=self.options.average_mirror,
        )
        self._tracker.adopt(self._observations(poses))

    def _observations(self, poses: Sequence[HeadPose]) -> list[Observation]:
        return [Observation(pose, self.estimator.ray_box_from_pose(pose)) for pose in poses]

    def _face(self, track: Track, time_s: float, camera: Camera) -> FacePose:
        if self.options.smoothing is None:
            return FacePose(track.track_id, track.pose, track.pose)
        if track.track_id not in self._smoothers:
            self._smoothers[track.track_id] = PoseSmoother(self.options.smoothing)
        smoothed = self._smoothers[track.track_id].step(track.pose, time_s, camera)
        return FacePose(track.track_id, smoothed, track.pose)


def _with_evidence_of(pose: HeadPose, earlier: HeadPose) -> HeadPose:
    return replace(
        pose,
        confidence=earlier.confidence,
        uncertainty_deg=earlier.uncertainty_deg,
        uncertainty_source=earlier.uncertainty_source,
        rotation_covariance_cam=earlier.rotation_covariance_cam,
    )


def _check_picture(image_rgb: Array, camera: Camera) -> None:
    if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
        got = f"{image_rgb.shape} {image_rgb.dtype}"
        raise ValueError(f"A frame must be (height, width, 3) uint8 RGB, got {got}.")
    if (image_rgb.shape[1], image_rgb.shape[0]) != tuple(camera.size_wh_px):
        raise ValueError(
            f"The frame is {image_rgb.shape[1]} x {image_rgb.shape[0]} but its camera is for "
            f"{camera.size_wh_px[0]} x {camera.size_wh_px[1]} pixels."
        )
