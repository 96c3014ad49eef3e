"""Processes that synthesise share the processors instead of fighting for them."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch

from viewer.synthesis.generate import one_thread_each


def test_a_process_that_starts_later_computes_on_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    one_thread_each()
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(torch.get_num_threads).result() == 1
        assert pool.submit(os.getenv, "OPENBLAS_NUM_THREADS").result() == "3", "was told otherwise"
