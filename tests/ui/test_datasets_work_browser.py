"""The Datasets tab at work in a real browser: play, model, export, flags, findings, public page."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import numpy as np
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, expect

from demo_app.inference.images import read_image

pytestmark = [pytest.mark.ui, pytest.mark.slow, pytest.mark.timeout(300)]

SAMPLES = Path(__file__).resolve().parents[2] / "assets" / "samples"
SEQUENCE = [f"91/frame_{number:05d}" for number in (*range(3, 11), *range(15, 22))]
MORE_SEQUENCES = range(93, 108)
BAD_KEY = "91/frame_00010"
TITLE = "() => document.querySelector('.ds-stage-title').textContent"


def _visit(page: Page, data: str, wait: str = "#ds-grid .ds-cell", **address: str) -> None:
    query = urlencode({"tab": "datasets", "data": data, **address})
    page.goto(page.url.split("?")[0] + "?" + query)
    page.wait_for_selector(wait, timeout=180_000)


def _look(page: Page, view: str) -> None:
    page.click(f"#ds-tab-{view}-button")


def _press_at_once(page: Page, button: str) -> None:
    """As soon as it is there: Playwright's own click waits until nothing moves, while work ends."""
    page.wait_for_selector(button, state="visible")
    page.evaluate("button => document.querySelector(button).click()", button)


def _download(page: Page, button: str, path: Path) -> bytes:
    page.wait_for_selector(button, state="visible")
    with page.expect_download() as caught:
        page.click(button)
    caught.value.save_as(path / caught.value.suggested_filename)
    return (path / caught.value.suggested_filename).read_bytes()


@pytest.fixture(scope="module")
def biwi_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of its own in BIWI's layout: more than one task of the index, one bad label."""
    root = tmp_path_factory.mktemp("biwi") / "hpdb"
    shutil.copytree(SAMPLES / "biwi" / "hpdb", root)
    for number in MORE_SEQUENCES:
        shutil.copytree(root / "91", root / str(number))
        shutil.copy(root / "91.obj", root / f"{number}.obj")
    label = root / f"{BAD_KEY}_pose.txt"
    label.write_text("\n".join(["1.5 0 0", *label.read_text().splitlines()[1:]]))
    return root


def test_play_shows_the_sequence_and_stays_where_it_is_stopped(page: Page) -> None:
    _visit(page, "biwi", f'.ds-stage[data-key="{SEQUENCE[2]}"]', key=SEQUENCE[2], look="sample")
    seen = [page.evaluate(TITLE)]
    page.click("[data-do=play]")
    for _ in range(3):
        page.wait_for_function(f"before => ({TITLE})() !== before", arg=seen[-1])
        seen.append(page.evaluate(TITLE))
    page.click("[data-do=play]")
    page.wait_for_selector("[data-do=play][aria-pressed=false]")
    numbers = [SEQUENCE.index(key) for key in seen]
    assert numbers == sorted(numbers) and numbers[-1] > numbers[0] == 2
    page.wait_for_function(f"() => location.search.includes('key=') && ({TITLE})() !== '{seen[0]}'")
    stopped = page.evaluate(TITLE)
    page.wait_for_selector(f'.ds-stage[data-key="{stopped}"]')
    page.wait_for_function("key => location.search.includes(key)", arg=stopped)


def test_what_is_copied_is_what_the_table_says(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    _visit(page, "biwi", "#ds-conventions .ds-copy", key=SEQUENCE[0], look="sample")
    page.click("#ds-conventions details summary")
    row = page.locator("table.ds-conventions tbody tr").nth(4)
    row.locator(".ds-copy").click()
    expect(row.locator(".ds-copy")).to_have_text("Copied")
    name, yaw, pitch, roll, t, _ = row.locator("th, td").all_inner_texts()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied == f"{name}: yaw {yaw}, pitch {pitch}, roll {roll}, t {t}"
    matrix = page.locator("#ds-conventions .ds-copy[aria-label='Copy the matrix']")
    matrix.click()
    expect(matrix).to_have_text("Copied")
    R = np.array(json.loads(page.evaluate("() => navigator.clipboard.readText()")))
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-5)


