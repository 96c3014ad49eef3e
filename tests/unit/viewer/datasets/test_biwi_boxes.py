"""BIWI's box file: TRG's, ours, and files that are neither."""

from __future__ import annotations

import os
import pickle
import pickletools
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from viewer.datasets.biwi import Biwi
from viewer.datasets.biwi_box_file import NOT_OURS, box_of_points, read_boxes
from viewer.datasets.biwi_boxes import BoxReport, write_boxes
from viewer.datasets.protocols import BIWI_FRAMES
from viewer.datasets.source import DatasetError

SAMPLES = Path(__file__).resolve().parents[4] / "assets" / "samples" / "biwi"
FIRST, LAST = "91/frame_00003", "92/frame_00021"


@pytest.fixture
def own_copy(tmp_path: Path) -> Path:
    """The bundled set without its box file."""
    root = tmp_path / "set"
    shutil.copytree(SAMPLES, root)
    (root / "hpdb" / "annot_mtcnn_fan.pkl").unlink()
    return root


def some_points(offset: float = 0.0) -> np.ndarray:
    points = np.random.default_rng(1).uniform(200, 260, (68, 2)) + offset
    points[:2] = [[180 + offset, 210], [280 + offset, 240]]
    return points


def test_a_file_from_trimesh_is_read_without_it(tmp_path: Path) -> None:
    """TRG's script pickles the arrays of trimesh as they are."""
    caching = pytest.importorskip("trimesh.caching")
    points = np.column_stack([some_points(), np.ones(68)])
    content = {
        "img_path": [f"{FIRST}_rgb.png", f"{LAST}_rgb.png"],
        "mesh": {"91": {"vertices": caching.tracked_array(points), "faces": points.astype(int)}},
        "pred_kpt": {f"{FIRST}_rgb.png": points},
    }
    for protocol in (2, 3, 4):
        path = tmp_path / f"{protocol}.pkl"
        path.write_bytes(pickle.dumps(content, protocol))
        assert b"TrackedArray" in path.read_bytes()
        boxes = read_boxes(path)
        assert list(boxes.points_px) == [FIRST] and boxes.no_face == (LAST,)
        assert np.allclose(boxes.points_px[FIRST], points[:, :2] + 0.5)
        assert boxes.made_by == NOT_OURS and not boxes.is_ours


def test_the_box_is_the_points_extent_and_a_half(own_copy: Path) -> None:
    without = Biwi(own_copy).read(FIRST)
    content = {"pred_kpt": {f"{FIRST}_rgb.png": some_points()}}
    (own_copy / "hpdb" / "annot_mtcnn_fan.pkl").write_bytes(pickle.dumps(content))
    dataset = Biwi(own_copy)
    with_box, other = dataset.detail(FIRST), dataset.detail(LAST)
    assert np.allclose(with_box.sample.box_xyxy_px, box_of_points(some_points() + 0.5))
    low, high = with_box.sample.box_xyxy_px[:2], with_box.sample.box_xyxy_px[2:]
    assert np.allclose(high - low, 150) and np.allclose((low + high)[0] / 2, 230.5)
    assert np.allclose(
        with_box.points_px["68 detected points (TRG's box file)"], some_points() + 0.5
    )
    assert not other.points_px and any("no face in this frame" in note for note in other.notes)
    assert not np.allclose(without.box_xyxy_px, with_box.sample.box_xyxy_px)


class _Runs:
    def __reduce__(self) -> tuple:
        return os.system, ("touch was_run",)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pickle.dumps(_Runs()), "posix.system"),
        (pickle.dumps({"pred_kpt": {"a": _Runs()}}), "posix.system"),
        (pickle.dumps({"pred_kpt": {}})[:-4], "cut short"),
        (b"", "cut short"),
        (b"not a pickle", "cut short"),
        (pickle.dumps([1, 2]), "no box file"),
        (pickle.dumps({"mesh": {}}), "no box file"),
    ],
)
def test_a_hostile_box_file_runs_nothing_and_is_reported(
    own_copy: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, reason: str
) -> None:
    monkeypatch.chdir(own_copy)
    path = own_copy / "hpdb" / "annot_mtcnn_fan.pkl"
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=reason):
        read_boxes(path)
    dataset = Biwi(own_copy)
    listing = dataset.list_samples()
    (problem,) = listing.problems
    assert problem.file == "hpdb/annot_mtcnn_fan.pkl" and reason in problem.reason
    assert len(listing.keys) == 30 and dataset.read(FIRST).box_xyxy_px is not None
    assert not (own_copy / "was_run").exists()


