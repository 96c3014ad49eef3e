"""The eight subsets from end to end, on imitations of the original data sets."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from models.face_detection.base import FaceDetections
from viewer.datasets.registry import open_dataset
from viewer.datasets.sample import decode_rgb
from viewer.datasets.source import DatasetError
from viewer.mica.actors_dataset import PreparedActors
from viewer.mica.arcface import TEMPLATE_112_PX
from viewer.mica.picture import DetectorChoice
from viewer.mica.prepare import Inputs, PreparationError, prepare_subset
from viewer.mica.report import write_report

Write = Callable[..., Path]


class MadeUpDetector:
    """One face in every picture, in its middle, surer the brighter the picture is."""

    seen = 0

    def detect(self, image_rgb: np.ndarray) -> FaceDetections:
        MadeUpDetector.seen += 1
        height, width = image_rgb.shape[:2]
        box = np.array([[0.0, 0.0, width, height]])
        score = np.array([image_rgb.mean() / 255])
        return FaceDetections(box, score, TEMPLATE_112_PX[None] * width / 112)


MADE_UP = DetectorChoice("made up by the test", MadeUpDetector)


def content(root: Path) -> dict[str, str]:
    """Of the prepared set; the run's own files say when it ran."""
    files = sorted(p for p in root.rglob("*") if p.is_file() and "preparation" not in p.parts)
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }


def states(done) -> dict[str, str]:
    return {f"{r.actor}/{r.name}": r.state for r in done.results}


@pytest.fixture(autouse=True)
def nothing_seen() -> Iterator[None]:
    MadeUpDetector.seen = 0
    yield


def test_the_eight_subsets(imitation, write_subset: Callable[..., Inputs]) -> None:
    """With MTCNN: everything of the list is prepared, reported, and opens as a data set."""
    inputs = write_subset(imitation)
    done = prepare_subset(inputs, workers=0)
    files = write_report(done)
    missing = {"subject_01/frame_0001.jpg", "02463/02463d100.jpg"}  # of the folders left out
    images = [image for images, _ in imitation.rows.values() for image in images]
    assert states(done) == {i: "missing" if i in missing else "ready" for i in images}
    for image in set(images) - missing:
        stem = image.rsplit(".", 1)[0]
        array = np.load(inputs.folder / "arcface_input" / f"{stem}.npy")
        assert array.dtype == np.float32 and array.shape == (3, 112, 112)
        crop = decode_rgb((inputs.folder / "arcface_input" / image).read_bytes(), image)
        assert crop.shape == (224, 224, 3)
        half = crop.reshape(112, 2, 112, 2, 3).mean((1, 3))
        assert np.abs((half - 127.5) / 127.5 - array.transpose(1, 2, 0)).mean() < 0.06
        assert (inputs.folder / "images" / image).is_file()
    rows = pq.read_table(files.actors).to_pylist()
    assert [row["actor"] for row in rows] == sorted(imitation.rows)
    assert sum(row["ready"] for row in rows) == len(images) - len(missing & set(images))
    assert all(row["parameters"] and row["registrations"] == 1 for row in rows)
    assert "MTCNN (facenet-pytorch, limits 0.6 0.7 0.7" in files.page.read_text()
    data = open_dataset("mica", inputs.root)
    listing = data.list_samples()
    fits = (f"{inputs.subset}/{row[1].removesuffix('.npz')}" for row in imitation.rows.values())
    assert listing.keys == tuple(sorted(fits)) and listing.problems == ()
    for key in listing.keys:
        assert data.read(key).read_image_rgb().shape[2] == 3
        notes = "\n".join(data.detail(key).notes)
        assert "pictures, 0 of them without an arcface .npy" in notes


def test_stirling_takes_hq_and_its_limit_is_applied(
    inputs_of: Callable[..., Inputs], write_picture: Write
) -> None:
    """Also that Florence leaves out what was filmed outdoors."""
    inputs = inputs_of("STIRLING", has_list=False)
    hq = inputs.source / "Real_images__Subset_2D_FG2018" / "HQ"
    done = prepare_subset(inputs, workers=0, detector=MADE_UP)
    assert [result.source for result in done.results] == [
        str(hq / "f1001_003.jpg"),
        str(hq / "M1002_001.jpg"),
    ]
    assert {result.state for result in done.results} == {"no face"}
    score = done.results[0].score
    assert 0.1 < score < 0.75 and f"a score of {score:.2f}" in done.results[0].reason
    assert done.settings == "made up by the test; score >= 0.75"
    page = unescape(write_report(done).page.read_text())
    assert "insightface's SCRFD (antelopev2) with 0.75" in page
    florence = prepare_subset(inputs_of("FLORENCE", has_list=False), workers=0, detector=MADE_UP)
    assert sorted(Path(result.source).parent.name for result in florence.results) == [
        "Cooperative",
        "PTZ-Indoor",
    ]
    assert [result.state for result in florence.results].count("clash") == 1


