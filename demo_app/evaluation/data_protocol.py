"""A data-set protocol from its name to its report: samples, answers, figures, files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from demo_app.evaluation.chunks import Parts, Run, in_this_process, run_in_parts, write_table
from demo_app.evaluation.faces import Progress, no_progress
from demo_app.evaluation.model_file import ModelFile
from demo_app.evaluation.protocol_files import write_protocol_report
from demo_app.evaluation.protocol_report import ProtocolResult
from demo_app.evaluation.sample_rows import ProtocolWork
from demo_app.evaluation.summary import DRAWS, ROUNDED_TO, SEED, result_hash, summarise
from models.weights import MODELS
from viewer.datasets.protocols import PROTOCOLS, Protocol, protocol_subset

SAMPLES_FILE = "samples.parquet"

_EULER = {
    "trg": "TRG's: R = Rz(roll) Rx(pitch) Ry(yaw), SciPy's extrinsic yxz",
    "300w-lp": "300W-LP's: R = Rx(-pitch) Ry(yaw) Rz(roll), SciPy's intrinsic XYZ",
}

_DIFFERENCES = {
    False: "; differences are taken into -180 to 180 degrees",
    True: "; of the two triples of a rotation the one nearer to the label counts",
}


@dataclass(frozen=True)
class Request:
    """What is asked for. frames: file with the names of the samples.

    passes: None: as the model is meant, see `ProtocolWork`. device: None: CUDA where there is one.
    count: so many samples, evenly over the protocol's; a report then says that it is no protocol.
    """

    protocol: str
    root: Path
    out: Path
    model: ModelFile
    frames: Path | None = None
    box_file: Path | None = None
    passes: int | None = None
    device: str | None = None
    count: int | None = None


def evaluate_protocol(
    request: Request, run: Run = in_this_process, progress: Progress = no_progress
) -> ProtocolResult:
    """Judges every sample and writes report.html, report.md, report.json, samples.parquet and the
    pictures. A stopped one goes on with the same request.

    Raises: EvaluationError, CheckpointError, DatasetError, ValueError.
    """
    started_s = time.monotonic()
    protocol = PROTOCOLS[request.protocol]
    work, model = _work(request), request.model
    dataset = work.dataset()
    listing = dataset.list_samples(progress=lambda n, m: progress(n, m or 0, "samples listed"))
    subset = protocol_subset(request.protocol, dataset, listing.keys, request.frames)
    keys = _evenly(subset.keys, request.count)
    choices = _choices(work, protocol, request, len(keys))
    mark = {
        "choices": choices,
        "model": model.sha256,
        "root": str(request.root.resolve()),
        "keys": list(keys),
    }
    table = run_in_parts(work, keys, Parts(request.out, mark), run, progress, "samples")
    write_table(table, request.out / SAMPLES_FILE)
    summary = summarise(table, protocol, model.shown)
    result = ProtocolResult(
        protocol=protocol,
        model=model,
        root=request.root,
        subset=subset,
        choices=choices,
        summary=summary,
        listing_problems=listing.problems,
        listing_notes=listing.notes,
        result_hash=result_hash(summary, choices, model.sha256),
        seconds=time.monotonic() - started_s,
        device=work.device,
        count=request.count,
    )
    write_protocol_report(result, work.source(), table, request.out)
    return result


def _work(request: Request) -> ProtocolWork:
    model = request.model
    device = request.device or ("cuda" if torch.cuda.is_available() else "cpu")
    passes = request.passes or (2 if MODELS[model.name].looks_upright else 1)
    root, boxes = request.root.resolve(), request.box_file
    boxes = None if boxes is None else boxes.resolve()
    return ProtocolWork(request.protocol, root, boxes, model, device, passes)


def _evenly(keys: tuple[str, ...], count: int | None) -> tuple[str, ...]:
    if count is None or count >= len(keys):
        return keys
    return tuple(keys[i * len(keys) // count] for i in range(count))


def _choices(
    work: ProtocolWork, protocol: Protocol, request: Request, samples: int
) -> dict[str, str]:
    """Everything that was decided, in words; the report prints it and the hash covers it."""
    looks = {
        1: "one: the network sees the protocol's crop",
        2: "two: the network looks again at the crop that it asks for, as the app does",
    }
    alignment = "none"
    if protocol.aligns_sequences:
        alignment = (
            "head frames: of each sequence the Karcher mean of the turns from prediction to label "
            "is taken out, found from the test's own labels (Cobo et al. 2024); t with BIWI's "
            "origin; no ADD"
        )
    frames = {
        "all": "every frame with picture and pose",
        "persons": protocol.meaning,
        "angles": "stored |yaw|, |pitch|, |roll| at most 99 degrees",
        "split": "the data set's own held-out part",
        "list": "those of a list",
    }[protocol.rule]
    if request.frames is not None:
        frames = f"those of the list {request.frames.name}"
    return {
        "frames": f"{frames}; {samples:,} samples",
        **work.source().choices,
        "looks": looks[work.passes],
        "Euler angles": _EULER[protocol.euler] + _DIFFERENCES[protocol.takes_nearer_angles],
        "alignment": alignment,
        "averages": "over samples, none left out (TRG's own code drops the last partial batch)",
        "bins": "geodesic error by the label's yaw and pitch in 300W-LP's convention",
        "intervals": f"95 %, bootstrap over people or photos, {DRAWS} draws, seed {SEED}",
        "hash": "of all these choices, the weights, the data, every answer rounded to "
        f"{ROUNDED_TO} decimals and the figures; not of time, date, folder or machine",
    }