def test_entries_that_are_no_points_are_listed(tmp_path: Path) -> None:
    good = some_points()
    entries = {
        "01/frame_00003_rgb.png": good,
        "01/frame_00004_rgb.png": good[:67],
        "01/frame_00005_rgb.png": np.full((68, 3), np.nan),
        "01/frame_00006_rgb.png": [1, 2],
        "01/frame_00007_rgb.png": np.array([["x"] * 3] * 68),
        7: good,
    }
    path = tmp_path / "annot_mtcnn_fan.pkl"
    path.write_bytes(pickle.dumps({"pred_kpt": entries}))
    boxes = read_boxes(path)
    assert list(boxes.points_px) == ["01/frame_00003"] and len(boxes.problems) == 5


def test_ours_is_written_labelled_and_read_back(own_copy: Path) -> None:
    out, seen = own_copy / "hpdb" / "annot_mtcnn_fan.pkl", []
    broken = own_copy / "hpdb" / "91" / "frame_00004_rgb.jpg"
    broken.write_bytes(b"no picture")
    shapes = []

    def detect(image_rgb: np.ndarray) -> np.ndarray | None:
        shapes.append(image_rgb.shape)
        return None if len(shapes) == 2 else some_points(len(shapes))

    report = write_boxes(
        own_copy, out, detect, lambda done, count: seen.append((done, count)), detector="a test"
    )
    assert set(shapes) == {(480, 640, 3)}
    seen = [now for now in seen if now[1] is not None]
    assert [now for now in seen if now[0] != 2] == [(n, 30) for n in range(1, 31) if n != 2]
    assert (report.frames, report.found) == (30, 28)
    assert report.no_face == ("91/frame_00004", "91/frame_00005")
    assert [problem.file for problem in report.problems] == ["hpdb/91/frame_00004_rgb.jpg"]
    boxes = read_boxes(out)
    assert boxes.is_ours and boxes.made_by == report.made_by == "trg-studio: a test"
    assert np.allclose(boxes.points_px[FIRST], some_points(1), atol=1e-4)
    notes = Biwi(own_copy).list_samples().notes
    assert any("our own box file, not TRG's" in note and "a test" in note for note in notes)
    assert not list(out.parent.glob("*.part")) and not list(out.parent.glob("*.unfinished"))


def test_ours_has_trgs_layout_and_the_names_of_numpy_1() -> None:
    path = SAMPLES / "hpdb" / "annot_mtcnn_fan.pkl"
    names = {
        argument
        for operation, argument, _ in pickletools.genops(path.read_bytes())
        if operation.name in ("GLOBAL", "STACK_GLOBAL")
    }
    assert names == {
        "numpy.core.multiarray _reconstruct",
        "numpy ndarray",
        "numpy dtype",
    }
    with warnings.catch_warnings(action="ignore"):
        content = pickle.loads(path.read_bytes())
    assert set(content) == {"img_path", "mesh", "pred_kpt", "made_by"}
    assert content["img_path"][0] == f"{FIRST}_rgb.png" and len(content["img_path"]) == 30
    assert content["pred_kpt"][content["img_path"][0]].shape == (68, 3)
    assert content["mesh"]["91"]["vertices"].shape == (4834, 3)
    assert content["mesh"]["91"]["faces"].shape == (9528, 3)


def test_a_file_of_somebody_else_is_left_alone(own_copy: Path) -> None:
    out = own_copy / "theirs.pkl"
    data = pickle.dumps({"pred_kpt": {}})
    out.write_bytes(data)
    with pytest.raises(DatasetError, match="was not made by this program"):
        write_boxes(own_copy, out, lambda image: None, lambda done, count: None)
    assert out.read_bytes() == data


