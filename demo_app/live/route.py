"""The websocket's address, for the server that serves the page."""

from __future__ import annotations

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from demo_app.live.connection import serve_live
from demo_app.services import Services

LIVE_PATH = "/live/ws"


def build_live_route(services: Services) -> WebSocketRoute:
    """`LIVE_PATH`, served on the port of the page."""

    async def live(websocket: WebSocket) -> None:
        await serve_live(websocket, services)

    return WebSocketRoute(LIVE_PATH, live, name="live")
