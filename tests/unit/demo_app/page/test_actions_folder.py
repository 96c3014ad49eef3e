"""Several pictures: order, names, problems, the archive; and the endpoints for programs."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from demo_app.actions.api import predict_files_rows, predict_image_rows
from demo_app.actions.folder_report import folder_end_html, picture_menu
from demo_app.actions.options import OptionError, PoseOptions
from demo_app.actions.predict_folder import (
    FOLDER,
    Picture,
    pictures_in,
    predict_pictures,
)
from demo_app.actions.predict_picture import NothingToDoError
from demo_app.actions.view_update import build_view
from demo_app.inference.images import ImageError
from demo_app.services import Services, Visitor

OPTIONS = PoseOptions().checked()


@pytest.fixture
def folder(tmp_path: Path, photo: Path) -> Path:
    """frame2, frame10, a text file, a picture of the same name in a sub folder."""
    root = tmp_path / "pictures"
    (root / "more").mkdir(parents=True)
    for name in ("frame10.png", "frame2.png", "more/frame2.png"):
        shutil.copy(photo, root / name)
    (root / "notes.txt").write_text("hello")
    return root


def _run(services: Services, visitor: Visitor, pictures: list[Picture], **given: Any) -> Any:
    *_, last = predict_pictures(services, visitor, pictures, OPTIONS, **given)
    return last


def test_a_folder_in_natural_order(folder: Path) -> None:
    pictures, notes = pictures_in(str(folder), recursive=False)
    assert [picture.name for picture in pictures] == ["frame2.png", "frame10.png"]
    assert any("notes.txt" in note for note in notes)
    everything, _ = pictures_in(f"  {folder} ", recursive=True)
    assert [picture.name for picture in everything][-1] == "more/frame2.png"
    with pytest.raises(NothingToDoError, match="no picture"):
        pictures_in(str(folder / "missing"), recursive=False)
    with pytest.raises(NothingToDoError, match="path of a folder"):
        pictures_in("  ", recursive=False)


def test_the_results_of_several(services: Services, visitor: Visitor, folder: Path) -> None:
    pictures, notes = pictures_in(str(folder), recursive=True)
    bad = Picture(str(folder / "notes.txt"), "notes.txt")
    result = _run(services, visitor, [pictures[0], bad, *pictures[1:]], notes=notes)
    assert len(result) == 3
    assert "3 pictures, 6 faces" in folder_end_html(result)
    assert any("notes.txt holds text" in problem for problem in result.problems)
    assert picture_menu(result)[1] == ("frame10.png (2 faces)", 1)
    with zipfile.ZipFile(result.archive) as archive:
        assert len(set(archive.namelist())) == 3 and archive.testzip() is None
    rows = json.loads(result.tables["json"].read_text())
    assert {row["source"] for row in rows} == {"frame2.png", "frame10.png", "more/frame2.png"}
    assert "frame10.png" in result.frame(1).title
    assert build_view(visitor, FOLDER, 2, OPTIONS).drawing.annotated.exists()


def test_cancel_keeps_the_first(services: Services, visitor: Visitor, folder: Path) -> None:
    pictures, _ = pictures_in(str(folder), recursive=True)
    world = services.estimator("trg-mini")
    inner = world._inner.predict

    def cancel_after_one(*given: Any, **options: Any) -> Any:
        visitor.cancelled.set()
        return inner(*given, **options)

    world._inner.predict = cancel_after_one
    result = _run(services, visitor, pictures)
    assert len(result) == 1 and "Cancelled after 1 of 3" in result.problems[-1]
    assert zipfile.ZipFile(result.archive).testzip() is None


def test_nothing_given(services: Services, visitor: Visitor) -> None:
    with pytest.raises(NothingToDoError, match="several pictures"):
        _run(services, visitor, [])


def test_the_endpoint_for_programs(services: Services, photo: Path) -> None:
    given = SimpleNamespace(path=str(photo), name="mine.png")
    rows = predict_image_rows(services, given, "trg-mini", 0)
    assert [row["track_id"] for row in rows] == [1, 2] and rows[0]["source"] == "mine.png"
    wider = predict_image_rows(services, given, "trg-mini", 90.0)
    assert wider[0]["K_image_from_cam"][0][0] == pytest.approx(320.0)
    assert len(predict_files_rows(services, [given, given], "trg-mini", None)) == 4
    with pytest.raises(NothingToDoError):
        predict_image_rows(services, None, "trg-mini", 0)
    with pytest.raises(OptionError, match="model"):
        predict_image_rows(services, given, "other", 0)
    missing = SimpleNamespace(path=str(photo.parent / "no.png"), name="no.png")
    with pytest.raises(ImageError):
        predict_image_rows(services, missing, "trg-mini", 0)
    assert len(services.visitors) == 0, "endpoints keep nothing"
