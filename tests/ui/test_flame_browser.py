"""The FLAME tab in a real browser: sliders move the mesh, undo takes it back, a GLB is as shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from playwright.sync_api import Page

from models.flame.assets import FLAME_JOINTS, FlameAssets, open_head_assets, write_flame_npz

pytestmark = [pytest.mark.ui, pytest.mark.slow, pytest.mark.timeout(180)]

STAGE = "#flame-stage"
SLIDE = """([name, value]) => {
  const input = document.querySelector(`input[data-slider="${name}"]`);
  input.value = value;
  input.dispatchEvent(new Event('input', { bubbles: true }));
  input.dispatchEvent(new Event('change', { bubbles: true }));
}"""
MOVES = "document.querySelector('#flame-stage [data-moves], #flame-stage[data-moves]').dataset"
JAW_OPEN = "expression-24"
VERTICES = 5297
ASSETS = Path(__file__).resolve().parents[2] / "assets"
MICA, ASTRONAUT = ASSETS / "samples" / "mica" / "OPENHEAD_A", ASSETS / "examples" / "astronaut.jpg"


def _open(page: Page) -> None:
    page.get_by_role("tab", name="FLAME").click()
    page.wait_for_function("() => document.querySelector('[data-moves]')")


def _vertices(page: Page) -> np.ndarray:
    return np.array(page.evaluate("window.trgFlame.vertices()")).reshape(-1, 3)


def _after(page: Page, act: object, *given: object) -> np.ndarray:
    """The vertices once what was done is drawn."""
    before = page.evaluate(f"{MOVES}.moves")
    act(*given)
    page.wait_for_function(f"before => {MOVES}.moves !== before", arg=before)
    return _vertices(page)


def _slide(page: Page, name: str, value: float) -> np.ndarray:
    return _after(page, page.evaluate, SLIDE, [name, value])


def _download(page: Page, kind: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.click(f"#flame-file-{kind}")
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def _document(glb: Path) -> dict:
    data = glb.read_bytes()
    return json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])


def test_sliders_undo_and_the_exported_glb(page: Page, tmp_path: Path) -> None:
    _open(page)
    assert page.inner_text(".flame-name") == "The open head"
    mean = _vertices(page)
    assert mean.shape == (VERTICES, 3)
    opened = _slide(page, JAW_OPEN, 0.8)
    moved_m = np.linalg.norm(opened - mean, axis=1)
    assert 0.005 < moved_m.max() < 0.05 and np.median(moved_m) < 0.002, "the mouth opens"
    shaped = _slide(page, "shape-0", 2)
    turned = _slide(page, "pose_rad-1", 30)
    assert turned[:, 0].max() != pytest.approx(shaped[:, 0].max(), abs=1e-4)
    for k in range(8):
        _slide(page, JAW_OPEN, 0.1 * k)
    assert page.inner_text(".flame-latency").endswith("ms a move")
    for _ in range(8):
        _after(page, page.click, "[data-do=undo]")
    assert np.allclose(_vertices(page), turned, atol=1e-6)
    assert np.allclose(_after(page, page.click, "[data-do=undo]"), shaped, atol=1e-6)
    shown = _after(page, page.click, "[data-do=redo]")
    assert np.allclose(shown, turned, atol=1e-6)

    glb = _download(page, "glb", tmp_path)
    names = _document(glb)["meshes"][0]["extras"]["targetNames"]
    assert len(names) == 52 and names[24] == "jawOpen"
    weights = _document(glb)["meshes"][0]["weights"]
    assert weights[24] == pytest.approx(0.8) and np.count_nonzero(weights) == 1
    scene = trimesh.load(glb)
    matrix, name = scene.graph["head"]
    neutral = scene.geometry[name]
    assert len(neutral.vertices) == VERTICES
    offsets = _targets(glb)
    in_place = (neutral.vertices + np.tensordot(weights, offsets, 1)) @ matrix[:3, :3].T
    assert np.abs(in_place + matrix[:3, 3] - shown).max() < 2e-5, "metres, where they were shown"

    reset = _after(page, page.click, "[data-do=reset]")
    assert np.allclose(reset, mean, atol=1e-6)


def _targets(glb: Path) -> np.ndarray:
    """Offsets of the morph targets, read from the file's own tables."""
    data, document = glb.read_bytes(), _document(glb)
    start = 20 + int.from_bytes(data[12:16], "little") + 8
    offsets = []
    for target in document["meshes"][0]["primitives"][0]["targets"]:
        accessor = document["accessors"][target["POSITION"]]
        first = start + document["bufferViews"][accessor["bufferView"]]["byteOffset"]
        numbers = np.frombuffer(data, "<f4", 3 * accessor["count"], first)
        offsets.append(numbers.reshape(-1, 3))
    return np.stack(offsets).astype(np.float64)


