"""The command line: `python -m demo_app VERB`; one verb per job."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from demo_app.dataset_verbs import Check, Datasets, Index, WriteBoxes, WriteFilelist
from demo_app.evaluation.verb import Evaluate
from demo_app.predict_files import Format, PredictJob, predict_files
from demo_app.training_verbs import Synthesize, Train
from models.geometry.cameras import CameraError
from models.trg.checkpoints import CheckpointError

ModelName = Literal["trg-mini", "trg", "trg-multi"]


@dataclass(frozen=True)
class Predict:
    """Head poses of pictures, videos and folders, written as files."""

    inputs: tyro.conf.Positional[tuple[str, ...]]
    """Pictures, videos and folders of them."""
    out: Path
    """Folder for the results; made if it is not there."""
    model: ModelName = "trg-mini"
    """Which network."""
    fov_deg: float | None = None
    """Horizontal field of view of the camera, in degrees."""
    K: tuple[float, float, float, float] | None = None
    """fx fy cx cy of the camera, in pixels of the input."""
    exif: bool = False
    """Insist on EXIF: an input without a usable focal length is an error. Without any camera
    option EXIF is taken where there is one, elsewhere a field of view of 40 degrees is assumed."""
    format: tuple[Format, ...] = ("json",)
    """What to write for each input: json, csv, parquet, glb (pictures only)."""
    draw: bool = False
    """Also write the picture or video with the poses drawn on it."""
    mesh: Literal["none", "wireframe", "shaded"] = "wireframe"
    """How --draw shows the face mesh."""
    smooth: bool = False
    """Smooth the poses of videos over time."""
    average_mirror: bool = False
    """Answer with the mean of what the network says of each face and of its mirror image."""
    recursive: bool = False
    """Look into the sub folders of folders."""
    device: str | None = None
    """cpu or cuda; the GPU where there is one."""

    def run(self) -> int:
        chosen = [self.fov_deg is not None, self.K is not None, self.exif]
        if sum(chosen) > 1:
            return _refuse("Give one of --fov-deg, --K and --exif, not several.")
        if not self.inputs:
            return _refuse("Give at least one picture, video or folder.")
        job = PredictJob(
            inputs=self.inputs,
            out=self.out,
            model=self.model,
            fov_deg=self.fov_deg,
            intrinsics=self.K,
            insist_on_exif=self.exif,
            formats=self.format,
            draw=self.draw,
            mesh=self.mesh,
            smooth=self.smooth,
            average_mirror=self.average_mirror,
            recursive=self.recursive,
            device=self.device,
        )
        try:
            return predict_files(job, say=_say)
        except (CheckpointError, CameraError) as error:
            return _refuse(str(error))


@dataclass(frozen=True)
class Demo:
    """Start the app in the browser, as `python app.py` does."""

    port: int | None = None
    """Port of the page; 7860 if not given."""

    def run(self) -> int:
        from demo_app.config import AppConfig
        from demo_app.ui import serve

        config = AppConfig.from_environment()
        serve(replace(config, server_port=self.port) if self.port is not None else config)
        return 0


@dataclass(frozen=True)
class Benchmark:
    """Measure speed; the last line printed is one JSON object."""

    name: tyro.conf.Positional[Literal["pose", "live", "index"]]
    """pose: frame to pose, by stage. live: webcam to overlay in a real browser. index: questions to
    an index of a million samples."""
    threads: int = 2
    """Processor threads that the network may use."""

    def run(self) -> int:
        if self.name == "pose":
            from demo_app.benchmarks.pose import run_pose_benchmark

            result = run_pose_benchmark(self.threads)
        elif self.name == "index":
            from demo_app.benchmarks.index import run_index_benchmark

            result = run_index_benchmark(self.threads)
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


Verb = (
    Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Benchmark, tyro.conf.subcommand("benchmark")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Synthesize, tyro.conf.subcommand("synthesize")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Fetch, tyro.conf.subcommand("fetch")]
    | Annotated[Datasets, tyro.conf.subcommand("datasets")]
    | Annotated[Index, tyro.conf.subcommand("index")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[WriteFilelist, tyro.conf.subcommand("write-filelist")]
    | Annotated[WriteBoxes, tyro.conf.subcommand("write-boxes")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit status: 0 all well, 1 some input failed, 2 wrong usage."""
    verb = tyro.cli(
        Verb,
        args=list(sys.argv[1:] if arguments is None else arguments),
        prog="python -m demo_app",
        description="Head poses from pictures, videos, folders and the webcam.",
    )
    try:
        return verb.run()
    except KeyboardInterrupt:
        return _refuse("Stopped.", status=130)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _refuse(sentence: str, status: int = 2) -> int:
    sys.stderr.write(sentence + "\n")
    return status