def test_a_model_on_the_filtered_samples_with_cancel_and_its_worst_sample(page: Page) -> None:
    _visit(page, "synthetic", split="train")
    _look(page, "model")
    page.wait_for_function(
        "() => document.querySelector('#ds-model-what').textContent.includes('32 samples')"
    )
    page.click("#ds-model-run")
    _press_at_once(page, "#ds-model-cancel")
    page.wait_for_selector("#ds-model-run", state="visible")
    said = page.locator("#ds-model-progress")
    assert "of 32 samples" in said.inner_text()
    page.click("#ds-model-run")
    page.wait_for_selector("#ds-model-cancel", state="visible")
    page.wait_for_selector("#ds-model-run", state="visible")
    assert "trg-mini has looked at" in said.inner_text()
    page.wait_for_selector("#ds-bins[data-ready=true], #ds-bins [data-ready=true]")
    rows = page.locator("#ds-model-report tbody tr").all_inner_texts()
    assert [row.split("\t")[0] for row in rows] == ["Rotation", "Position"]
    assert all(int(row.split("\t")[-1]) > 25 for row in rows)

    cells = page.locator("#ds-worst .ds-cell small").all_inner_texts()
    errors = [float(cell.split("°")[0]) for cell in cells]
    assert len(errors) == 12 and errors == sorted(errors, reverse=True)
    page.locator("#ds-worst .ds-cell").first.click()
    page.wait_for_selector(".ds-stage[data-state=loaded]")
    page.wait_for_selector("#ds-errors .status")
    said = re.search(r"rotation ([\d.]+)°.*position [\d.]+ mm", page.inner_text("#ds-errors"))
    assert abs(float(said[1]) - errors[0]) < 0.06
    assert "model=trg-mini" in page.get_attribute(".ds-stage-picture", "src")
    assert "trg-mini" in page.inner_text("#ds-legend")

    limit = f"{errors[2] - 0.06:.2f}"
    _visit(page, "synthetic", model="trg-mini", geodesic_deg=f"{limit}..", split="train")
    assert page.locator("#ds-grid .ds-cell").count() in (3, 4), "the address knows the model"


def test_exports_are_read_again(page: Page, tmp_path: Path) -> None:
    _visit(page, "biwi", sequence="92")
    wanted = page.evaluate(
        "() => [...document.querySelectorAll('#ds-grid .ds-cell')].map((one) => one.dataset.key)"
    )
    _look(page, "export")
    files = {}
    for name in ("list", "csv", "parquet", "overlays"):
        page.check(f"#ds-export-format input[value={name}]")
        page.click("#ds-export-start")
        button = "#ds-export-file"
        page.wait_for_function(
            "ending => document.querySelector('#ds-export-file')?.textContent.includes(ending)",
            arg={"list": ".txt", "overlays": ".zip"}.get(name, f".{name}"),
        )
        files[name] = _download(page, button, tmp_path)
    assert files["list"].decode().split() == [f"{key}_rgb.png" for key in wanted]
    rows = list(csv.DictReader(io.StringIO(files["csv"].decode())))
    table = pq.read_table(io.BytesIO(files["parquet"]))
    assert [row["key"] for row in rows] == table["key"].to_pylist() == wanted
    np.testing.assert_allclose([float(r["yaw_deg"]) for r in rows], table["yaw_deg"].to_numpy())
    with zipfile.ZipFile(io.BytesIO(files["overlays"])) as archive:
        assert len(archive.namelist()) == len(wanted)
        archive.extract(archive.namelist()[0], tmp_path)
        assert read_image(tmp_path / archive.namelist()[0]).image_rgb.shape == (480, 640, 3)
    assert str(SAMPLES) not in files["csv"].decode(), "no path of this machine"


def test_flags_go_out_and_come_in_as_csv(page: Page, tmp_path: Path) -> None:
    key, cell = "image00004", '#ds-grid .ds-cell[data-key="image00004"]'
    _visit(page, "aflw2000", cell)
    page.focus(cell)
    page.keyboard.press("f")
    page.wait_for_timeout(800)
    page.reload()
    page.wait_for_selector(f"{cell}.is-flagged")
    _look(page, "export")
    page.click("#ds-flags-make")
    rows = list(csv.DictReader(io.StringIO(_download(page, "#ds-flags-file", tmp_path).decode())))
    assert [(row["key"], row["flagged"]) for row in rows] == [(key, "1")]
    newer = tmp_path / "newer.csv"
    row = rows[0] | {"flagged": "0", "tags": '["blur"]', "note": "a note"}
    row["changed_s"] = str(float(row["changed_s"]) + 60)
    with newer.open("w", newline="") as file:
        writer = csv.DictWriter(file, row.keys())
        writer.writeheader()
        writer.writerow(row)
    with page.expect_file_chooser() as chooser:
        page.click("#ds-flags-import")
    chooser.value.set_files(newer)
    page.wait_for_selector("#ds-flags-said .notice")
    assert "1 flags taken" in page.inner_text("#ds-flags-said")
    _look(page, "browse")
    page.wait_for_selector(f"{cell}:not(.is-flagged)")
    page.click(cell)
    page.wait_for_function(
        "() => document.querySelector('#ds-tags textarea, #ds-tags input')?.value === 'blur'"
    )


