"""Listing the data sets that were found and opening one; building its index in the background."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path

from demo_app.actions.dataset_picture import prune_thumbnails
from demo_app.actions.dataset_shelf import (
    DatasetActionError,
    JobState,
    OpenDataset,
    Report,
    index_of,
    shelf_of,
)
from demo_app.actions.dataset_summary import summary_html
from demo_app.actions.progress_text import end_html, progress_html
from demo_app.actions.views import notice_html
from demo_app.inference.export import atomic_file
from demo_app.services import Services
from viewer.datasets.registry import (
    DATASET_INFOS,
    SAMPLES_ROOT,
    FoundDataset,
    bundled_root,
    find_datasets,
)
from viewer.datasets.registry import open_dataset as open_registered
from viewer.datasets.source import DatasetError
from viewer.index.build import IndexReport, build_index
from viewer.index.build_rows import signature_of
from viewer.index.schema import AnnotationIndexError, IndexMissingError, index_folder

__all__ = [
    "DATASET_PROBLEMS",
    "DatasetChoice",
    "cancel_index",
    "datasets_html",
    "index_html",
    "index_state",
    "job_html",
    "list_datasets",
    "open_dataset",
    "shown_root",
    "start_index",
    "summary_html",
]

INDEX_JOB = "index"
ROOTS_FILE = "roots.json"
BUNDLED_FILE = "bundled.txt"
"""Beside the index of a bundled set: the signature of the files it was built of."""

INDEX_WORKERS = 2


@dataclass(frozen=True)
class DatasetChoice:
    """A row of the list of data sets.

    name: for `open_dataset` and addresses. state: "found" (the real one), "bundled" (our sample
    set in its format) or "missing". label: for a menu. root: where it lies, "" where the visitor
    may not know. note: what to do where the real one is missing, with the link. licence, link: of
    the real data set.
    """

    name: str
    title: str
    label: str
    state: str
    root: str
    note: str
    licence: str
    link: str


def list_datasets(services: Services) -> tuple[DatasetChoice, ...]:
    """All data sets in the registry's order; remembered roots count as found.

    Where paths on the server may not be typed (public Space, shared link), only bundled ones are
    there and no root is told.
    """
    by_name = {found.info.name: found for found in find_datasets()}
    remembered = _remembered(services)
    private = services.config.local_paths_allowed
    return tuple(
        _choice(by_name[name], remembered.get(name), private)
        for name in DATASET_INFOS
        if name in by_name
    )


def _choice(found: FoundDataset, remembered: Path | None, private: bool) -> DatasetChoice:
    info = found.info
    sample = bundled_root(info.name)
    root, state = found.root, "missing"
    if private and remembered is not None:
        root, state = remembered, _state_of(remembered)
    elif private and found.root is not None:
        state = "bundled" if found.is_bundled else "found"
    elif not private:
        root, state = sample, "bundled" if sample is not None else "missing"
    words = {"found": "", "bundled": " – bundled samples", "missing": " – not found"}
    return DatasetChoice(
        name=info.name,
        title=info.title,
        label=info.title + words[state],
        state=state,
        root=str(root) if private and root is not None else "",
        note="" if state == "found" else found.missing,
        licence=info.licence,
        link=info.link,
    )


def _state_of(root: Path) -> str:
    return "bundled" if _is_bundled(root) else "found"


def datasets_html(services: Services) -> str:
    """The same as a table: found or missing, licence, link."""
    words = {"found": "found", "bundled": "bundled samples", "missing": "not found"}
    rows = "".join(
        f'<tr><th scope="row">{escape(choice.title)}</th>'
        f'<td><span class="ds-state ds-state-{choice.state}">{words[choice.state]}</span></td>'
        f"<td>{escape(choice.licence)}</td>"
        f'<td><a href="{escape(choice.link)}" target="_blank" rel="noopener noreferrer">'
        f"where to get it</a></td></tr>"
        for choice in list_datasets(services)
    )
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("Data set", "Here", "Licence", "Source")
    )
    return (
        '<div class="table-scroll"><table class="ds-sets"><thead><tr>'
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def open_dataset(services: Services, name: str, root: str = "") -> OpenDataset:
    """The data set in the folder that was typed; "" takes the remembered, the found or the bundled.

    The root is remembered for the next start, unless it is that of a bundled sample set, so that
    the real one is found as soon as it is there. Opening again gives the same data_id. The index of
    a bundled sample set is built at once, and again when its files have changed.
    Raises: DatasetActionError (unknown name, no such folder, or a path where none may be typed),
    DatasetError.
    """
    if name not in DATASET_INFOS:
        raise DatasetActionError(f"There is no data set {name!r}: choose one of the list.")
    folder = _root_of(services, name, root.strip())
    dataset = open_registered(name, folder)
    index = index_folder(services.config.data_dir, name, folder)
    opened = OpenDataset(index.name, dataset, index, _is_bundled(folder))
    shelf = shelf_of(services)
    with shelf.lock:
        opened = shelf.opened.setdefault(opened.data_id, opened)
    if services.config.local_paths_allowed and not opened.is_bundled:
        _remember(services, name, folder)
    prune_thumbnails(services, opened)
    if opened.is_bundled and not _is_fresh(services, opened):
        start_index(services, opened.data_id)
    return opened


def shown_root(services: Services, opened: OpenDataset) -> str:
    """For the folder's field; "" for bundled samples, and where the visitor may not know."""
    hidden = opened.is_bundled or not services.config.local_paths_allowed
    return "" if hidden else str(opened.dataset.root)


