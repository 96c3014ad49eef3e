"""The label-error finder: every check of a data set's annotation, without an index.

Names of the other modules are loaded when they are asked for, so that a process that only wants
the table of checks needs no cv2.
"""

from __future__ import annotations

import importlib

from viewer.index.check_table import (
    CHECK_BY_NAME,
    CHECKS,
    Check,
    findings_of,
    score_text,
    sentence,
)

_PLACE_OF = {
    "PictureFacts": "viewer.index.checks_picture",
    "picture_facts": "viewer.index.checks_picture",
    "sample_scores": "viewer.index.checks_sample",
    "CheckRow": "viewer.index.checks_set",
    "check_row": "viewer.index.checks_set",
    "set_findings": "viewer.index.checks_set",
    "CheckResult": "viewer.index.checks_run",
    "CheckedSample": "viewer.index.checks_run",
    "run_checks": "viewer.index.checks_run",
}

__all__ = [
    "CHECKS",
    "CHECK_BY_NAME",
    "Check",
    "findings_of",
    "score_text",
    "sentence",
    *_PLACE_OF,
]


def __getattr__(name: str) -> object:
    if name not in _PLACE_OF:
        raise AttributeError(f"{__name__} has no {name}.")
    return getattr(importlib.import_module(_PLACE_OF[name]), name)
