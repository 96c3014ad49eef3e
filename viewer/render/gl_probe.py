"""Which OpenGL works here, found out in child processes: what crashes is not the server.

`python -m viewer.render.gl_probe EGL 0` draws a triangle and says what drew it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.geometry.cameras import camera_from_horizontal_fov
from viewer.render.gl_renderer import GlPlatform, GlRenderer
from viewer.render.surfaces import RendererError, Surface, region_of

REPOSITORY = Path(__file__).resolve().parents[2]

CANDIDATES: tuple[tuple[GlPlatform, int], ...] = (("EGL", 0), ("EGL", 1), ("EGL", 2), ("OSMesa", 0))
"""Platforms and devices in the order in which they are tried: graphics cards come first."""

LIMIT_S = 60.0


@dataclass(frozen=True)
class GlChoice:
    """platform: None where no OpenGL works. said: what it said, or why each does not work."""

    platform: GlPlatform | None
    device: int
    said: str


def find_gl(candidates: Sequence[tuple[GlPlatform, int]] = CANDIDATES) -> GlChoice:
    """The first that draws a triangle where it belongs."""
    reasons = []
    for platform, device in candidates:
        works, said = _try(platform, device)
        if works:
            return GlChoice(platform, device, said)
        reasons.append(said)
    return GlChoice(None, 0, "; ".join(dict.fromkeys(reasons)))


def _try(platform: GlPlatform, device: int) -> tuple[bool, str]:
    """Whether it works, and what it said."""
    command = [sys.executable, "-m", "viewer.render.gl_probe", platform, str(device)]
    try:
        run = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, f"{platform}: {type(error).__name__}"
    last = (run.stdout.strip() or run.stderr.strip()).splitlines()[-1:]
    said = last[0][:200] if last else f"{platform}: the process ended with {run.returncode}"
    return run.returncode == 0, said


def probe(platform: GlPlatform, device: int) -> str:
    """Draw a triangle that covers the right half; returns the graphics' name.

    Raises: RendererError.
    """
    renderer = GlRenderer(platform, device)
    camera = camera_from_horizontal_fov((64, 64), 90.0)
    corners = np.array([[0.0, -4, 1], [0, 4, 1], [4, 0, 1]])
    red = np.full((3, 3), [255, 0, 0], np.uint8)
    surface = Surface(corners, np.array([[0, 2, 1]]), red, True)
    for _ in range(2):
        layer = renderer.draw([surface], camera, region_of([surface], camera))
        column = layer.coverage[32]
        first = 32 - layer.region.x
        if column[first:].min() < 255 or column[:first].max(initial=0) > 0:
            raise RendererError(f"{platform}: the triangle is not where it should be")
    return f"{renderer.name} on {renderer.graphics_name()}"


def main(arguments: Sequence[str]) -> int:
    """A process of `find_gl`: platform and device."""
    platform, device = arguments
    try:
        sys.stdout.write(probe(platform, int(device)) + "\n")
    except RendererError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