def test_a_registration_is_fitted_compared_and_bad_files_say_why(
    page: Page, tmp_path: Path
) -> None:
    _open(page)
    shaped = _slide(page, "shape-1", -1.5)
    ply = _download(page, "ply", tmp_path)
    _after(page, page.click, "[data-do=reset]")
    fitted = _after(page, page.set_input_files, "#flame-files input[type=file]", ply)
    assert np.abs(fitted - shaped).max() < 1e-4, "the fit finds the exported head again"
    page.wait_for_selector("#flame-other >> text=Registration")
    _slide(page, "shape-1", 0)
    page.click("#flame-compare")
    page.wait_for_selector("[data-compared=true]")
    mean_mm = float(page.inner_text("#flame-compare-note [data-field=mean] b"))
    largest_mm = float(page.inner_text("#flame-compare-note [data-field=max] b"))
    assert 0.1 < mean_mm < largest_mm < 30

    bad = tmp_path / "broken.npz"
    bad.write_bytes(b"PK\x03\x04 nothing")
    page.click("#flame-files button[aria-label=Clear], #flame-files button[aria-label=Remove]")
    page.set_input_files("#flame-files input[type=file]", bad)
    page.wait_for_selector("#flame-note .notice")
    assert "broken.npz is no .npz file" in page.inner_text("#flame-note")


COUNT = """() => {
  const fetched = window.fetch;
  window.asked = 0;
  window.fetch = (...given) => { window.asked += String(given[0]).includes('/mesh'); return fetched(...given); };
}"""  # noqa: E501
DRAG = """([name, values]) => {
  const input = document.querySelector(`input[data-slider="${name}"]`);
  for (const value of values) { input.value = value; input.dispatchEvent(new Event('input', { bubbles: true })); }
}"""  # noqa: E501
RELEASE = """name => document.querySelector(`input[data-slider="${name}"]`)
  .dispatchEvent(new Event('change', { bubbles: true }))"""
CAMERA = "JSON.stringify(window.trgFlame.camera())"


def test_a_drag_asks_the_server_once_and_keeps_the_view(page: Page) -> None:
    _open(page)
    page.focus(".flame-canvas")
    for key in ("ArrowRight", "ArrowUp", "+"):
        page.keyboard.press(key)
    turned = page.evaluate(CAMERA)
    _slide(page, "pose_rad-4", 20)
    assert page.evaluate(CAMERA) == turned, "the view stays while sliders move"
    first = _after(page, page.evaluate, DRAG, [JAW_OPEN, [0.3]])
    moves = int(page.evaluate(f"{MOVES}.moves"))
    page.evaluate(COUNT)
    page.evaluate(DRAG, [JAW_OPEN, [0.4, 0.5, 0.9]])
    page.wait_for_function(f"before => Number({MOVES}.moves) >= before + 1", arg=moves)
    assert page.evaluate("window.asked") == 0, "what lies on a straight line is not asked for"
    dragged = _vertices(page)
    assert np.abs(dragged - first).max() > 0.005
    page.evaluate(RELEASE, JAW_OPEN)
    page.wait_for_function("() => window.asked === 1")
    page.wait_for_timeout(300)
    exact = _vertices(page)
    assert not np.array_equal(exact, dragged) and np.abs(exact - dragged).max() < 1e-6
    assert page.evaluate(CAMERA) == turned


