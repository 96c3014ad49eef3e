"""facenet-pytorch's MTCNN behind our protocol. All of its None and ragged results end here."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from jaxtyping import UInt8

from models.face_detection.base import FaceDetections
from models.threads import one_thread

Array = np.ndarray

THRESHOLDS = (0.6, 0.7, 0.7)
"""facenet-pytorch's own, for its three stages."""

LENIENT_THRESHOLDS = (0.5, 0.55, 0.5)
"""Second look, only where the first found nothing; whoever uses it needs other evidence of a
face."""

WORKING_SIDE_PX = 1280
"""Larger pictures are searched at this size of their longer side."""

MIN_FACE_FRACTION_STILL, MIN_FACE_FRACTION_VIDEO, MIN_FACE_FRACTION_WEBCAM = 1 / 64, 1 / 32, 1 / 10
"""Smallest face that is looked for, as a part of the longer image side. The work grows with its
inverse square: the first finds the faces of a group photo, the last one in front of a webcam."""

_STEP = 8
"""`min_face_size` is rounded down to a step, so that few detectors are built."""


class MtcnnDetector:
    """Finds faces with MTCNN (Zhang et al. 2016); the weights are inside the facenet-pytorch wheel.

    min_face_fraction: smallest face that is looked for, see `MIN_FACE_FRACTION_STILL`.
    """

    def __init__(
        self, device: str | torch.device = "cpu", min_face_fraction: float = MIN_FACE_FRACTION_STILL
    ):
        self._device = torch.device(device)
        self._min_face_fraction = min_face_fraction
        self._networks: dict[tuple[int, tuple[float, ...]], MTCNN] = {}

    def with_min_face_fraction(self, min_face_fraction: float) -> MtcnnDetector:
        """The same detector for other face sizes, see `MIN_FACE_FRACTION_*`."""
        return MtcnnDetector(self._device, min_face_fraction)

    def detect(
        self,
        image_rgb: UInt8[Array, "height width 3"],
        *,
        lenient: bool = False,
        min_face_fraction: float | None = None,
    ) -> FaceDetections:
        """Faces, best first.

        lenient: lower thresholds, on the picture with a border, for faces that are cut off or seen
            from the side.
        min_face_fraction: another than the detector's own.
        """
        fraction = min_face_fraction or self._min_face_fraction
        longest_px = max(image_rgb.shape[:2])
        scale = min(1.0, WORKING_SIDE_PX / longest_px)
        small = image_rgb
        if scale < 1.0:
            size_wh = (round(image_rgb.shape[1] * scale), round(image_rgb.shape[0] * scale))
            small = cv2.resize(
                image_rgb, (max(1, size_wh[0]), max(1, size_wh[1])), interpolation=cv2.INTER_AREA
            )
        border_px = round(0.2 * max(small.shape[:2])) if lenient else 0
        if border_px:
            small = cv2.copyMakeBorder(
                small,
                border_px,
                border_px,
                border_px,
                border_px,
                cv2.BORDER_CONSTANT,
                value=(127, 127, 127),
            )
        thresholds = LENIENT_THRESHOLDS if lenient else THRESHOLDS
        min_face_px = max(20, int(scale * longest_px * fraction) // _STEP * _STEP)
        if min(small.shape[:2]) < min_face_px:
            return FaceDetections.empty()
        network = self._network(min_face_px, thresholds)
        with one_thread():
            boxes, scores, points = network.detect(np.ascontiguousarray(small), landmarks=True)
        if boxes is None or len(boxes) == 0:
            return FaceDetections.empty()
        scores = np.asarray(scores, np.float64)
        order = np.argsort(-scores)
        scale_wh = np.array([small.shape[1] - 2 * border_px, small.shape[0] - 2 * border_px])
        to_image = np.array([image_rgb.shape[1], image_rgb.shape[0]]) / scale_wh
        boxes = (np.asarray(boxes, np.float64).reshape(-1, 2, 2) - border_px) * to_image
        points = (np.asarray(points, np.float64).reshape(-1, 5, 2) - border_px) * to_image
        return FaceDetections(boxes.reshape(-1, 4)[order], scores[order], points[order])

    def _network(self, min_face_px: int, thresholds: tuple[float, ...]) -> MTCNN:
        key = (min_face_px, thresholds)
        if key not in self._networks:
            self._networks[key] = MTCNN(
                keep_all=True,
                min_face_size=min_face_px,
                thresholds=list(thresholds),
                device=self._device,
                post_process=False,
            )
        return self._networks[key]
