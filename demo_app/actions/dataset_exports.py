"""The filtered set as a file: the data set's own list, CSV, Parquet, or drawn pictures."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from demo_app.actions.background import Job, Progress, removed_on_error
from demo_app.actions.dataset_picture import DEFAULT_LAYERS, encode_picture
from demo_app.actions.dataset_shelf import (
    DatasetActionError,
    OpenDataset,
    flags_of,
    index_of,
    shelf_of,
)
from demo_app.inference.export import atomic_file
from demo_app.inference.output_names import output_names
from demo_app.services import Services, Visitor
from viewer.datasets.file_lists import arkitface_csv, files_txt
from viewer.datasets.sample import UnreadablePictureError
from viewer.datasets.source import DatasetError
from viewer.index.filters import Filters, Sort

MAX_OVERLAYS = 2000
PROBLEMS_NAME = "left_out.txt"


def biwi_list(keys: Iterable[str]) -> str:
    """BIWI's frames as its box file names them: "01/frame_00003_rgb.png", one a line."""
    return "".join(f"{key}_rgb.png\n" for key in keys)


LISTS: dict[str, tuple[str, Callable[[Iterable[str]], str]]] = {
    "300w-lp": ("files.txt", files_txt),
    "aflw2000": ("files.txt", files_txt),
    "arkitface": ("ARKitFace_filtered.csv", arkitface_csv),
    "biwi": ("biwi_frames.txt", biwi_list),
}
"""Name and writer of each data set's own list."""


def export_formats(services: Services, data_id: str) -> tuple[tuple[str, str], ...]:
    """(label, name) for a menu: "list" only where the data set has a list format of its own."""
    info = shelf_of(services).get(data_id).info
    own = []
    if info.name in LISTS:
        own = [(f"List as {info.title} has it ({LISTS[info.name][0]})", "list")]
    return (
        *own,
        ("Table with all columns (CSV)", "csv"),
        ("Table with all columns (Parquet)", "parquet"),
        ("Pictures with the annotation drawn (ZIP)", "overlays"),
    )


def export_samples(
    services: Services,
    visitor: Visitor,
    data_id: str,
    filters: Filters,
    name: str,
    layers: Sequence[str] = DEFAULT_LAYERS,
    model: str = "",
) -> Iterator[Progress | Path]:
    """Progress, then the file in the visitor's folder. name: "list", "csv", "parquet", "overlays".

    layers: drawn on overlays, of which there are at most `MAX_OVERLAYS`; the visitor's Cancel ends
    them with what there is. model: whose errors the filters may be about.
    Raises: DatasetActionError, FilterError, BusyError.
    """
    opened, index = shelf_of(services).get(data_id), index_of(services, data_id)
    if name not in [known for _, known in export_formats(services, data_id)]:
        raise DatasetActionError(f"There is no export {name!r} of this data set.")
    flagged = tuple(flags_of(services, data_id).flagged_keys())
    if not index.count(filters, flagged, model):
        raise DatasetActionError("No sample passes these filters: there is nothing to export.")
    folder = visitor.new_folder("export")
    stem = opened.info.name

    def work(report: Callable[[int, int | None], None], cancelled: Callable[[], bool]) -> Path:
        with removed_on_error(folder):
            if name == "list":
                return _write_list(opened, index.keys(filters, Sort(), flagged, model), folder)
            if name == "csv":
                index.export_csv(filters, folder / f"{stem}.csv", flagged, model)
                return folder / f"{stem}.csv"
            if name == "parquet":
                index.export_parquet(filters, folder / f"{stem}.parquet", flagged, model)
                return folder / f"{stem}.parquet"
            keys = index.keys(filters, Sort(), flagged, model)[:MAX_OVERLAYS]
            path = folder / f"{stem}_overlays.zip"
            return _write_overlays(opened, keys, layers, path, report, cancelled)

    yield from Job(visitor, work).watch()


def _write_list(opened: OpenDataset, keys: Iterable[str], folder: Path) -> Path:
    name, write = LISTS[opened.info.name]
    with atomic_file(folder / name) as file:
        file.write(write(keys).encode())
    return folder / name


def _write_overlays(
    opened: OpenDataset,
    keys: Sequence[str],
    layers: Sequence[str],
    path: Path,
    report: Callable[[int, int | None], None],
    cancelled: Callable[[], bool],
) -> Path:
    left_out = []
    names = output_names([key.replace("/", "_") for key in keys])
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for i, (key, name) in enumerate(zip(keys, names, strict=True)):
            if cancelled():
                left_out.append(f"Cancelled after {i} of {len(keys)} samples.")
                break
            try:
                archive.writestr(f"{name}.jpg", encode_picture(opened, key, layers))
            except (DatasetError, UnreadablePictureError):
                left_out.append(f"{key}: its picture or label cannot be read.")
            report(i + 1, len(keys))
        if left_out:
            archive.writestr(PROBLEMS_NAME, "\n".join(left_out) + "\n")
    return path