def test_a_second_run_looks_at_nothing_and_one_that_lost_files_mends_them(lyhm: Inputs) -> None:
    before = content(lyhm.source)
    first = prepare_subset(lyhm, workers=0, detector=MADE_UP)
    assert first.worked == MadeUpDetector.seen == 3
    made = content(lyhm.folder)
    assert made["images/00001/2C.png"] == before["00001/2C.png"]
    times = {name: (lyhm.folder / name).stat().st_mtime_ns for name in made}
    second = prepare_subset(lyhm, workers=0, detector=MADE_UP)
    assert second.worked == 0 and second.results == first.results and MadeUpDetector.seen == 3
    (lyhm.folder / "arcface_input/00001/1C.npy").unlink()
    assert prepare_subset(lyhm, workers=0, detector=MADE_UP).worked == 1
    (lyhm.folder / "preparation/pictures.jsonl").unlink()
    third = prepare_subset(lyhm, workers=0, detector=MADE_UP)
    assert third.worked == 3 and not any(result.kept for result in third.results)
    assert content(lyhm.folder) == made and content(lyhm.source) == before
    del times["arcface_input/00001/1C.npy"]
    assert {name: (lyhm.folder / name).stat().st_mtime_ns for name in times} == times


def test_folders_called_jpg_or_images_and_the_ending_jpeg(
    lyhm: Inputs, write_picture: Write, tmp_path: Path, save_list: Write
) -> None:
    source, root = tmp_path / "jpg" / "images", tmp_path / "images" / "a.jpg" / "arcface_input"
    write_picture(source / "00001" / "images.jpg.jpeg")
    row = (["00001/images.jpg.jpeg"], "00001/130925161618.NPZ")
    image_list = save_list(tmp_path / "LYHM.npy", {"00001": row})
    inputs = replace(lyhm, source=source, root=root, image_list=image_list)
    prepare_subset(inputs, workers=0, detector=MADE_UP)
    assert sorted(content(tmp_path / "images")) == [
        f"a.jpg/arcface_input/LYHM/{name}"
        for name in (
            "FLAME_parameters/00001/130925161618.npz",
            "arcface_input/00001/images.jpg.jpeg",
            "arcface_input/00001/images.jpg.npy",
            "images/00001/images.jpg.jpeg",
            "registrations/00001/130925161618.obj",
        )
    ]
    assert len(PreparedActors(root)) == 1


@pytest.fixture
def many(lyhm: Inputs, write_picture: Write, tmp_path: Path, save_list: Write) -> Inputs:
    """60 actors with a picture each."""
    table = {f"{k:05d}": ([f"{k:05d}/1C.png"], f"{k:05d}/fit.npz") for k in range(1, 61)}
    picture = write_picture(tmp_path / "one.png").read_bytes()
    for actor in table:
        (lyhm.source / actor).mkdir(exist_ok=True)
        (lyhm.source / actor / "1C.png").write_bytes(picture)
    return replace(lyhm, image_list=save_list(tmp_path / "LYHM.npy", table))


def test_a_stopped_run_goes_on(many: Inputs) -> None:
    stopped = prepare_subset(
        many, workers=0, detector=MADE_UP, should_stop=lambda: MadeUpDetector.seen >= 8
    )
    assert not stopped.is_complete and stopped.worked == 8
    assert sorted(states(stopped).values()) == ["not yet"] * 52 + ["ready"] * 8
    assert "Stopped with 52 pictures to go" in write_report(stopped).page.read_text()
    with (many.folder / "preparation/pictures.jsonl").open("a") as file:
        file.write('{"actor": "half wri')
    resumed = prepare_subset(many, workers=0, detector=MADE_UP)
    assert resumed.worked == 52 and MadeUpDetector.seen == 60
    assert prepare_subset(many, workers=0, detector=MADE_UP).worked == 0