def test_mica_files_say_their_values_and_for_which_flame_they_are(
    page: Page, tmp_path: Path
) -> None:
    write_flame_npz(tmp_path / "flame2023_no_jaw.npz", _as_flame("FLAME 2023 no jaw"))
    npz = tmp_path / "subject.npz"
    pose = np.linspace(-0.1, 0.1, 15)
    np.savez(npz, pose=pose, betas=np.r_[[1.5, -0.25], np.zeros(398)])
    _open(page)
    _after(page, page.set_input_files, "#flame-files input[type=file]", npz)
    note = page.inner_text("#flame-note .notice")
    assert "The parameters are of FLAME 2020, the model is the open head" in note
    snippet = page.inner_text("#flame-snippet")
    assert "np.load('subject.npz', allow_pickle=True)" in snippet and "torch.cat(" in snippet
    assert "1.5, -0.25, 0, 0" in snippet and "-0.1, -0.0857143" in snippet
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#flame-snippet >> text=Copy values")
    copied: dict[str, list[float]] = {}
    exec(page.evaluate("navigator.clipboard.readText()"), copied)
    assert copied["shape_params"][:2] == [1.5, -0.25] and len(copied["expression_params"]) == 100
    assert np.allclose(copied["pose_params"], np.r_[pose[:3], pose[6:9]], atol=1e-6)

    _give(page, tmp_path / "flame2023_no_jaw.npz")
    page.wait_for_function("() => document.querySelector('.flame-name').innerText.includes('2023')")
    _give(page, npz)
    page.wait_for_selector("#flame-note .notice >> text=FLAME 2023 no jaw")
    note = page.inner_text("#flame-note .notice")
    assert "of FLAME 2020" in note and "turn the jaw by" in note


def _give(page: Page, path: Path) -> None:
    page.click("#flame-files button[aria-label=Clear], #flame-files button[aria-label=Remove]")
    page.set_input_files("#flame-files input[type=file]", path)


def _as_flame(name: str) -> FlameAssets:
    """The open head as a FLAME file may have it."""
    return replace(
        open_head_assets(), name=name, is_open_head=False, joint_names=FLAME_JOINTS,
        expression_names=(), masks={}, landmarks=None,
    )  # fmt: skip


def test_a_folder_of_mica_and_a_photo_are_opened_and_the_glb_is_seen(page: Page) -> None:
    _open(page)
    mean = _vertices(page)
    page.fill("#local-path-flame textarea, #local-path-flame input", str(MICA))
    first = _after(page, page.click, "#flame-open")
    page.wait_for_selector("#flame-snippet >> text=A001_neutral.npz")
    assert page.locator("#flame-note .notice").count() == 0, "the samples are of the open head"
    page.click("#flame-fit input")
    second = _after(page, page.click, "role=option >> nth=1")
    assert np.abs(first - mean).max() > 1e-3 and np.abs(first - second).max() > 1e-3
    page.wait_for_selector("#flame-other >> text=Registration")

    page.set_input_files("#flame-files input[type=file]", ASTRONAUT)
    page.wait_for_selector("#flame-note >> text=astronaut.jpg")
    assert "fitted to the landmarks" in page.inner_text("#flame-note")
    page.click("#flame-see-glb")
    page.wait_for_selector("#flame-glb canvas", state="visible")


def test_an_animation_plays_and_paths_are_closed_on_public_pages(
    page: Page, public_page: Page
) -> None:
    _open(page)
    assert "stands in for FLAME" in page.inner_text("#flame-note")
    _slide(page, JAW_OPEN, 1)
    page.click("#flame-animate")
    page.wait_for_selector(".flame-player:not([hidden])")
    page.wait_for_function("() => Number(document.querySelector('.flame-player input').value) > 3")
    public_page.get_by_role("tab", name="FLAME").click()
    public_page.wait_for_selector("#flame-model")
    assert public_page.locator("#flame-open").count() == 0
    assert public_page.locator("#local-path-flame").count() == 0
