"""The app's services over a made-up world of heads: no network, no detector, no page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from demo_app.config import AppConfig
from demo_app.services import Services, Visitor

Array = np.ndarray


@pytest.fixture
def world(head_world: Any, straight_path: Any) -> Any:
    """Two heads: 1 nearer and turned, 2 farther, drifting to the right. Stands for a network."""
    made = head_world(
        {
            "near": straight_path((-100.0, 0.0, 700.0), yaw_deg=20.0),
            "far": straight_path((150.0, -30.0, 1000.0), (50.0, 0.0, 0.0)),
        },
        noise=0.0,
    )
    made.detector = SimpleNamespace(detect=lambda image_rgb, **_: made.detect(image_rgb))
    made.model = SimpleNamespace(
        label="made-up (test)", mesh=SimpleNamespace(template_vertices_m=made.mesh)
    )
    return made


@pytest.fixture
def services(world: Any, tmp_path: Path) -> Services:
    """Every model name loads the made-up world."""
    config = AppConfig(cache_dir=tmp_path / "cache", max_live_connections=2, device="cpu")
    return Services(config, load_estimator=lambda name, device: world)


@pytest.fixture
def visitor(services: Services) -> Visitor:
    return services.visitors.get("a page")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """640 x 480, grey stripes."""
    path = tmp_path / "stripes.png"
    picture = np.repeat(np.linspace(40, 200, 640).astype(np.uint8)[None], 480, 0)
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
    return path


@pytest.fixture
def jpeg_of() -> Callable[[Array], bytes]:
    def encode(image: Array) -> bytes:
        return cv2.imencode(".jpg", image)[1].tobytes()

    return encode
