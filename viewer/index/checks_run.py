"""Runs every check over a data set, sample by sample, without an index."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from jaxtyping import Float

from viewer.datasets.source import (
    AnnotatedDataset,
    DatasetError,
    Listing,
    Problem,
    Progress,
    SampleDetail,
    silent,
)
from viewer.index.check_table import CHECK_BY_NAME, Scores, findings_of
from viewer.index.checks_picture import PictureFacts, picture_facts
from viewer.index.checks_sample import sample_scores
from viewer.index.checks_set import CheckRow, SetFindings, check_row, set_findings
from viewer.index.predictions import ModelRotations

Array = np.ndarray

CHUNK_KEYS = 32
MOST_NOTES, MOST_SINGLE_NOTES = 40, 8
KEPT_NOTES = 10_000


@dataclass(frozen=True, slots=True)
class CheckedSample:
    """One sample and what was found. image: relative to the root where it is a file below it.

    reason: why label or picture could not be read, "" if they could. partners: by check, the other
    sample that its score is about.
    """

    key: str
    group: str = ""
    split: str = ""
    subject: str = ""
    sequence: str = ""
    frame: int | None = None
    image: str = ""
    size_wh_px: tuple[int, int] | None = None
    R_cam_from_head: Float[Array, "3 3"] | None = None
    t_cam_from_head_mm: Float[Array, "3"] | None = None
    reason: str = ""
    scores: Mapping[str, float] | None = None
    findings: tuple[str, ...] = ()
    partners: Mapping[str, str] | None = None


@dataclass(frozen=True)
class CheckResult:
    """What was found. notes: of the listing, of the samples and of the whole, without repeats.

    is_complete: False if it was stopped. listed: samples that the listing has.
    """

    dataset: AnnotatedDataset
    samples: tuple[CheckedSample, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    listed: int
    is_complete: bool
    seconds: float

    @property
    def finding_count(self) -> int:
        """Samples with a finding, and problems of the listing."""
        return sum(bool(sample.findings) for sample in self.samples) + len(self.problems)

    def worst(self, check: str) -> list[CheckedSample]:
        """The samples with a finding in a check, the worst ones first."""
        found = [sample for sample in self.samples if check in sample.findings]
        badness = CHECK_BY_NAME[check].badness
        return sorted(found, key=lambda s: (-badness(s.scores[check]), s.key))


def _never() -> bool:
    return False


def run_checks(
    dataset: AnnotatedDataset,
    *,
    limit: int | None = None,
    progress: Progress = silent,
    should_stop: Callable[[], bool] = _never,
    workers: int = 0,
    predicted: ModelRotations | None = None,
    split_of: Mapping[str, str] | None = None,
) -> CheckResult:
    """Every check on the samples of a data set.

    limit: the first so many samples. progress: is told samples listed (of None), then done and in
    all. workers: processes beside this one; 0: none. predicted: what a model says. split_of: by
    key, in place of the data set's own splits; a sample that is not in it is in none.
    Raises: DatasetError where nothing of the data set is there.
    """
    start_s = time.monotonic()
    # the files of each sample are no matter here, and fill the memory
    listing = replace(dataset.list_samples(limit, progress), files_of={})
    predicted = predicted or ModelRotations("", {})
    samples: list[CheckedSample] = []
    rows: list[CheckRow] = []
    notes: Counter[str] = Counter()
    is_complete = True
    for read in _read_all(dataset, listing, workers):
        for one in read if split_of is None else _with_splits(read, split_of):
            samples.append(one.checked)
            notes.update(n for n in one.notes if n in notes or len(notes) < KEPT_NOTES)
            if one.row is not None:
                rows.append(one.row)
        progress(len(samples), len(listing.keys))
        if should_stop() and len(samples) < len(listing.keys):
            is_complete = False
            break
    compared = set_findings(rows, predicted.R_of)
    del rows
    for place, sample in enumerate(samples):
        samples[place] = _with_comparisons(sample, compared)
    return CheckResult(
        dataset,
        tuple(samples),
        listing.problems,
        tuple(
            note
            for note in (*listing.notes, predicted.note, *compared.notes, *_counted(notes))
            if note
        ),
        len(listing.keys),
        is_complete,
        time.monotonic() - start_s,
    )


@dataclass(frozen=True)
class _Read:
    """A sample that was read, or could not be: then there is no row to compare."""

    checked: CheckedSample
    row: CheckRow | None
    notes: tuple[str, ...] = ()


def _with_splits(read: Sequence[_Read], split_of: Mapping[str, str]) -> Iterator[_Read]:
    for one in read:
        split = split_of.get(one.checked.key, "")
        row = None if one.row is None else replace(one.row, split=split)
        yield _Read(replace(one.checked, split=split), row, one.notes)


def _read_all(
    dataset: AnnotatedDataset, listing: Listing, workers: int
) -> Iterator[Sequence[_Read]]:
    """In the order of the listing; no more than a few chunks are under way at a time."""
    keys = listing.keys
    chunks = (keys[i : i + CHUNK_KEYS] for i in range(0, len(keys), CHUNK_KEYS))
    if workers < 1:
        for chunk in chunks:
            yield _read_chunk(dataset, chunk)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running: deque[Future[list[_Read]]] = deque()
        try:
            for chunk in chunks:
                running.append(pool.submit(_read_chunk, dataset, chunk))
                if len(running) > 2 * workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()


def _read_chunk(dataset: AnnotatedDataset, keys: Sequence[str]) -> list[_Read]:
    return [_read_one(dataset, key) for key in keys]


def _read_one(dataset: AnnotatedDataset, key: str) -> _Read:
    try:
        detail = dataset.detail(key)
    except DatasetError as error:
        scores = Scores({"label_unreadable": 1.0})
        reason = str(error).replace(f"{dataset.root}/", "")
        return _Read(CheckedSample(key, reason=reason, scores=scores), None)
    facts = picture_facts(detail.sample)
    sample = detail.sample
    scores = sample_scores(
        dataset.info.name, detail, None, facts.problem, size_wh_px=facts.size_wh_px
    )
    checked = CheckedSample(
        key=key,
        group=sample.group,
        split=sample.split,
        subject=sample.subject,
        sequence=sample.sequence,
        frame=sample.frame,
        image=_relative(sample.image, dataset.root),
        size_wh_px=facts.size_wh_px,
        R_cam_from_head=sample.R_cam_from_head,
        t_cam_from_head_mm=sample.t_cam_from_head_mm,
        reason=facts.reason,
        scores=Scores(scores),
    )
    return _Read(checked, check_row(detail, facts), _notes(detail, facts))


def _relative(image: Path | bytes | None, root: Path) -> str:
    if not isinstance(image, Path):
        return ""
    return image.relative_to(root).as_posix() if image.is_relative_to(root) else image.name


def _notes(detail: SampleDetail, facts: PictureFacts) -> tuple[str, ...]:
    """What is unusual and no error."""
    notes = list(detail.notes)
    if facts.size_wh_px is not None and facts.hash_bits is None:
        notes.append("The picture is of one flat colour.")
    return tuple(notes)


def _counted(notes: Counter[str]) -> list[str]:
    """The most frequent notes with the number of samples that have them."""
    shared = [(text, count) for text, count in notes.most_common(MOST_NOTES) if count > 1]
    lines = [f"{text} ({count:,} samples)" for text, count in shared]
    lines += [text for text, count in notes.items() if count == 1][:MOST_SINGLE_NOTES]
    left = len(notes) - len(lines)
    return lines + ([f"{left} other notes on single samples."] if left else [])


def _with_comparisons(sample: CheckedSample, compared: SetFindings) -> CheckedSample:
    scores = Scores(sample.scores or {})
    scores.update(compared.scores.pop(sample.key, {}))
    findings = findings_of(scores)
    partners = {
        name: compared.partners[sample.key, name]
        for name in findings
        if (sample.key, name) in compared.partners
    }
    return replace(sample, scores=scores, findings=findings, partners=partners or None)
