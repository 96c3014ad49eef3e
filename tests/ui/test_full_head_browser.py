"""The full head in a real browser: on the photo, in the 3D view, and as files that are read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from playwright.sync_api import Page

pytestmark = [pytest.mark.ui, pytest.mark.slow, pytest.mark.timeout(180)]

ASTRONAUT = Path(__file__).resolve().parents[2] / "assets" / "examples" / "astronaut.jpg"
VERTICES = """() => {
  const plot = document.querySelector('#pose-3d .js-plotly-plot');
  const mesh = plot?._fullData?.find(trace => trace.type === 'mesh3d');
  return mesh ? mesh.x.length : 0;
}"""


def _download(page: Page, kind: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.click(f"#pose-download-head-{kind}")
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_the_head_is_shown_named_and_exported(page: Page, tmp_path: Path) -> None:
    page.set_input_files("#pose-photo input[type=file]", ASTRONAUT)
    page.wait_for_selector("#pose-table table.faces tbody tr")
    assert not page.is_visible("#pose-heads")
    page.get_by_label("Full head").check()
    page.wait_for_selector("#pose-heads-note p.status", state="visible")
    assert "open head" in page.inner_text("#pose-heads-note")
    page.wait_for_function(f"() => ({VERTICES})() === 5297")
    glb = _download(page, "glb", tmp_path)
    data = glb.read_bytes()
    document = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    assert len(document["meshes"][0]["extras"]["targetNames"]) == 52
    neutral = trimesh.load(glb).geometry["head_1"]
    shown = trimesh.load(_download(page, "obj", tmp_path), force="mesh", process=False)
    assert len(neutral.vertices) == len(shown.vertices) == 5297
    assert 0.3 < np.ptp(neutral.vertices[:, 1]) < 0.5, "metres, from shoulders to crown"
    assert 0.3 < -shown.vertices[:, 2].mean() < 3, "before the camera"

    page.get_by_label("No mesh").check()
    page.wait_for_selector("#pose-heads", state="hidden")
    page.wait_for_function(f"() => ({VERTICES})() === 468")
