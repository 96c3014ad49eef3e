"""The Pose tab in a real browser: photo in, angles out, a 3D view to turn, files to keep."""

from __future__ import annotations

import csv
import io
import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page

pytestmark = [pytest.mark.ui, pytest.mark.slow, pytest.mark.timeout(180)]

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples"
EYE = """() => {
  const camera = document.querySelector('#pose-3d .js-plotly-plot')._fullLayout.scene._scene.getCamera();
  return [camera.eye.x, camera.eye.y, camera.eye.z];
}"""  # noqa: E501
DRAWN = "() => document.querySelector('#pose-picture img')?.src"


def _upload(page: Page, path: Path) -> None:
    page.set_input_files("#pose-photo input[type=file]", path)


def _wait_for_table(page: Page) -> dict[str, str]:
    """Cells of the first face, by field."""
    page.wait_for_selector("#pose-table table.faces tbody tr")
    cells = page.locator("#pose-table tbody tr").first.locator("[data-field]")
    return {cell.get_attribute("data-field"): cell.inner_text().strip() for cell in cells.all()}


def _download(page: Page, name: str) -> tuple[str, bytes]:
    """Suggested file name and content."""
    with page.expect_download() as waiting:
        page.click(f"#pose-download-{name}")
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def _wait_for_figure(page: Page) -> None:
    page.wait_for_selector("#pose-3d .js-plotly-plot .gl-container canvas", state="attached")
    page.wait_for_function(f"() => {{ try {{ return ({EYE})(); }} catch {{ return false; }} }}")


def test_a_photo_gives_angles_and_files(page: Page) -> None:
    _upload(page, EXAMPLES / "astronaut.jpg")
    shown = _wait_for_table(page)
    status = page.inner_text("#pose-status")
    assert "1 face" in status and "field of view" in status and "trg-mini" in status

    name, data = _download(page, "json")
    rows = json.loads(data)
    assert name == "astronaut_poses.json" and len(rows) == 1
    row = rows[0]
    assert row["source"] == "astronaut.jpg"
    for field in ("yaw", "pitch", "roll"):
        assert float(shown[field]) == pytest.approx(row[f"{field}_deg"], abs=0.051)
    assert [float(shown[axis]) for axis in "xyz"] == pytest.approx(
        row["t_cam_from_head_mm"], abs=0.51
    )
    assert abs(row["yaw_deg"]) < 15 and abs(row["roll_deg"]) < 15, "she looks into the camera"

    name, data = _download(page, "csv")
    assert name.endswith(".csv")
    assert float(next(csv.DictReader(io.StringIO(data.decode())))["yaw_deg"]) == row["yaw_deg"]
    name, data = _download(page, "parquet")
    assert pq.read_table(io.BytesIO(data)).to_pylist() == rows
    name, data = _download(page, "glb")
    assert name == "astronaut_heads.glb" and struct.unpack("<4sI", data[:8]) == (b"glTF", 2)
    name, data = _download(page, "annotated")
    annotated = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    original = cv2.imread(str(EXAMPLES / "astronaut.jpg"))
    assert name == "astronaut_annotated.jpg" and annotated.shape == original.shape
    assert (np.abs(annotated.astype(int) - original).max(2) > 60).mean() > 0.002


def test_the_3d_view_turns_and_stays_turned(page: Page) -> None:
    _upload(page, EXAMPLES / "astronaut.jpg")
    _wait_for_table(page)
    _wait_for_figure(page)
    before = np.array(page.evaluate(EYE))
    plot = page.locator("#pose-3d .js-plotly-plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 120, y + 40, steps=8)
    page.mouse.up()
    turned = np.array(page.evaluate(EYE))
    assert np.linalg.norm(turned - before) > 0.2

    _upload(page, EXAMPLES / "montage.jpg")
    page.wait_for_function("() => document.querySelectorAll('#pose-table tbody tr').length > 1")
    page.wait_for_function(
        "() => document.querySelector('#pose-3d [data-updates]').dataset.updates === '2'"
    )
    assert page.evaluate(EYE) == pytest.approx(turned.tolist(), abs=1e-3)


def test_switches_redraw_without_a_new_estimate(page: Page) -> None:
    _upload(page, EXAMPLES / "astronaut.jpg")
    wlp = _wait_for_table(page)
    page.wait_for_function(DRAWN)
    drawn, status = page.evaluate(DRAWN), page.inner_text("#pose-status")
    page.get_by_label("Landmarks").check()
    page.wait_for_function(f"before => ({DRAWN})() !== before", arg=drawn)
    assert "68 landmarks" in page.inner_text("#pose-legend")

    page.locator("#pose-angles .label-wrap").click()
    page.click("#pose-convention input")
    page.get_by_role("option", name="OpenGL").click()
    page.wait_for_function(
        "() => document.querySelector('#pose-table').innerText.includes('OpenGL')"
    )
    opengl = _wait_for_table(page)
    assert float(opengl["yaw"]) == pytest.approx(-float(wlp["yaw"]), abs=1.5)
    assert opengl["x"] == wlp["x"]

    page.click("#pose-set-zero")
    page.wait_for_selector("#pose-table .zeroed")
    zeroed = _wait_for_table(page)
    assert [abs(float(zeroed[f])) for f in ("yaw", "pitch", "roll", "x", "y", "z")] == [0] * 6
    page.click("#pose-clear-zero")
    page.wait_for_selector("#pose-table .zeroed", state="detached")
    assert page.inner_text("#pose-status") == status, "the network ran again"


def test_bad_files_get_a_sentence(page: Page, tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("This is no picture. " * 20)
    _upload(page, text)
    page.wait_for_selector("#pose-status .notice-error")
    said = page.inner_text("#pose-status")
    assert "notes.jpg" in said and "text" in said and "Traceback" not in said
    assert not page.is_visible("#pose-table")


def test_a_missing_model_says_where_to_get_it(page: Page, repo_root: Path) -> None:
    if (repo_root / "checkpoint").exists():
        pytest.skip("the released checkpoints may be installed here")
    page.click("#pose-model input")
    page.get_by_role("option", name="TRG (ARKitFace)").click()
    page.wait_for_selector("#pose-missing .notice")
    assert "fetch trg" in page.inner_text("#pose-missing")
    assert "not installed" in page.inner_text("#banner")
    _upload(page, EXAMPLES / "astronaut.jpg")
    page.wait_for_selector("#pose-status .notice-error")
    assert "not installed" in page.inner_text("#pose-status")


def test_it_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    _upload(page, EXAMPLES / "astronaut.jpg")
    _wait_for_table(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    tops = [
        page.locator(name).bounding_box()["y"]
        for name in ("#pose-photo", "#pose-picture", "#pose-model")
    ]
    assert tops == sorted(tops), "input, result, switches, in this order"
