"""Fixtures that every room's tests share, and the rule that CI skips nothing it can run.

This file imports nothing of ours: the shape checker (`--jaxtyping-packages` in pyproject.toml) only
sees modules that are imported after it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

REPO_ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "") not in ("", "0", "false")
NEVER_SKIPPED_IN_CI = {"ui", "gl"}

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"

hypothesis.settings.register_profile("default", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.load_profile("ci" if IN_CI else "default")


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The folder that holds app.py."""
    return REPO_ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Sample data beside the repository, on machines that have it; its licences keep it out."""
    folder = REPO_ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the sample data folder ../shared/data is not on this machine")
    return folder


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Chromium's program, for Playwright's `executable_path`."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("Chromium is not installed (apt-get install chromium)")


def _fail_instead_of_skip(report: pytest.TestReport | pytest.CollectReport, name: str) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{name} may not be skipped in CI. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    marks = {mark.name for mark in item.iter_markers()}
    xfail = hasattr(report, "wasxfail")
    if IN_CI and report.skipped and not xfail and marks & NEVER_SKIPPED_IN_CI:
        _fail_instead_of_skip(report, item.nodeid)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    if IN_CI and report.skipped:
        _fail_instead_of_skip(report, collector.nodeid)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The run ends by printing what was skipped, grouped by reason."""
    by_reason: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        by_reason.setdefault(reason.removeprefix("Skipped: "), []).append(report.nodeid)
    terminalreporter.section("not tested on this machine")
    if not by_reason:
        terminalreporter.write_line("Nothing was skipped.")
    for reason, tests in sorted(by_reason.items()):
        terminalreporter.write_line(f"{len(tests)} skipped: {reason}")
        for test in sorted(set(tests)):
            terminalreporter.write_line(f"    {test}")
