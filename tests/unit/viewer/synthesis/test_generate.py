"""Processes that synthesise share the processors instead of fighting for them."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch

from viewer.synthesis.generate import THREAD_VARIABLES, one_thread_each


def test_a_process_that_starts_meanwhile_computes_on_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with one_thread_each(), ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(torch.get_num_threads).result() == 1
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "3"


def test_the_environment_is_as_it_was_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    with pytest.raises(RuntimeError), one_thread_each():
        assert {os.environ[name] for name in THREAD_VARIABLES} == {"1"}
        raise RuntimeError
    assert {name: os.environ.get(name) for name in THREAD_VARIABLES} == before
