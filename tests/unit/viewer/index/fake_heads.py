"""A data set that is made up: a text file per sample, so that an index of it can be built anywhere.

At module level, so that worker processes can make one too.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from models.geometry.cameras import camera_from_intrinsics
from models.geometry.rotations import matrix_from_ypr_300wlp
from viewer.datasets.sample import Sample
from viewer.datasets.source import (
    DatasetError,
    DatasetInfo,
    Listing,
    Problem,
    Progress,
    SampleDetail,
    silent,
)

INFO = DatasetInfo("biwi", "Made-up heads", "Free.", "https://example.org", ())


@dataclass(frozen=True)
class FakeHeads:
    """Heads as `write_heads` wrote them. log: a line is added per sample that is read."""

    root: Path
    log: Path | None = None
    seconds_per_sample: float = 0.0
    info: DatasetInfo = INFO

    def list_samples(self, limit: int | None = None, progress: Progress = silent) -> Listing:
        keys = sorted(
            path.relative_to(self.root).with_suffix("").as_posix()
            for path in self.root.rglob("*.json")
        )[:limit]
        files = {key: (f"{key}.json", f"{key}.png") for key in keys}
        problems = tuple(Problem(path.name, "It is odd.") for path in self.root.glob("*.odd"))
        return Listing(tuple(keys), problems, ("A made-up layout.",), files)

    def read(self, key: str) -> Sample:
        return self.detail(key).sample

    def detail(self, key: str) -> SampleDetail:
        time.sleep(self.seconds_per_sample)
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(key + "\n")
        try:
            said = json.loads((self.root / f"{key}.json").read_text())
        except ValueError as error:
            raise DatasetError(f"{key}.json is damaged: {error}.") from error
        subject, sequence, name = key.split("/")
        camera = camera_from_intrinsics((64, 48), 60.0, 61.0, 32.0, 24.0)
        sample = Sample(
            dataset="biwi",
            key=key,
            group=subject,
            image=self.root / f"{key}.png",
            camera=camera,
            R_cam_from_head=matrix_from_ypr_300wlp(*said["ypr_deg"]),
            t_cam_from_head_mm=None if said["t_mm"] is None else np.array(said["t_mm"], float),
            landmarks_68_px=None,
            box_xyxy_px=np.array([10.0, 8.0, 40.0, 36.0]),
            split="train" if subject < "S3" else "test",
            subject=subject,
            sequence=sequence,
            frame=int(name.split("_")[1]),
        )
        return SampleDetail(sample)


def write_head(root: Path, key: str, ypr_deg: tuple[float, float, float], seed: int = 0) -> None:
    path = root / f"{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    t_mm = None if seed % 10 == 9 else (seed % 7 * 10.0, 5.0, 800.0 + seed % 100)
    path.write_text(json.dumps({"ypr_deg": ypr_deg, "t_mm": t_mm}))
    picture = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)
    cv2.imwrite(str(root / f"{key}.png"), picture)


def write_heads(root: Path, count: int) -> list[str]:
    """Several subjects with sequences of ten frames that turn slowly; a frame number is missing."""
    keys = []
    for n in range(count):
        subject, sequence, frame = n // 40, n // 10 % 4, n % 10 + (n % 10 > 4)
        key = f"S{subject}/walk{sequence}/Frame_{frame:05d}"
        write_head(root, key, (frame * 3.0 - 12 + subject, sequence * 5.0 - 10, subject * 1.5), n)
        keys.append(key)
    return keys