def test_a_box_file_may_lie_elsewhere(own_copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere" / "boxes.pkl"
    write_boxes(own_copy, out, lambda image: some_points(), lambda done, count: None, limit=2)
    here = Biwi(own_copy, box_file=out)
    assert np.allclose(here.read(FIRST).box_xyxy_px, box_of_points(some_points()), atol=1e-3)
    assert any(str(out) in note for note in here.list_samples().notes)


def test_a_run_that_was_stopped_goes_on(own_copy: Path, tmp_path: Path) -> None:
    """Stopped when asked, then by Ctrl-C; the result is that of one run."""
    out, looked_at = tmp_path / "boxes.pkl", []

    def detect(image_rgb: np.ndarray) -> np.ndarray | None:
        looked_at.append(image_rgb.sum())
        if len(looked_at) == 21:
            raise KeyboardInterrupt
        return None if len(looked_at) % 7 == 3 else some_points(float(image_rgb.sum() % 97))

    def run(**options: object) -> BoxReport:
        return write_boxes(own_copy, out, detect, lambda *_: None, detector="a test", **options)

    stopped = run(should_stop=lambda: len(looked_at) == 10)
    assert not stopped.is_complete and stopped.no_face == () and not out.exists()
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not out.exists() and len(looked_at) == 21
    whole = run()
    assert whole.is_complete and whole.known == 20 and len(looked_at) == 31
    assert (whole.frames, whole.found, len(whole.no_face)) == (30, 25, 5)
    boxes = read_boxes(out)
    assert len(boxes.points_px) == 25 and set(boxes.no_face) == set(whole.no_face)
    assert not list(tmp_path.glob("boxes.pkl.*"))
    write_boxes(own_copy, out, lambda _: some_points(), lambda *_: None, detector="another")
    assert read_boxes(out).made_by.endswith("another") and not read_boxes(out).no_face


def test_points_of_another_detector_are_not_taken_over(own_copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "boxes.pkl"
    for detector in ("one", "two"):
        asked = iter([False] * 5 + [True])
        report = write_boxes(
            own_copy,
            out,
            lambda _: some_points(),
            lambda *_: None,
            detector=detector,
            should_stop=asked.__next__,
        )
        assert (report.known, report.found) == (0, 5)


def test_a_place_that_cannot_be_written_is_named_before_the_work(
    own_copy: Path, tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("x")
    with pytest.raises(DatasetError, match="cannot be written"):
        write_boxes(own_copy, tmp_path / "a file" / "b.pkl", _never_asked, lambda *_: None)


def _never_asked(image_rgb: np.ndarray) -> np.ndarray | None:
    raise AssertionError


def test_a_file_of_the_published_size_is_read(tmp_path: Path) -> None:
    """15,678 frames and 24 scans of 6918 vertices, as TRG's script puts them together."""
    caching = pytest.importorskip("trimesh.caching")
    points = np.column_stack([some_points(), np.ones(68)])
    frames = {f"{s:02d}": n for s, n in BIWI_FRAMES.items()}
    names = [f"{s}/frame_{i:05d}_rgb.png" for s, n in frames.items() for i in range(n)]
    scan = {
        "vertices": caching.tracked_array(np.zeros((6918, 3))),
        "faces": caching.tracked_array(np.zeros((13_676, 3), np.int64)),
    }
    kept = {name: points + i % 5 for i, name in enumerate(names) if i % 100}
    path = tmp_path / "annot_mtcnn_fan.pkl"
    mesh = {sequence: scan for sequence in frames}
    path.write_bytes(pickle.dumps({"img_path": names, "mesh": mesh, "pred_kpt": kept}, 4))
    boxes = read_boxes(path)
    assert len(boxes.points_px) == len(kept) and len(boxes.no_face) == 157
    assert not boxes.problems
    assert np.allclose(
        boxes.points_px["05/frame_00003"], kept["05/frame_00003_rgb.png"][:, :2] + 0.5
    )
