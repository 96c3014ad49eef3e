"""Routes of our own behind the page's login: Gradio asks for it on its own addresses alone."""

from __future__ import annotations

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

COOKIES = ("access-token-{}", "access-token-unsecure-{}")


class BehindLogin:
    """Lets those through who have logged in to the page; Gradio keeps who that is."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_known(HTTPConnection(scope)):
            await self._inner(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(code=4401)(scope, receive, send)
        else:
            refusal = PlainTextResponse("Log in to the page first.", status_code=401)
            await refusal(scope, receive, send)


def _is_known(connection: HTTPConnection) -> bool:
    page = connection.app
    names = (name.format(page.cookie_id) for name in COOKIES)
    return any(page.tokens.get(connection.cookies.get(name, "")) for name in names)


def behind_login(routes: list[BaseRoute]) -> list[BaseRoute]:
    """The same addresses, for those who have logged in."""
    for route in routes:
        if isinstance(route, Route | WebSocketRoute):
            route.app = BehindLogin(route.app)
    return routes
