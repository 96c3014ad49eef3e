"""What an input gave, kept so that any of its frames can be shown again without the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Int, UInt8

from demo_app.actions.pose_store import PoseStore
from demo_app.actions.video_frames import read_frame_at
from demo_app.inference.full_heads import FullHead
from demo_app.inference.images import LoadedImage, read_image
from demo_app.inference.records import FrameResult
from demo_app.inference.video import VideoRun

Array = np.ndarray


@dataclass(frozen=True)
class ShownFrame:
    """One picture and its heads: everything on the screen is of the same one.

    title: what to call it. note: what was done to the picture when it was read; "" if nothing.
    heads: the full heads fitted to its faces, with the head model's triangles; empty if not asked.
    """

    image_rgb: UInt8[Array, "h w 3"]
    result: FrameResult
    triangles: Int[Array, "f 3"]
    model_label: str
    title: str
    note: str = ""
    heads: tuple[FullHead, ...] = ()
    head_triangles: Int[Array, "k 3"] = field(default_factory=lambda: np.zeros((0, 3), np.int64))


class Results(Protocol):
    """What the view needs of an input's results.

    folder: where files made from them go. stem: start of their names.
    tables: files with the rows of all frames, by format.
    """

    folder: Path
    stem: str
    tables: dict[str, Path]

    def __len__(self) -> int: ...

    def frame(self, index: int, with_picture: bool = True) -> ShownFrame:
        """with_picture=False leaves the picture out where reading it takes time."""
        ...


NO_PICTURE = np.zeros((1, 1, 3), np.uint8)


@dataclass
class PictureResult:
    """One still picture. loaded: kept in memory; seconds: what the network and detector took."""

    folder: Path
    stem: str
    tables: dict[str, Path]
    loaded: LoadedImage
    result: FrameResult
    triangles: Int[Array, "f 3"]
    model_label: str
    seconds: float

    def __len__(self) -> int:
        return 1

    def frame(self, index: int = 0, with_picture: bool = True) -> ShownFrame:
        """The picture itself, whatever the index."""
        return ShownFrame(
            self.loaded.image_rgb,
            self.result,
            self.triangles,
            self.model_label,
            self.loaded.source,
            self.loaded.note,
        )


@dataclass
class FolderResult:
    """Several pictures; they are read again when one is shown.

    paths: where they lie, in the order of `results`. problems: a sentence for each that failed.
    archive: the annotated pictures as a ZIP file.
    """

    folder: Path
    triangles: Int[Array, "f 3"]
    model_label: str
    stem: str = "pictures"
    tables: dict[str, Path] = field(default_factory=dict)
    paths: list[Path] = field(default_factory=list)
    results: list[FrameResult] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    archive: Path | None = None

    def __len__(self) -> int:
        return len(self.results)

    def frame(self, index: int, with_picture: bool = True) -> ShownFrame:
        """Raises: ImageError if the file is gone."""
        result, image_rgb, note = self.results[index], NO_PICTURE, ""
        if with_picture:
            loaded = read_image(self.paths[index], name=result.source)
            image_rgb, note = loaded.image_rgb, loaded.note
        return ShownFrame(image_rgb, result, self.triangles, self.model_label, result.source, note)


@dataclass
class VideoResult:
    """A video: poses of every frame on disk, pictures from the file itself.

    run: what was done. annotated: the drawn copy, which the drawing switches may replace.
    """

    folder: Path
    stem: str
    path: Path
    title: str
    triangles: Int[Array, "f 3"]
    model_label: str
    store: PoseStore
    tables: dict[str, Path]
    run: VideoRun
    annotated: Path | None

    def __len__(self) -> int:
        return len(self.store)

    def frame(self, index: int, with_picture: bool = True) -> ShownFrame:
        """Raises: VideoError if the frame cannot be read."""
        result = self.store.result(index)
        image_rgb = read_frame_at(self.path, result.time_s) if with_picture else NO_PICTURE
        title = f"{self.title}, frame {index}, {result.time_s:.2f} s"
        return ShownFrame(image_rgb, result, self.triangles, self.model_label, title)
