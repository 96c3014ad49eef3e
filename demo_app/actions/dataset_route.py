"""Addresses that give out pictures of samples: bytes of what is in an open index, nothing else."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from demo_app.actions.dataset_picture import (
    PICTURE_PATH,
    THUMBNAIL_PATH,
    picture_jpeg,
    thumbnail_jpeg,
)
from demo_app.services import Services

CACHE_HEADERS = {"cache-control": "private, max-age=600", "x-content-type-options": "nosniff"}


def build_dataset_routes(services: Services) -> list[Route]:
    """For `demo_app.ui.own_routes`. Unknown data sets and keys are 404 without a word of why."""

    def thumbnail(request: Request) -> Response:
        asked = request.query_params
        return _answer(
            lambda: thumbnail_jpeg(
                services, asked.get("data", ""), asked.get("key", ""), _layers(request)
            )
        )

    def picture(request: Request) -> Response:
        asked = request.query_params
        return _answer(
            lambda: picture_jpeg(
                services,
                asked.get("data", ""),
                asked.get("key", ""),
                _layers(request),
                asked.get("pose", ""),
                asked.get("model", ""),
            )
        )

    return [Route(THUMBNAIL_PATH, thumbnail), Route(PICTURE_PATH, picture)]


def _layers(request: Request) -> tuple[str, ...]:
    return tuple(name for name in request.query_params.get("layers", "").split(",") if name)


def _answer(draw: Callable[[], bytes]) -> Response:
    """Messages of errors may hold paths, so they stay here."""
    try:
        return Response(draw(), media_type="image/jpeg", headers=CACHE_HEADERS)
    except (ValueError, OSError):
        return Response("There is no such picture.", status_code=404, media_type="text/plain")