def test_a_folder_of_ones_own_is_indexed_and_a_finding_leads_to_its_sample(
    page: Page, biwi_root: Path
) -> None:
    _visit(page, "biwi")
    page.fill("#local-path-dataset textarea, #local-path-dataset input", str(biwi_root))
    page.click("#ds-open")
    page.wait_for_selector("#ds-empty .empty-title")
    page.click("#ds-index")
    _press_at_once(page, "#ds-cancel")
    page.wait_for_selector("#ds-index", state="visible", timeout=120_000)
    assert "Stopped" in page.inner_text("#ds-progress")
    assert page.locator("#ds-empty .empty-title").is_visible(), "no half index"
    page.click("#ds-index")
    page.wait_for_selector("#ds-grid .ds-cell", timeout=120_000)
    assert "of 255" in page.inner_text("#ds-grid .ds-sentence")

    _look(page, "checks")
    button = "#ds-checks [data-check=rotation]"
    page.click(button)
    page.wait_for_function("() => document.querySelectorAll('#ds-grid .ds-cell').length === 1")
    page.click(f'#ds-grid .ds-cell[data-key="{BAD_KEY}"]')
    page.wait_for_selector(f'.ds-stage[data-key="{BAD_KEY}"]')
    page.wait_for_selector("#ds-findings li")

    page.goto(page.url.split("?")[0])
    page.goto(page.url + "?tab=datasets&data=biwi")
    page.wait_for_selector("#ds-grid .ds-cell")
    typed = page.input_value("#local-path-dataset textarea, #local-path-dataset input")
    assert typed == str(biwi_root), "the folder is remembered and shown"


def test_a_registration_is_compared_with_the_mesh_of_its_parameters(page: Page) -> None:
    _visit(page, "mica")
    page.locator("#ds-grid .ds-cell").first.click()
    page.wait_for_selector("#ds-3d .js-plotly-plot .gl-container canvas", state="attached")
    traces = page.evaluate(
        "() => document.querySelector('#ds-3d .js-plotly-plot')._fullData"
        ".filter((one) => one.type === 'mesh3d')"
        ".map((one) => ({ name: one.name, heat: [...(one.intensity || [])] }))"
    )
    plain, heated = traces
    assert not plain["heat"] and "distance" in heated["name"]
    assert 0 < np.max(heated["heat"]) < 20, "millimetres"
    assert page.locator("#ds-compare-panel").count() == 0, "no picture for a model to look at"


@pytest.fixture
def shelf_of_others(public_page: Page) -> Iterator[Page]:
    _visit(public_page, "biwi")
    yield public_page


def test_a_page_that_others_reach_shows_bundled_samples_and_writes_nothing(
    shelf_of_others: Page, biwi_root: Path
) -> None:
    page = shelf_of_others
    assert page.locator("#local-path-dataset").count() == 0
    for hidden in ("#ds-index", "#ds-cancel", "[name=flagged]"):
        assert not page.locator(hidden).is_visible()
    key = page.locator("#ds-grid .ds-cell").first.get_attribute("data-key")
    page.focus("#ds-grid .ds-cell")
    page.keyboard.press("f")
    assert page.locator("#ds-grid .is-flagged").count() == 0
    page.click("#ds-grid .ds-cell")
    page.wait_for_selector(f'.ds-stage[data-key="{key}"][data-state=loaded]')
    assert not page.locator("[data-do=flag]").is_visible()
    assert page.locator("#ds-remarks").count() == 0
    assert str(SAMPLES.parent) not in page.content(), "no path of this machine"


def test_files_of_a_data_set_cannot_be_asked_for(page: Page, biwi_root: Path) -> None:
    _visit(page, "biwi")
    base = page.url.split("?")[0]
    files = (biwi_root / "91.obj", SAMPLES / "biwi" / "hpdb" / "91" / "frame_00003_rgb.jpg")
    for path in files:
        assert path.is_file()
        for asked in (f"gradio_api/file={path}", f"file={path}", quote(str(path).lstrip("/"))):
            answer = page.request.get(base + asked)
            assert answer.status >= 400 or "text/html" in answer.headers["content-type"], asked
