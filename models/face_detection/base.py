"""What every face detector gives back, and the protocol that it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

Array = np.ndarray


@dataclass(frozen=True)
class FaceDetections:
    """Faces of one picture, best first. Nothing found is `FaceDetections.empty()`, never None.

    boxes_xyxy_px: (n, 4), may reach outside the picture.
    scores: (n,), 0 to 1, the detector's own.
    landmarks5_px: (n, 5, 2): eye at image left, eye at image right, nose, mouth corners left and
    right.
    """

    boxes_xyxy_px: Float[Array, "n 4"]
    scores: Float[Array, "n"]
    landmarks5_px: Float[Array, "n 5 2"]

    def __post_init__(self) -> None:
        n = len(self.scores)
        shapes = (self.boxes_xyxy_px.shape, self.scores.shape, self.landmarks5_px.shape)
        if shapes != ((n, 4), (n,), (n, 5, 2)):
            raise ValueError(f"FaceDetections wants (n,4), (n,), (n,5,2); got {shapes}.")

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls) -> FaceDetections:
        return cls(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2)))


@runtime_checkable
class FaceDetector(Protocol):
    """Finds faces in one RGB picture."""

    def detect(self, image_rgb: UInt8[Array, "height width 3"]) -> FaceDetections: ...
