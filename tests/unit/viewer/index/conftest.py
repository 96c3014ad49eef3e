"""A small index of made-up rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from viewer.datasets.source import Problem
from viewer.index.build_table import publish, with_findings
from viewer.index.made_up import made_up_rows

MADE_UP_ROWS = 6000


@pytest.fixture(scope="session")
def made_up_table() -> pa.Table:
    """In the order of the keys."""
    return with_findings(made_up_rows(0, MADE_UP_ROWS, 3).sort_by("key"))


@pytest.fixture(scope="session")
def made_up_folder(made_up_table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made-up")
    said = {"dataset": "made-up", "root": "nowhere"}
    publish(made_up_table, folder, said, [Problem("a.txt", "It is empty.")], ["One note."])
    return folder