@pytest.fixture
def heard_ctrl_c() -> Iterator[None]:
    """As in a terminal; processes that share out tests ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_ctrl_c")
def test_ctrl_c_is_not_heard_by_the_workers_and_the_next_run_goes_on(many: Inputs) -> None:
    """The signal goes to all processes, as from a terminal; files are those of an unbroken run."""

    def press_ctrl_c(done: int, _total: int) -> None:
        if done:
            for worker in active_children():
                os.kill(worker.pid, signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    stopped = prepare_subset(many, workers=1, detector=MADE_UP, progress=press_ctrl_c)
    assert not stopped.is_complete and 8 <= stopped.worked < 60
    assert list(states(stopped).values()).count("ready") == stopped.worked
    assert len(list(many.folder.rglob("*.npy"))) == stopped.worked, "each result was kept"
    assert not list(many.folder.rglob("*.partial")) and not active_children()
    resumed = prepare_subset(many, workers=0, detector=MADE_UP)
    assert resumed.is_complete and resumed.worked == MadeUpDetector.seen == 60 - stopped.worked
    alone = replace(many, root=many.root.parent / "other")
    prepare_subset(alone, workers=0, detector=MADE_UP)
    assert content(many.folder) == content(alone.folder)


def test_nothing_is_replaced_unless_asked(lyhm: Inputs, write_picture: Write) -> None:
    crop, fit = (
        lyhm.folder / "arcface_input/00001/2C.png",
        lyhm.folder / "FLAME_parameters/00001/130925161618.npz",
    )
    for path in (crop, fit):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"somebody's own")
    done = prepare_subset(lyhm, workers=0, detector=MADE_UP)
    assert crop.read_bytes() == fit.read_bytes() == b"somebody's own"
    assert [result.kept for result in done.results if result.kept] == [
        ("arcface_input/00001/2C.png",)
    ]
    assert done.fits.kept == ("FLAME_parameters/00001/130925161618.npz",)
    page = write_report(done).page.read_text()
    assert "Files kept" in page
    done = prepare_subset(lyhm, workers=0, detector=MADE_UP, overwrite=True)
    assert done.worked == 3 and not any(result.kept for result in done.results)
    assert crop.read_bytes()[:4] == b"\x89PNG" and fit.read_bytes()[:2] == b"PK"
    write_picture(lyhm.source / "00001/2C.png", faces=0)
    assert prepare_subset(lyhm, workers=0).results[0].kept == (
        "images/00001/2C.png",
        "arcface_input/00001/2C.png",
        "arcface_input/00001/2C.npy",
    )
    prepare_subset(lyhm, workers=0, overwrite=True)
    assert not crop.exists() and not crop.with_suffix(".npy").exists()


def test_what_is_wrong_with_pictures_is_listed(
    lyhm: Inputs, write_picture: Write, tmp_path: Path, save_list: Write, save_fit
) -> None:
    folder = lyhm.source / "00003"
    write_picture(folder / "none.png", faces=0)
    write_picture(folder / "three.png", faces=3)
    whole = write_picture(folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.png").touch()
    write_picture(folder / "twin.png")
    write_picture(folder / "twin.jpeg")
    names = ["none.png", "three.png", "cut.jpg", "text.jpg", "empty.png", "twin.png", "twin.jpeg"]
    names.append("gone.png")
    table = {
        "00003": ([f"00003/{name}" for name in names], "00003/fit.npz"),
        "00004": (["00004/1C.png"], "00004/fit.npz"),
        "00005": (["00005/1C.png"], "00005/fit.npz"),
    }
    save_fit(lyhm.parameters / "00003/fit.npz", 1.0, betas=10)
    (lyhm.parameters / "00004").mkdir()
    (lyhm.parameters / "00004/fit.npz").write_bytes(b"\x80\x02cos\nsystem\n.")
    inputs = replace(lyhm, image_list=save_list(tmp_path / "LYHM.npy", table))
    done = prepare_subset(inputs, workers=0)
    assert list(states(done).values())[:8] == [
        *("no face", "ready", "unreadable", "unreadable", "unreadable", "ready", "clash"),
        "missing",
    ]
    reasons = [result.reason for result in done.results]
    assert "truncated" in reasons[2] and "same name" in reasons[6]
    assert done.results[1].faces == 3, "the middle one of three is the dark one"
    files = write_report(done)
    row = pq.read_table(files.actors).to_pylist()[0]
    counts = {"listed": 8, "found": 7, "missing": 1, "ready": 2, "no_face": 1, "unreadable": 3}
    assert counts | {"several_faces": 1, "clashes": 1, "parameters": ""} == {
        name: row[name] for name in (*counts, "several_faces", "clashes", "parameters")
    }
    problems = {problem.file: problem.reason for problem in done.fits.problems}
    assert "10 betas, 300 are needed" in problems["FLAME_parameters/00003/fit.npz"]
    assert "00004/fit.npz cannot be read" in problems["FLAME_parameters/00004/fit.npz"]
    assert "are not there" in problems["FLAME_parameters/00005/fit.npz"]
    assert not (inputs.folder / "FLAME_parameters").exists()
    page = files.page.read_text()
    assert "1 have no face" in page and "cs.york.ac.uk" in page and "<script" not in page


def test_refusals(lyhm: Inputs, tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match="lie in each other"):
        prepare_subset(replace(lyhm, root=lyhm.source), workers=0)
    with pytest.raises(PreparationError, match="nowhere is no folder"):
        prepare_subset(replace(lyhm, source=tmp_path / "nowhere"), workers=0)
    with pytest.raises(DatasetError, match="no subset"):
        prepare_subset(replace(lyhm, subset="../LYHM"), workers=0)
    start_s = time.monotonic()
    bomb = lyhm.source / "00001" / "1C.png"
    header = bytearray(bomb.read_bytes())
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    bomb.write_bytes(header)
    done = prepare_subset(lyhm, workers=0, detector=MADE_UP)
    assert states(done)["00001/1C.png"] == "unreadable" and time.monotonic() - start_s < 5
