"""Addresses of the FLAME tab: a head's mesh while a slider moves, random heads, files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from demo_app.actions.flame_desk import DeskShelf, FlameDesk, mesh_bytes
from demo_app.actions.flame_files import head_file
from demo_app.actions.flame_parameters import FlameTabError, HeadParameters
from demo_app.actions.flame_sampling import sample
from demo_app.services import Services

MESH_PATH, SAMPLE_PATH, FILE_PATH = (f"/studio/flame/{name}" for name in ("mesh", "sample", "file"))
MAX_MESSAGE_BYTES = 64 << 10
HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

Answer = Callable[[FlameDesk, HeadParameters, dict[str, Any]], Response]


def build_flame_routes(services: Services) -> list[Route]:
    """For `demo_app.ui.own_routes`. A desk's token is known to its visitor alone."""
    shelf = services.kept(DeskShelf)
    return [
        Route(path, _posted(shelf, answer), methods=["POST"])
        for path, answer in ((MESH_PATH, _mesh), (SAMPLE_PATH, _sample), (FILE_PATH, _file))
    ]


def _posted(shelf: DeskShelf, answer: Answer) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            message = await _message(request)
            desk = shelf.get(message.get("desk"))
            parameters = HeadParameters.from_message(desk.assets, message)
            return await run_in_threadpool(answer, desk, parameters, message)
        except FlameTabError as error:
            return Response(str(error), status_code=400, media_type="text/plain", headers=HEADERS)

    return endpoint


async def _message(request: Request) -> dict[str, Any]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_MESSAGE_BYTES:
            raise FlameTabError("The message is too long.")
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FlameTabError("The message is no JSON.") from error
    if not isinstance(message, dict):
        raise FlameTabError("The message is no JSON object.")
    return message


def _mesh(desk: FlameDesk, parameters: HeadParameters, message: dict[str, Any]) -> Response:
    return Response(mesh_bytes(desk, parameters), media_type="application/octet-stream")


def _sample(desk: FlameDesk, parameters: HeadParameters, message: dict[str, Any]) -> Response:
    rng = np.random.default_rng()
    new = sample(desk.assets, parameters, str(message.get("kind")), rng, lambda: desk.mirror)
    return Response(json.dumps(new.message()), media_type="application/json", headers=HEADERS)


def _file(desk: FlameDesk, parameters: HeadParameters, message: dict[str, Any]) -> Response:
    made = head_file(desk, parameters, str(message.get("kind")), message.get("view"))
    name = re.sub(r"[^A-Za-z0-9._-]", "_", made.name)
    headers = HEADERS | {"content-disposition": f'attachment; filename="{name}"'}
    return Response(made.content, media_type="application/octet-stream", headers=headers)