def _is_fresh(services: Services, opened: OpenDataset) -> bool:
    """Whether the index of a bundled set is of its files as they are now."""
    if not index_state(services, opened.data_id)[0]:
        return False
    seen = opened.folder / BUNDLED_FILE
    return seen.is_file() and seen.read_text(encoding="utf-8") == _files_signature(opened)


def _files_signature(opened: OpenDataset) -> str:
    root = opened.dataset.root
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return signature_of(root, files)


def _root_of(services: Services, name: str, typed: str) -> Path:
    sample = bundled_root(name)
    if not services.config.local_paths_allowed:
        if typed and (sample is None or Path(typed).resolve() != sample.resolve()):
            raise DatasetActionError(
                "Folders of this server cannot be opened from a public page: only the bundled "
                "sample sets are here. Run the program on your own computer for your own data."
            )
        if sample is None:
            info = DATASET_INFOS[name]
            raise DatasetActionError(f"No sample set of {info.title} is bundled: {info.link}")
        return sample
    if typed:
        folder = Path(typed).expanduser()
        if not folder.is_dir():
            raise DatasetActionError(f"{typed} is no folder on this computer.")
        return folder.resolve()
    remembered = _remembered(services).get(name)
    if remembered is not None:
        return remembered
    found = next((one for one in find_datasets() if one.info.name == name), None)
    if found is None or found.root is None:
        raise DatasetActionError(found.missing if found else f"{name} was not found.")
    return found.root.resolve()


def _is_bundled(root: Path) -> bool:
    return root.resolve().is_relative_to(SAMPLES_ROOT.resolve())


def _remembered(services: Services) -> dict[str, Path]:
    """Roots that were opened before and are still there."""
    path = services.config.data_dir / ROOTS_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    roots = {name: Path(root) for name, root in content.items() if isinstance(root, str)}
    return {name: root for name, root in roots.items() if name in DATASET_INFOS and root.is_dir()}


def _remember(services: Services, name: str, root: Path) -> None:
    roots = {key: str(path) for key, path in _remembered(services).items()}
    if roots.get(name) == str(root):
        return
    services.config.data_dir.mkdir(parents=True, exist_ok=True)
    with atomic_file(services.config.data_dir / ROOTS_FILE) as file:
        file.write(json.dumps(roots | {name: str(root)}, indent=1).encode())


def index_state(services: Services, data_id: str) -> tuple[bool, JobState]:
    """(whether there is an index to browse, the job that builds it). Raises: DatasetActionError."""
    state = shelf_of(services).state(data_id, INDEX_JOB)
    try:
        index_of(services, data_id)
    except IndexMissingError:
        return False, state
    return True, state


def start_index(services: Services, data_id: str, limit: int | None = None) -> JobState:
    """Build or freshen the index in the background: one job a data set, whoever asks.

    Poll `index_state` (a gr.Timer); a page that is reloaded finds the job still running.
    """
    shelf = shelf_of(services)
    opened = shelf.get(data_id)

    def work(report: Report, should_stop: Callable[[], bool]) -> str:
        signature = _files_signature(opened) if opened.is_bundled else ""
        built = build_index(
            opened.dataset,
            opened.folder,
            limit=limit,
            workers=0 if opened.is_bundled else INDEX_WORKERS,
            progress=report,
            should_stop=should_stop,
        )
        if signature and built.is_complete:
            with atomic_file(opened.folder / BUNDLED_FILE) as file:
                file.write(signature.encode())
        return _built_sentence(built)

    return shelf.start(data_id, INDEX_JOB, work).state


def _built_sentence(built: IndexReport) -> str:
    if not built.is_complete:
        return "Stopped; what was read is kept, and the next build goes on from there."
    said = f"{built.rows:,} samples in the index"
    if built.unchanged:
        said += f", {built.unchanged:,} of them unchanged"
    if built.unreadable:
        said += f"; {built.unreadable:,} cannot be read"
    return said + "."


def cancel_index(services: Services, data_id: str) -> None:
    """Ask the job to stop; what it has built is kept and the next start goes on from there."""
    shelf_of(services).cancel(data_id, INDEX_JOB)


def index_html(services: Services, data_id: str) -> str:
    """Progress bar, or how the job ended, or that there is no index yet."""
    try:
        there, state = index_state(services, data_id)
    except DatasetActionError as error:
        return notice_html(str(error), "info")
    return job_html(state, "samples") or (
        "" if there else notice_html("There is no index yet: build it to browse.", "info")
    )


def job_html(state: JobState, unit: str) -> str:
    """Progress or the end of a shared job; "" where there was none."""
    if state.is_running:
        return progress_html(state.progress, unit)
    if state.kind == "failed":
        return notice_html(state.sentence)
    return end_html(state.sentence, ()) if state.sentence else ""


DATASET_PROBLEMS = (DatasetActionError, DatasetError, AnnotationIndexError)
"""What these functions raise: messages are sentences for the screen."""
