"""Own routes behind the page's login: nothing without the cookie that Gradio gave out."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from demo_app.actions.login import behind_login


@pytest.fixture
def client() -> TestClient:
    def secret(_: Request) -> PlainTextResponse:
        return PlainTextResponse("secret")

    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("secret")
        await websocket.close()

    page = Starlette(routes=behind_login([Route("/file", secret), WebSocketRoute("/live", live)]))
    page.cookie_id, page.tokens = "abc", {"good": "me"}
    return TestClient(page)


@pytest.mark.parametrize(
    "cookies",
    [{}, {"access-token-abc": "bad"}, {"access-token-abc": ""}, {"access-token-other": "good"}],
)
def test_strangers_get_nothing(client: TestClient, cookies: dict[str, str]) -> None:
    client.cookies.update(cookies)
    answer = client.get("/file")
    assert answer.status_code == 401 and "secret" not in answer.text
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/live"):
        pass


@pytest.mark.parametrize("name", ["access-token-abc", "access-token-unsecure-abc"])
def test_who_has_logged_in_gets_all(client: TestClient, name: str) -> None:
    client.cookies.set(name, "good")
    assert client.get("/file").text == "secret"
    with client.websocket_connect("/live") as live:
        assert live.receive_text() == "secret"
