"""The verb `predict`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from demo_app.predict_files import Format, PredictJob, predict_files
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


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _refuse(sentence: str) -> int:
    sys.stderr.write(sentence + "\n")
    return 2
