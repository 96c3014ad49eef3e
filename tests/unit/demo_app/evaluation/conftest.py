"""Fixtures of the protocols' tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.face_detection.base import FaceDetections
from tests.unit.demo_app.evaluation.fakes import spot_px


@pytest.fixture
def detect_spots() -> Callable[[np.ndarray], FaceDetections]:
    """A detector that finds the first spot."""

    def detect(image_rgb: np.ndarray) -> FaceDetections:
        if not image_rgb[..., 0].any():
            return FaceDetections.empty()
        u, v = spot_px(image_rgb, 0)
        boxes = np.array([[u - 50, v - 50, u + 50, v + 50], [0, 0, 20.0, 20]])
        return FaceDetections(boxes, np.array([0.99, 0.5]), np.zeros((2, 5, 2)))

    return detect
