"""Addresses of the Training tab: pictures, exported weights and reports of runs, by their names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from demo_app.actions.training_acts import EXPORT_KINDS, FILE_PATH
from demo_app.actions.training_desk import why_not
from demo_app.run_state import PREVIEW_FOLDER
from demo_app.runs.evaluations import report_path
from demo_app.runs.exports import export_file
from demo_app.runs.folders import RunError
from demo_app.services import Services

PREVIEW_PATH, REPORT_PATH = "/studio/training/preview", "/studio/training/report"
HEADERS = {"cache-control": "private, max-age=60", "x-content-type-options": "nosniff"}
REPORT_HEADERS = {**HEADERS, "content-security-policy": "sandbox; default-src 'none'; "
                  "img-src data: 'self'; style-src 'unsafe-inline'"}  # fmt: skip


def build_training_routes(services: Services) -> list[Route]:
    """For `demo_app.ui.own_routes`. What is not there is 404 without a word of why."""

    def preview(request: Request) -> Response:
        return _answer(lambda: _preview(services, request), "image/jpeg", HEADERS)

    def export(request: Request) -> Response:
        return _answer(lambda: _export(services, request), "application/octet-stream", HEADERS)

    def report(request: Request) -> Response:
        return _answer(lambda: _report(services, request), None, REPORT_HEADERS)

    return [Route(PREVIEW_PATH, preview), Route(FILE_PATH, export), Route(REPORT_PATH, report)]


def _preview(services: Services, request: Request) -> Path:
    run, step = services.runs.path(request.query_params.get("run", "")), _step(request)
    return run / PREVIEW_FOLDER / f"step-{step:08d}.jpg"


def _export(services: Services, request: Request) -> Path:
    _require_trainer(services)
    kind = request.query_params.get("kind", "")
    if kind not in EXPORT_KINDS:
        raise RunError("There is no such format.")
    return export_file(
        services.runs.path(request.query_params.get("run", "")), _step(request), kind
    )


def _report(services: Services, request: Request) -> Path:
    _require_trainer(services)
    asked = request.query_params
    run = services.runs.path(asked.get("run", ""))
    return report_path(run, asked.get("name", ""), asked.get("file", ""))


def _require_trainer(services: Services) -> None:
    if why := why_not(services):
        raise RunError(why)


def _step(request: Request) -> int:
    text = request.query_params.get("step", "")
    if not text.isdecimal() or len(text) > 8:
        raise RunError("There is no such step.")
    return int(text)


def _answer(find: Callable[[], Path], kind: str | None, headers: dict[str, str]) -> Response:
    try:
        path = find()
    except (RunError, OSError):
        path = None
    if path is None or not path.is_file():
        return Response("There is no such file.", status_code=404, media_type="text/plain")
    name = path.name if kind == "application/octet-stream" else None
    return FileResponse(path, media_type=kind, headers=headers, filename=name)
