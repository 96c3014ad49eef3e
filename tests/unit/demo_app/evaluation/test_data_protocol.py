"""A data-set protocol from the command line to its report, stopped and gone on, lost samples."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.spatial.transform import Rotation

from demo_app.cli import main
from demo_app.evaluation import chunks, model_file
from demo_app.evaluation.annotate import ANNOTATIONS_FILE, AnnotationWork
from demo_app.evaluation.chunks import Parts, in_this_process, run_in_parts
from demo_app.evaluation.data_protocol import SAMPLES_FILE, Request, evaluate_protocol
from demo_app.evaluation.faces import EvaluationError, no_progress
from demo_app.evaluation.model_file import find_model
from demo_app.evaluation.protocol_report import COLUMNS, IMITATION
from demo_app.evaluation.published import PUBLISHED
from demo_app.evaluation.sample_rows import SAMPLE_SCHEMA
from demo_app.evaluation.summary import result_hash, summarise
from demo_app.evaluation.verb import ProtocolName
from models.trg.checkpoints import CheckpointError
from models.weights import REPOSITORY_ROOT
from viewer.datasets.protocols import PROTOCOLS
from viewer.datasets.registry import SAMPLES_ROOT

ANGLES_DEG = np.random.default_rng(1).uniform(-50, 50, (2, 9, 3))
MINI = REPOSITORY_ROOT / "assets" / "trg_mini.safetensors"


def evaluate(protocol: str, folder: str, out: Path, *more: str) -> int:
    where = ["--root", str(SAMPLES_ROOT / folder), "--out", str(out), "--device", "cpu"]
    return main(["evaluate", "--protocol", protocol, *where, *more])


def test_every_protocol_is_on_the_command_line() -> None:
    assert set(PROTOCOLS) <= set(ProtocolName.__args__)
    assert set(PUBLISHED) <= set(PROTOCOLS)
    names = {name for rows in PUBLISHED.values() for row in rows for name in row.figures}
    assert names <= set(COLUMNS)


@pytest.mark.parametrize(
    ("protocol", "folder"),
    [
        ("arkitface-test", "arkitface"),
        ("biwi-15678-aligned", "biwi"),
        ("aflw2000-99", "aflw2000"),
        ("synthetic-held-out", "synthetic"),
    ],
)
def test_a_report_beside_published_figures(
    protocol: str, folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(protocol, folder, tmp_path, "--count", "8", "--passes", "1") == 0
    printed = capsys.readouterr()
    content = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert json.loads(printed.out.splitlines()[-1]) == content and "of 8 samples" in printed.err
    own = content["table"][0]
    assert own["is_own"] and 0 < own["figures"]["ge_deg"] < 25 and not content["is_whole_protocol"]
    methods = {row["method"] for row in content["table"][1:]} - {"trg-mini, origins aligned"}
    assert methods == {row.method for row in PUBLISHED.get(protocol, ())}
    for bins in content["bins"].values():
        assert sum(b["samples"] for b in bins) == content["samples"]["judged"]
    has_metres = own["figures"]["mae_t_mm"] is not None
    assert has_metres == (protocol != "aflw2000-99")
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for said in (content["hash"], content["model"]["sha256"], content["data"]["sha256"]):
        assert said in text and said in page
    assert all(choice in text for choice in content["choices"].values())
    is_imitation = folder != "synthetic"
    assert (IMITATION in content["notes"]) == (escape(IMITATION) in page) == is_imitation
    assert ("own sample set" in own["source"]) == is_imitation
    assert "<script" not in page and page.count("data:image/jpeg") == len(content["worst"])
    assert (tmp_path / "bins.svg").read_text(encoding="utf-8").strip() in page
    assert len(list((tmp_path / "worst").iterdir())) == len(content["worst"]) > 0
    assert not list(tmp_path.glob("parts-*")) and not list(tmp_path.rglob("*.partial"))


def request(out: Path, count: int = 7, **changed: object) -> Request:
    model = find_model("trg-mini", None, out)
    plain = Request(
        "aflw2000-99", SAMPLES_ROOT / "aflw2000", out, model, None, None, 1, "cpu", count
    )
    return replace(plain, **changed)


@pytest.mark.parametrize(
    ("protocol", "order", "signs"),
    [("biwi-15678", "yxz", [1, 1, 1]), ("biwi-13219", "XYZ", [-1, 1, 1])],
)
def test_figures_are_those_of_scipys_angles(protocol: str, order: str, signs: list[int]) -> None:
    found, true = (Rotation.from_euler("yxz", a, degrees=True) for a in ANGLES_DEG)
    rows = [
        {"key": str(i), "group": str(i), "lost": "", "data_sha256": ""}
        | {"R_true": b.ravel().tolist(), "R_found": a.ravel().tolist()}
        for i, (a, b) in enumerate(zip(found.as_matrix(), true.as_matrix(), strict=True))
    ]
    table = pa.Table.from_pylist(rows, SAMPLE_SCHEMA)
    (figures,) = summarise(table, PROTOCOLS[protocol], "mine").figures.values()
    apart = (found.as_euler(order, degrees=True) - true.as_euler(order, degrees=True)) * signs
    mae = dict(zip(order.lower(), np.abs(apart).mean(0), strict=True))
    got = {"y": figures.yaw_deg, "x": figures.pitch_deg, "z": figures.roll_deg}
    assert got == pytest.approx(mae) and figures.mae_t_mm is None
    assert figures.ge_deg == pytest.approx(np.degrees((found * true.inv()).magnitude()).mean())


def test_the_real_frame_of_biwi_as_trg_measures_it(shared_data: Path, tmp_path: Path) -> None:
    root, out = shared_data / "samples" / "biwi", tmp_path / "out"
    where = ["--root", str(root), "--out", str(out)]
    assert main(["evaluate", "--protocol", "biwi-15678", *where]) == 0
    row = pq.read_table(out / SAMPLES_FILE).to_pylist()[0]
    angles = Rotation.from_matrix(np.reshape(row["R_true"], (3, 3))).as_euler("yxz", degrees=True)
    assert angles == pytest.approx([3.59, -8.57, -1.76], abs=0.01)
    assert row["t_true_mm"] == pytest.approx([36.274, 57.182, 867.331], abs=0.01)
    assert row["ge_deg"] < 12.0 and row["add_mm"] < 120.0


def test_a_stopped_run_goes_on_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 2)
    whole = evaluate_protocol(request(tmp_path / "whole"))

    def dies_in_the_third(work, keys_of):
        for number, table in in_this_process(work, keys_of):
            if number == 2:
                raise KeyboardInterrupt
            yield number, table

    with pytest.raises(KeyboardInterrupt):
        evaluate_protocol(request(tmp_path / "stopped"), dies_in_the_third)
    assert not (tmp_path / "stopped" / "report.json").exists()
    looked_at: list[int] = []

    def noted(work, keys_of):
        looked_at.extend(keys_of)
        return in_this_process(work, keys_of)

    again = evaluate_protocol(request(tmp_path / "stopped"), noted)
    assert looked_at == [2, 3], "what was done is not done again"
    assert again.result_hash == whole.result_hash
    tables = [(tmp_path / name / SAMPLES_FILE).read_bytes() for name in ("whole", "stopped")]
    assert tables[0] == tables[1]


def test_the_hash_is_of_choices_weights_data_and_answers(tmp_path: Path) -> None:
    first = evaluate_protocol(request(tmp_path / "a", 3))
    moved = tmp_path / "elsewhere"
    shutil.copytree(SAMPLES_ROOT / "aflw2000", moved)
    again = evaluate_protocol(request(tmp_path / "b", 3, root=moved))
    assert again.result_hash == first.result_hash, "the folder does not count"
    assert evaluate_protocol(request(tmp_path / "c", 2)).result_hash != first.result_hash
    assert evaluate_protocol(request(tmp_path / "d", 3, passes=2)).result_hash != first.result_hash
    picture = moved / f"{first.subset.keys[0]}.jpg"
    picture.write_bytes(picture.read_bytes() + b"\0")
    changed = evaluate_protocol(request(tmp_path / "e", 3, root=moved))
    assert changed.result_hash != first.result_hash
    assert changed.summary.answers_sha256 == first.summary.answers_sha256
    other = result_hash(first.summary, first.choices, "0" * 64)
    assert other != first.result_hash


def test_lost_samples_are_counted_with_their_reason(tmp_path: Path) -> None:
    root = tmp_path / "aflw"
    shutil.copytree(SAMPLES_ROOT / "aflw2000", root)
    (root / "image00002.jpg").write_bytes(b"no picture")
    (root / "image00004.jpg").unlink()
    for path in sorted(root.iterdir())[8:]:
        path.unlink()
    result = evaluate_protocol(request(tmp_path / "out", 99, root=root))
    (lost,) = result.summary.lost
    assert lost.reason == "The picture cannot be read." and lost.samples == 2
    assert lost.keys == ("image00002", "image00004") and str(root) not in lost.example
    assert result.summary.samples == 4
    assert next(iter(result.summary.figures.values())).samples == 2
    assert "image00002" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    table = pq.read_table(tmp_path / "out" / SAMPLES_FILE)
    nothing = table.filter(pa.array(np.array(table["lost"].to_pylist()) != ""))
    with pytest.raises(EvaluationError, match="could be judged"):
        summarise(nothing, PROTOCOLS["aflw2000-99"], "x")


@pytest.mark.parametrize(
    ("protocol", "folder", "more", "sentence"),
    [
        ("biwi-13219", "biwi", [], "Give a text file with its 13,219 frames"),
        ("biwi-13219", "biwi", ["--frames", "absent.txt"], "no readable list"),
        ("biwi-15678", "aflw2000", [], "aflw2000"),
        ("biwi-70-30", "biwi", [], "could be judged"),
        ("aflw2000-99", "absent", [], "is no folder"),
        ("aflw2000-99", "aflw2000", ["--model", "absent.pt"], "neither a model"),
        ("aflw2000-99", "aflw2000", ["--model", "trg"], "state_dict.bin"),
        ("aflw2000-99", "aflw2000", ["--workers", "0"], "--workers must be"),
        ("label-free", "aflw2000", ["--photos", "x", "--scale-out", "ray"], "one process only"),
        ("pre-annotation", "synthetic/train", [], "no picture"),
    ],
)
def test_what_is_wrong_is_a_sentence(
    protocol: str,
    folder: str,
    more: list[str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert evaluate(protocol, folder, tmp_path / "out", *more) == 2
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said
    assert not (tmp_path / "out" / "report.json").exists()


def test_fsa_nets_frames_with_their_list(tmp_path: Path) -> None:
    frames = tmp_path / "frames.txt"
    frames.write_text("91/frame_00003_rgb.png\n92/frame_00004\n17/frame_00007\n")
    more = ("--frames", str(frames), "--passes", "1")
    assert evaluate("biwi-13219", "biwi", tmp_path / "out", *more) == 0
    content = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert content["samples"]["judged"] == 2 and content["samples"]["listed_but_not_here"] == 1
    assert content["table"][0]["figures"]["mae_t_mm"] is None
    assert "uncalibrated" in content["choices"]["labels"]
    assert any("3 samples are in the list" in note for note in content["notes"])


def test_a_model_is_a_name_a_file_or_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = find_model("trg-mini", None, tmp_path)
    assert named == replace(find_model(str(MINI), None, tmp_path), shown="trg-mini")
    run = tmp_path / "runs" / "mine"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.json").write_text("{}")
    with pytest.raises(EvaluationError, match="no checkpoint yet"):
        find_model(str(run), None, tmp_path)
    asked: list[Path] = []

    def export(checkpoint: Path, out: Path) -> tuple[Path, ...]:
        asked.append(checkpoint)
        return (MINI,)

    monkeypatch.setattr("demo_app.recipes.export.export_weights", export)
    for step in (250, 500):
        (run / "checkpoints" / f"step-{step:08d}.pt").touch()
    for given in (run, run / "checkpoints", run / "checkpoints" / "step-00000500.safetensors"):
        given.touch() if given.suffix else None
        assert find_model(str(given), None, tmp_path).shown == "mine, step-00000500"
    best = {"checkpoint": "step-00000250.pt", "step": 250, "metric": "x", "value": 1.0}
    (run / "checkpoints" / "best.json").write_text(json.dumps(best))
    assert find_model(str(run), None, tmp_path).shown == "mine, step-00000250"
    assert {path.suffix for path in asked} == {".pt"}
    with pytest.raises(EvaluationError, match="weights once"):
        find_model(str(MINI), MINI, tmp_path)
    with pytest.raises(CheckpointError, match="no weights file"):
        find_model("trg-mini", tmp_path / "absent.safetensors", tmp_path)
    assert model_file.sha256_of(MINI) == named.sha256


def test_pictures_are_annotated_and_damaged_ones_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "in"
    pictures.mkdir()
    shutil.copy(REPOSITORY_ROOT / "assets" / "examples" / "astronaut.jpg", pictures)
    (pictures / "damaged.jpg").write_bytes(b"\xff\xd8\xff no")
    arguments = ["--root", str(pictures), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["evaluate", "--protocol", "pre-annotation", *arguments]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["pictures"], last["faces"], last["pictures_unreadable"]) == (2, 1, 1)
    rows = pq.read_table(tmp_path / "out" / ANNOTATIONS_FILE).to_pylist()
    assert [row["picture"] for row in rows] == ["astronaut.jpg", "damaged.jpg"]
    assert np.linalg.det(np.reshape(rows[0]["R_cam_from_head"], (3, 3))) == pytest.approx(1.0)
    assert rows[1]["face"] == -1 and str(tmp_path) not in rows[1]["problem"]


@pytest.mark.slow
def test_ray_gives_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers; and what was done before is not done again."""
    pytest.importorskip("ray", reason="ray is optional: pip install -r requirements-scale.txt")
    from demo_app.evaluation.ray_run import RayRun

    monkeypatch.setattr(chunks, "CHUNK", 2)
    alone = evaluate_protocol(request(tmp_path / "alone"))
    parts, sent = [], []

    def on_ray(work, keys_of):
        sent.extend(keys_of)
        for number, table in RayRun(workers=2)(work, keys_of):
            parts.append(number)
            yield number, table

    def stops_after_one(work, keys_of):
        yield next(in_this_process(work, keys_of))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_protocol(request(tmp_path / "ray"), stops_after_one)
    spread = evaluate_protocol(request(tmp_path / "ray"), on_ray)
    assert sent == [1, 2, 3] == sorted(parts)
    assert spread.result_hash == alone.result_hash
    tables = [(tmp_path / name / SAMPLES_FILE).read_bytes() for name in ("alone", "ray")]
    assert tables[0] == tables[1]


def test_work_without_keys_starts_nothing(tmp_path: Path) -> None:
    work = AnnotationWork(tmp_path, find_model("trg-mini", None, tmp_path), "no such device")
    table = run_in_parts(work, [], Parts(tmp_path, {}), in_this_process, no_progress, "pictures")
    assert table.num_rows == 0 and table.schema == work.schema
