"""Held-out predictions by many processes: every crop once, none dropped, none twice, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from models.training.predictions import HeldOutPredictions, predict_batches
from models.trg.batch import PoseBatch
from models.trg.network import Trg


class ValidationStoppedError(RuntimeError):
    """It was asked to stop before it was through."""


def predict_shares(
    network: Trg,
    own_batches: Iterable[PoseBatch],
    gathered: Callable[[Any], list[Any]],
    should_stop: Callable[[], bool] = lambda: False,
) -> HeldOutPredictions:
    """Predictions of all processes' crops in their first order, the same in every process.

    own_batches: of this process: of n processes the k-th has every n-th crop from the k-th on.
    gathered: one value of each process, in all of them.
    Raises: ValidationStoppedError; ValueError if no process has a batch.
    """
    own = []
    for batch in own_batches:
        if should_stop():
            raise ValidationStoppedError("Stopped in a validation.")
        own.append(predict_batches(network, [batch]))
    shares = gathered(_joined(own, _one_after_the_other) if own else None)
    present = [share for share in shares if share is not None]
    if not present:
        raise ValueError("There were no batches to predict.")
    return _joined(present, _taking_turns)


def _joined(
    parts: Sequence[HeldOutPredictions], join: Callable[[list[np.ndarray]], np.ndarray]
) -> HeldOutPredictions:
    columns = {f.name: [getattr(part, f.name) for part in parts] for f in fields(parts[0])}
    return HeldOutPredictions(
        **{name: None if values[0] is None else join(values) for name, values in columns.items()}
    )


def _one_after_the_other(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays)


def _taking_turns(arrays: list[np.ndarray]) -> np.ndarray:
    """The first rows of all, then the second ones; the last turn may lack some."""
    joined = np.empty((sum(map(len, arrays)), *arrays[0].shape[1:]), arrays[0].dtype)
    for turn, array in enumerate(arrays):
        joined[turn :: len(arrays)] = array
    return joined
