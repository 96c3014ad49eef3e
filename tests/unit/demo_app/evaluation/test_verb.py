"""The verb, its report, and the protocol speed."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest

from demo_app.cli import main
from demo_app.evaluation import speed
from demo_app.evaluation.columns import Poses
from demo_app.evaluation.errors import binned_figures
from demo_app.evaluation.faces import EvaluationError
from demo_app.evaluation.report import ModelUsed, write_report
from demo_app.evaluation.speed import evaluate_speed
from models.weights import REPOSITORY_ROOT

USED = ModelUsed("trg-mini", "weights.safetensors", "ab" * 32)


def test_label_free_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = REPOSITORY_ROOT / "assets" / "examples" / "astronaut.jpg"
    arguments = ["evaluate", "--protocol", "label-free", "--photos", str(photo)]
    assert main([*arguments, "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    last = json.loads(printed.out.strip().splitlines()[-1])
    assert last == json.loads((tmp_path / "out" / "label-free.json").read_text(encoding="utf-8"))
    assert last["faces"] == 1 and last["protocol"] == "label-free"
    single = last["figures"]["single pass, refined crop"]
    assert single["roll 15"]["pairs"] == 2
    assert 0 < single["roll 15"]["geodesic_mean_deg"] < 5
    assert single["resampled"]["geodesic_mean_deg"] < 0.7
    text = (tmp_path / "out" / "label-free.md").read_text(encoding="utf-8")
    assert text in printed.out
    assert "| roll 15 | 2 |" in text
    assert "1 of 1 photos" in printed.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--protocol", "held-out"], "needs --data"),
        (["--protocol", "labelled"], "needs --data"),
        (["--protocol", "speed", "--degrade"], "--degrade is for the protocol held-out"),
        (["--protocol", "label-free"], "needs --photos"),
        (["--protocol", "label-free", "--photos", "absent"], "There is no picture"),
        (["--protocol", "held-out", "--data", "absent"], "is no synthetic data set"),
        (["--protocol", "labelled", "--data", "absent"], "is no folder"),
        (["--protocol", "face-free", "--count", "0"], "--count must be"),
        (["--protocol", "speed", "--model", "trg"], "for the bundled model"),
        (["--protocol", "speed", "--weights", "absent.safetensors"], "no weights file"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main(["evaluate", "--out", str(tmp_path / "out"), *arguments]) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err and "Traceback" not in printed.err
    assert not (tmp_path / "out").exists()


@dataclass(frozen=True)
class Record:
    faces: int
    nobody: float | None
    figures: dict[str, object]
    protocol: str = "held-out"
    notes: tuple[str, ...] = ("Said at the end.",)


def test_report_is_readable_and_complete(tmp_path: Path) -> None:
    R = np.tile(np.eye(3), (4, 1, 1))
    figures = binned_figures(Poses(R), Poses(R))
    record = Record(4, None, {"single pass": figures, "two passes": figures})
    content, text = write_report(record, USED, tmp_path)
    saved = json.loads((tmp_path / "held-out.json").read_text(encoding="utf-8"))
    assert saved == json.loads(json.dumps(content))
    assert saved["figures"]["two passes"]["all"] == asdict(figures["all"])
    lines = text.splitlines()
    assert "- faces: 4" in lines and not any("nobody" in line for line in lines)
    assert [line for line in lines if line.startswith("## ")] == [
        "## all heads",
        "## single pass",
        "## two passes",
    ]
    assert any(line.startswith("| two passes | 4 | 0") for line in lines)
    assert not any("yaw 60-100 deg" in line for line in lines), "a row of no head"
    assert "t mean mm" not in text, "a figure that nobody has"
    assert lines[-1] == "Said at the end."
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.slow
def test_speed_of_onnx_and_torch_and_that_they_agree() -> None:
    pytest.importorskip("onnx", reason="onnx is optional: requirements-bench.txt")
    pytest.importorskip("onnxruntime", reason="onnxruntime is optional: requirements-bench.txt")
    weights = REPOSITORY_ROOT / "assets" / "trg_mini.safetensors"
    result = evaluate_speed(weights, runs=3)
    assert result.max_difference < 1e-4
    assert result.weights_mb == pytest.approx(weights.stat().st_size / 1e6)
    assert set(result.figures) == {
        "ONNX Runtime, 1 thread",
        "ONNX Runtime, 2 threads",
        "torch, 1 thread",
    }
    assert all(0 < row.p50_ms <= row.p95_ms for row in result.figures.values())


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(speed, "importlib", importlib)
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(EvaluationError, match=r"onnxruntime: pip install -r requirements-bench"):
        evaluate_speed(REPOSITORY_ROOT / "assets" / "trg_mini.safetensors")
