"""One-shot calibration on a picture that was estimated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo_app.actions.options import PoseOptions
from demo_app.actions.predict_picture import (
    NothingToDoError,
    calibrated_camera,
    predict_picture,
)
from demo_app.services import Services, Visitor
from models.geometry.cameras import CameraError

OPTIONS = PoseOptions().checked()


@pytest.fixture
def with_boxes(world: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The made-up network, given the first face's box as the real one may be."""
    plain = world.predict

    def predict(
        image_rgb: Any, camera: Any = None, boxes_xyxy_px: Any = None, **options: Any
    ) -> Any:
        poses = plain(image_rgb, camera, **options)
        return poses if boxes_xyxy_px is None else poses[: len(boxes_xyxy_px)]

    monkeypatch.setattr(world, "predict", predict)
    return world


def test_the_face_is_then_as_far_as_was_said(
    services: Services, visitor: Visitor, photo: Path, with_boxes: Any
) -> None:
    picture = predict_picture(services, visitor, str(photo), "me.png", OPTIONS)
    camera = calibrated_camera(services, picture, 50.0, OPTIONS)
    pose = with_boxes.predict(picture.loaded.image_rgb, camera, np.zeros((1, 4)))[0]
    assert pose.distance_mm == pytest.approx(500.0, rel=0.006)
    assert "50 cm" in camera.source


def test_nonsense_is_refused(
    services: Services, visitor: Visitor, photo: Path, with_boxes: Any
) -> None:
    picture = predict_picture(services, visitor, str(photo), "me.png", OPTIONS)
    with pytest.raises(CameraError, match="distance"):
        calibrated_camera(services, picture, 1.0, OPTIONS)
    with_boxes.heads.clear()
    empty = predict_picture(services, visitor, str(photo), "empty.png", OPTIONS)
    with pytest.raises(NothingToDoError, match="face"):
        calibrated_camera(services, empty, 60.0, OPTIONS)
