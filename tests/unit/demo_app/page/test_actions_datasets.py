"""Opening a data set, its index, pages, thumbnails, filters, flags and exports."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demo_app.actions import dataset_open, dataset_picture
from demo_app.actions.dataset_charts import build_charts
from demo_app.actions.dataset_exports import export_formats, export_samples
from demo_app.actions.dataset_filters import (
    Address,
    FilterForm,
    active_filters_html,
    filter_choices,
    with_click,
)
from demo_app.actions.dataset_flags import (
    export_flags,
    import_flags,
    set_note,
    set_tags,
    toggle_flag,
)
from demo_app.actions.dataset_open import index_state, list_datasets, open_dataset, start_index
from demo_app.actions.dataset_page import card_of, read_page
from demo_app.actions.dataset_picture import picture_jpeg, thumbnail_address, thumbnail_jpeg
from demo_app.actions.dataset_route import build_dataset_routes
from demo_app.actions.dataset_shelf import DatasetActionError, SharedJob, shelf_of
from demo_app.actions.dataset_summary import summary_html
from demo_app.services import Services, Visitor
from tests.unit.demo_app.page.made_dataset import BROKEN_KEY, FRAMES, YAWS_DEG, MadeDataset
from viewer.index.filters import FilterError, Filters, Sort

FIRST = "01/frame_00000"


@pytest.fixture
def opened(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """data_id of the made data set with its index built in this process."""
    services.config = replace(services.config, data_dir=tmp_path / "data")
    made = MadeDataset(tmp_path / "hpdb")
    made.write()
    monkeypatch.setattr(dataset_open, "open_registered", lambda name, root: MadeDataset(root))
    monkeypatch.setattr(dataset_open, "INDEX_WORKERS", 0)
    data_id = open_dataset(services, "biwi", str(made.root)).data_id
    start_index(services, data_id)
    assert shelf_of(services).jobs[data_id, "index"].wait(60)
    assert index_state(services, data_id)[0], index_state(services, data_id)[1]
    yield data_id


def test_a_root_is_remembered_and_its_index_lies_elsewhere(
    services: Services, opened: str, tmp_path: Path
) -> None:
    before = sorted(str(p) for p in (tmp_path / "hpdb").rglob("*"))
    again = open_dataset(services, "biwi")
    assert again.data_id == opened and str(tmp_path) not in opened
    choice = next(one for one in list_datasets(services) if one.name == "biwi")
    assert (choice.state, choice.root) == ("found", str(tmp_path / "hpdb"))
    thumbnail_jpeg(services, opened, FIRST, ("box",))
    assert sorted(str(p) for p in (tmp_path / "hpdb").rglob("*")) == before
    summary = summary_html(services, opened)
    assert "02/rgb.cal" in summary and "Non-commercial" in summary and "made up" in summary


def test_only_bundled_sets_on_a_page_that_others_reach(services: Services, opened: str) -> None:
    for config in (
        replace(services.config, on_space=True),
        replace(services.config, server_name="0.0.0.0"),
        replace(services.config, public_link=True),
    ):
        public = Services(config)
        root = str(shelf_of(services).get(opened).dataset.root)
        with pytest.raises(DatasetActionError, match="bundled"):
            open_dataset(public, "biwi", root)
        assert all(not one.root and one.state != "found" for one in list_datasets(public))
        bundled = open_dataset(public, "synthetic")
        assert bundled.is_bundled
        shelf_of(public).jobs[bundled.data_id, "index"].cancel()
        with pytest.raises(DatasetActionError, match="one person"):
            toggle_flag(public, bundled.data_id, "x")


def test_unknown_names_folders_and_data_sets(services: Services, opened: str) -> None:
    for name, root, said in (("coco", "", "no data set"), ("biwi", "/no/such", "no folder")):
        with pytest.raises(DatasetActionError, match=said):
            open_dataset(services, name, root)
    with pytest.raises(DatasetActionError, match="not open"):
        read_page(services, "biwi-000000000000", Filters(), Sort(), 0)


def test_pages_filters_and_sorting(services: Services, opened: str) -> None:
    filters = Filters(ranges={"yaw_deg": (-12.0, 20.0)})
    first = read_page(services, opened, filters, Sort("yaw_deg", True), 0, page_size=2)
    expected = [i for i in range(FRAMES)[::-1] if -12 <= YAWS_DEG[i] <= 20]
    assert [card.key for card in first.cards] == [f"01/frame_{i:05d}" for i in expected[:2]]
    assert first.sentence == f"1 to 2 of {len(expected)} ({FRAMES + 1} in all)"
    last = read_page(services, opened, filters, Sort("yaw_deg", True), 99, page_size=2)
    assert last.page == last.pages - 1 and last.cards[-1].key == f"01/frame_{expected[-1]:05d}"
    assert "Yaw -12 to 20°" in active_filters_html(services, opened, filters)
    choices = filter_choices(services, opened)
    yaw = next(one for one in choices.ranges if one.column == "yaw_deg")
    assert (yaw.low, yaw.high) == pytest.approx((-35.0, 35.0), abs=1e-4)
    assert choices.sequences == (("01 (8)", "01"),)


def test_an_address_comes_back_as_it_was(services: Services) -> None:
    address = Address(
        "biwi",
        Filters(ranges={"yaw_deg": (None, 20.0)}, values={"sequence": ("01",)}, text="a&b=c"),
        Sort("distance_mm", True),
        page=3,
        key="01/frame_00003",
        model="trg-mini",
    )
    text = address.to_query_string()
    assert Address.from_query_string("?" + text) == address
    assert Address.from_query_string("data=biwi") == Address("biwi")
    assert FilterForm.of(address.filters).filters() == address.filters
    for bad in ("", "data=nothing", "data=biwi&page=-1", "data=biwi&yaw_deg=1", "data=biwi&sort=x"):
        with pytest.raises(FilterError):
            Address.from_query_string(bad)


def test_a_click_on_a_bin_filters_and_a_second_one_takes_it_back(
    services: Services, opened: str
) -> None:
    charts = build_charts(services, opened, Filters())
    figure = json.loads(charts.yaw)
    columns = figure["layout"]["meta"]["columns"]
    (bars,) = figure["data"]
    for bounds in (bars["customdata"][0], bars["customdata"][-1]):
        filters = with_click(Filters(), columns, bounds)
        assert read_page(services, opened, filters, Sort(), 0).total == 1
        assert with_click(filters, columns, bounds) == Filters()
    density = json.loads(charts.density)
    cells = [cell for row in density["data"][0]["customdata"] for cell in row]
    for cell in cells:
        if cell[4]:
            filters = with_click(Filters(), density["layout"]["meta"]["columns"], cell)
            assert read_page(services, opened, filters, Sort(), 0).total >= cell[4]
    assert sum(cell[4] for cell in cells) == FRAMES
    narrowed = build_charts(services, opened, Filters(ranges={"yaw_deg": (0.0, None)}))
    assert len(json.loads(narrowed.yaw)["data"]) == 2
    with pytest.raises(FilterError):
        with_click(Filters(), ["key"], [0, 1])


def test_thumbnails_are_drawn_once_and_again_when_the_picture_changes(
    services: Services, opened: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = thumbnail_jpeg(services, opened, FIRST, ("box", "axes"))
    assert cv2.imdecode(np.frombuffer(first, np.uint8), 1).shape == (224, 224, 3)
    plain = thumbnail_jpeg(services, opened, FIRST, ())
    assert plain != first
    drawing = dataset_picture._draw_thumbnail
    monkeypatch.setattr(dataset_picture, "_draw_thumbnail", lambda *_: pytest.fail("drawn again"))
    assert thumbnail_jpeg(services, opened, FIRST, ("axes", "box")) == first
    monkeypatch.setattr(dataset_picture, "_draw_thumbnail", drawing)
    root = shelf_of(services).get(opened).dataset.root
    cv2.imwrite(str(root / f"{FIRST}_rgb.png"), np.full((480, 640), 250, np.uint8))
    assert thumbnail_jpeg(services, opened, FIRST, ("box", "axes")) != first
    broken = thumbnail_jpeg(services, opened, BROKEN_KEY, ("box",))
    assert cv2.imdecode(np.frombuffer(broken, np.uint8), 1).shape == (224, 224, 3)
    assert dataset_picture.prune_thumbnails(services, shelf_of(services).get(opened), keep=1) == 2


def test_the_server_gives_out_pictures_of_the_index_alone(services: Services, opened: str) -> None:
    client = TestClient(Starlette(routes=build_dataset_routes(services)))
    answer = client.get("/" + thumbnail_address(opened, FIRST))
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/jpeg"
    assert answer.content == thumbnail_jpeg(services, opened, FIRST, ("box", "axes"))
    root = str(shelf_of(services).get(opened).dataset.root)
    asked = [
        ("biwi-ffffffffffff", FIRST, "box"),
        (opened, "../../etc/passwd", "box"),
        (opened, "01/frame_00000_rgb.png", "box"),
        (opened, FIRST, "secret"),
        ("", "", ""),
    ]
    for data, key, layers in asked:
        for path in (dataset_picture.THUMBNAIL_PATH, dataset_picture.PICTURE_PATH):
            answer = client.get(path, params={"data": data, "key": key, "layers": layers})
            assert answer.status_code == 404 and root not in answer.text
    odd = client.get(
        dataset_picture.PICTURE_PATH,
        params={"data": opened, "key": FIRST, "layers": "", "model": "../x"},
    )
    assert odd.status_code == 404
    damaged = picture_jpeg(services, opened, BROKEN_KEY, ("box",))
    assert root.encode() not in damaged


def test_flags_tags_and_notes_are_kept(services: Services, visitor: Visitor, opened: str) -> None:
    assert toggle_flag(services, opened, FIRST) is True
    assert set_tags(services, opened, FIRST, " hair, hair ,blur") == "hair, blur"
    assert set_note(services, opened, FIRST, " odd ") == "odd"
    page = read_page(services, opened, Filters(flagged=True), Sort(), 0)
    assert [(c.key, c.is_flagged, c.tags) for c in page.cards] == [(FIRST, True, ("hair", "blur"))]
    path = export_flags(services, visitor, opened)
    assert toggle_flag(services, opened, FIRST) is False
    assert import_flags(services, opened, str(path)).startswith("0 flags taken, 1 left")
    with pytest.raises(DatasetActionError):
        toggle_flag(services, opened, "no such sample")


def test_the_filtered_set_as_files(services: Services, visitor: Visitor, opened: str) -> None:
    filters = Filters(ranges={"yaw_deg": (0.0, None)})
    keys = [f"01/frame_{i:05d}" for i in range(FRAMES) if YAWS_DEG[i] >= 0]
    made = {
        name: list(export_samples(services, visitor, opened, filters, name))[-1]
        for _, name in export_formats(services, opened)
    }
    assert made["list"].read_text().split() == [f"{key}_rgb.png" for key in keys]
    rows = list(csv.DictReader(io.StringIO(made["csv"].read_text())))
    assert [row["key"] for row in rows] == keys
    assert made["parquet"].stat().st_size > 0
    with zipfile.ZipFile(made["overlays"]) as archive:
        assert archive.namelist() == [f"{key.replace('/', '_')}.jpg" for key in keys]
        assert archive.read(archive.namelist()[0])[:2] == b"\xff\xd8"
    with pytest.raises(DatasetActionError, match="nothing to export"):
        list(export_samples(services, visitor, opened, Filters(text="zzz"), "csv"))
    with pytest.raises(DatasetActionError, match="no export"):
        list(export_samples(services, visitor, opened, filters, "../x"))


def test_one_job_a_data_set_that_can_be_cancelled(services: Services, opened: str) -> None:
    def work(report, cancelled) -> str:
        report(3, 10)
        while not cancelled():
            pass
        return "Stopped."

    shelf = shelf_of(services)
    first = shelf.start(opened, "test", work)
    assert shelf.start(opened, "test", work) is first and first.state.is_running
    shelf.cancel(opened, "test")
    assert first.wait(10) and first.state.kind == "cancelled"
    assert (first.state.progress.done, first.state.sentence) == (3, "Stopped.")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_job_that_fails_says_so() -> None:
    def broken(report, cancelled) -> str:
        raise ValueError("The disk is full.")

    def surprising(report, cancelled) -> str:
        raise KeyError("x")

    for work, said in ((broken, "The disk is full."), (surprising, "error of the program")):
        job = SharedJob(work, "test")
        assert job.wait(10)
        assert job.state.kind == "failed" and said in job.state.sentence


def test_names_are_said_once_on_a_thumbnail() -> None:
    row = {"key": "91/3", "subject": "sequence 91", "sequence": "91", "frame": 3, "yaw_deg": -0.2}
    card = card_of("biwi-x", row | {"pitch_deg": 0.4, "roll_deg": 12.6}, (), {})
    assert (card.detail, card.caption) == ("sequence 91 · frame 3", "Y +0°  P +0°  R +13°")
    card = card_of("mica-x", {"key": "A/1", "subject": "1", "sequence": "21"}, (), {})
    assert (card.detail, card.caption) == ("1 · 21", "1")


def test_bundled_samples_are_indexed_anew_when_they_change(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.config = replace(services.config, data_dir=tmp_path / "data")
    made = MadeDataset(tmp_path / "samples" / "biwi")
    made.write()
    monkeypatch.setattr(dataset_open, "open_registered", lambda name, root: MadeDataset(root))
    monkeypatch.setattr(dataset_open, "SAMPLES_ROOT", tmp_path / "samples")
    jobs = shelf_of(services).jobs

    def open_and_wait() -> SharedJob:
        data_id = open_dataset(services, "biwi", str(made.root)).data_id
        assert jobs[data_id, "index"].wait(60)
        return jobs[data_id, "index"]

    first = open_and_wait()
    assert open_and_wait() is first, "nothing has changed"
    (made.root / f"{FIRST}_rgb.png").touch()
    assert open_and_wait() is not first
    assert not (services.config.data_dir / "roots.json").exists(), "the real one may come"


def test_a_set_without_a_list_of_its_own_has_the_other_formats(services: Services) -> None:
    mica = open_dataset(services, "mica").data_id
    assert [name for _, name in export_formats(services, mica)] == ["csv", "parquet", "overlays"]
