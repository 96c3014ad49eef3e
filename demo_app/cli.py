"""The command line: `python -m demo_app VERB`; one verb per job."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

PROGRAM = "python -m demo_app"


@dataclass(frozen=True)
class Demo:
    """Start the app in the browser, as `python app.py` does."""

    port: int | None = None
    """Port of the page; 7860 if not given."""
    host: str | None = None
    """Address to listen on; 127.0.0.1 if not given. On any other one the Training tab only shows
    runs, unless there is a login."""
    auth: str | None = None
    """NAME:PASSWORD that the page asks for; better as the variable TRG_AUTH, which no list of
    processes shows."""

    def run(self) -> int:
        from demo_app.config import AppConfig, ConfigError, login_of
        from demo_app.ui import serve

        try:
            config = AppConfig.from_environment()
            login = login_of(self.auth or "") or config.login
        except ConfigError as error:
            return _refuse(str(error))
        serve(
            replace(
                config,
                server_port=config.server_port if self.port is None else self.port,
                server_name=self.host or config.server_name,
                login=login,
            )
        )
        return 0


@dataclass(frozen=True)
class Benchmark:
    """Measure speed; the last line printed is one JSON object."""

    name: tyro.conf.Positional[
        Literal["pose", "live", "index", "render", "flame", "train", "synthesis"]
    ]
    """pose: frame to pose, by stage. live: webcam to overlay in a real browser. index: questions to
    an index of a million samples. render: a head drawn on a photo, by every renderer.
    flame: 512 heads by our FLAME layer and by that of the smplx package. train: the released TRG's
    training, with pictures from files and without. synthesis: heads rendered and written, by as
    many processes as threads."""
    threads: int = 2
    """Processor threads that the network may use."""

    def run(self) -> int:
        if self.name == "pose":
            from demo_app.benchmarks.pose import run_pose_benchmark

            result = run_pose_benchmark(self.threads)
        elif self.name == "index":
            from demo_app.benchmarks.index import run_index_benchmark

            result = run_index_benchmark(self.threads)
        elif self.name == "train":
            from demo_app.benchmarks.train import run_train_benchmark

            result = run_train_benchmark(self.threads)
        elif self.name == "synthesis":
            from demo_app.benchmarks.synthesis import run_synthesis_benchmark

            result = run_synthesis_benchmark(self.threads)
        elif self.name == "flame":
            from demo_app.benchmarks.flame import run_flame_benchmark

            result = run_flame_benchmark(self.threads)
        elif self.name == "render":
            from demo_app.benchmarks.render import run_render_benchmark

            result = run_render_benchmark(self.threads)
        else:
            from demo_app.benchmarks.live import run_live_benchmark

            result = run_live_benchmark(self.threads)
        _say(json.dumps(result, indent=2))
        _say(json.dumps(result))
        return 0


@dataclass(frozen=True)
class Fetch:
    """Bring the files of the released TRG from their public addresses."""

    what: tyro.conf.Positional[Literal["trg"]] = "trg"
    """trg: the arrays of the released repository and both checkpoints."""
    only: tuple[Literal["arrays", "trg", "trg-multi"], ...] = ("arrays", "trg", "trg-multi")
    """Which parts."""
    root: Path | None = None
    """Folder that holds, or will hold, checkpoint/; the project's own if not given."""

    def run(self) -> int:
        from demo_app.fetch.trg import fetch_trg
        from models.weights import REPOSITORY_ROOT

        report = fetch_trg(self.root or REPOSITORY_ROOT, which=self.only)
        _say(report.text())
        return 0 if report.ok else 1


VERBS = {
    "predict": "demo_app.predict_verb:Predict",
    "demo": "demo_app.cli:Demo",
    "benchmark": "demo_app.cli:Benchmark",
    "evaluate": "demo_app.evaluation.verb:Evaluate",
    "calibrate": "demo_app.evaluation.looks:Calibrate",
    "synthesize": "demo_app.training_verbs:Synthesize",
    "train": "demo_app.train:Train",
    "export": "demo_app.training_verbs:Export",
    "fetch": "demo_app.cli:Fetch",
    "datasets": "demo_app.dataset_verbs:Datasets",
    "index": "demo_app.dataset_verbs:Index",
    "check": "demo_app.dataset_verbs:Check",
    "write-filelist": "demo_app.dataset_verbs:WriteFilelist",
    "write-boxes": "demo_app.dataset_verbs:WriteBoxes",
    "convert-flame": "demo_app.flame_verbs:ConvertFlame",
    "prepare-mica": "demo_app.mica_verbs:PrepareMica",
}
"""Where each verb is: only the one that is asked for is imported, which saves seconds."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit status: 0 all well, 1 some input failed, 2 wrong usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["train"]:  # its defaults depend on the recipe or the configuration
        from demo_app.train import main as train_main

        return train_main(words[1:], prog=f"{PROGRAM} train")
    if words and words[0] in VERBS:
        verb = tyro.cli(_verb(words[0]), args=words[1:], prog=f"{PROGRAM} {words[0]}")
    else:
        verb = tyro.extras.subcommand_cli_from_dict(
            {name: _verb(name) for name in VERBS},
            args=words,
            prog=PROGRAM,
            description="Head poses from pictures, videos, folders and the webcam.",
        )
    try:
        return verb.run()
    except KeyboardInterrupt:
        return _refuse("Stopped.", status=130)


def _verb(name: str) -> type:
    module, attribute = VERBS[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _refuse(sentence: str, status: int = 2) -> int:
    sys.stderr.write(sentence + "\n")
    return status
