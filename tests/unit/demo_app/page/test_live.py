"""Live mode on the server: messages, limits, one frame in flight, errors in words, clean ends."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from demo_app.live.messages import (
    MAX_FRAME_BYTES,
    MAX_TEXT_BYTES,
    LiveMessageError,
    decode_jpeg,
    frame_message,
    read_frame_message,
    read_text_message,
)
from demo_app.live.route import LIVE_PATH, build_live_route
from demo_app.services import Services

Array = np.ndarray


@pytest.fixture
def client(services: Services) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=[build_live_route(services)])) as started:
        yield started


@pytest.fixture
def frame(jpeg_of: Callable[[Array], bytes]) -> bytes:
    return jpeg_of(np.full((480, 640, 3), 120, np.uint8))


@contextmanager
def _connected(client: TestClient, **given: Any) -> Iterator[WebSocketTestSession]:
    with client.websocket_connect(LIVE_PATH, **given) as socket:
        assert socket.receive_json()["type"] == "ready"
        yield socket


def _ask(socket: WebSocketTestSession, number: int, jpeg: bytes) -> dict[str, Any]:
    socket.send_bytes(frame_message(number, jpeg))
    return socket.receive_json()


def test_messages_survive_the_way() -> None:
    frame = read_frame_message(frame_message(7, b"jpeg"))
    assert (frame.number, frame.jpeg) == (7, b"jpeg")
    command = read_text_message('{"type": "settings", "settings": {"mesh": "shaded"}}')
    assert command.options is not None and command.options.mesh == "shaded"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        "{}",
        '{"type": "settings"}',
        '{"type": "rm -rf"}',
        '{"type": "settings", "settings": {"model": "/etc/passwd"}}',
        "x" * MAX_TEXT_BYTES * 2,
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(LiveMessageError):
        read_text_message(text)


def test_frames_have_limits(jpeg_of: Callable[[Array], bytes]) -> None:
    for message in (b"", b"1234", b"x" * (MAX_FRAME_BYTES + 1)):
        with pytest.raises(LiveMessageError):
            read_frame_message(message)
    with pytest.raises(LiveMessageError, match="no JPEG"):
        decode_jpeg(b"GIF89a" + b"x" * 100)
    with pytest.raises(LiveMessageError, match="5000 x 20"):
        decode_jpeg(jpeg_of(np.zeros((20, 5000, 3), np.uint8)))
    whole = jpeg_of(np.zeros((64, 64, 3), np.uint8))
    assert decode_jpeg(whole).shape == (64, 64, 3)


def test_colours_are_rgb(jpeg_of: Callable[[Array], bytes]) -> None:
    red_bgr = np.zeros((32, 32, 3), np.uint8)
    red_bgr[..., 2] = 255
    assert decode_jpeg(jpeg_of(red_bgr))[16, 16].argmax() == 0


def test_an_answer_belongs_to_its_frame(client: TestClient, frame: bytes) -> None:
    with _connected(client) as socket:
        for number in range(5):
            answer = _ask(socket, number, frame)
            assert answer["type"] == "frame" and answer["frame"] == number
            assert len(answer["faces"]) == 2 and answer["draw"]["size"] == [640, 480]
            assert answer["in_flight_max"] == 1 and answer["dropped"] == 0
        assert "assumed" in answer["camera"] and answer["model"] == "made-up (test)"
        assert [face["track_id"] for face in answer["faces"]] == [1, 2]
        socket.send_text('{"type": "stop"}')
        bye = socket.receive_json()
        assert bye["type"] == "bye" and bye["frames"] == 5
        with pytest.raises(WebSocketDisconnect) as ended:
            socket.receive_json()
        assert ended.value.code == 1000


def test_settings_and_zero_act_on_the_next_frame(client: TestClient, frame: bytes) -> None:
    def settings(**changed: Any) -> str:
        return json.dumps({"type": "settings", "settings": changed})

    with _connected(client) as socket:
        first = _ask(socket, 0, frame)
        assert {"label", "segments"} <= {shape["kind"] for shape in first["draw"]["shapes"]}
        wide = settings(camera_mode="fov", horizontal_fov_deg=90.0, layers=[], smoothing=False)
        socket.send_text(wide)
        second = _ask(socket, 1, frame)
        assert {shape["kind"] for shape in second["draw"]["shapes"]} == {"label"}
        assert second["faces"][0]["z_mm"] < first["faces"][0]["z_mm"] and "90" in second["camera"]
        socket.send_text('{"type": "zero"}')
        zeroed = _ask(socket, 2, frame)["faces"][0]
        assert zeroed["relative"] and abs(zeroed["yaw_deg"]) < 1 and abs(zeroed["z_mm"]) < 20
        socket.send_text('{"type": "clear_zero"}')
        assert not _ask(socket, 3, frame)["faces"][0]["relative"]
        socket.send_text(settings(horizontal_fov_deg=1000))
        assert "field of view" in socket.receive_json()["message"]
        assert _ask(socket, 4, frame)["type"] == "frame"


@pytest.mark.parametrize("mesh", ["shaded", "head"])
def test_meshes_come_as_a_part_of_the_frame(client: TestClient, frame: bytes, mesh: str) -> None:
    with _connected(client) as socket:
        assert _ask(socket, 0, frame)["patch"] is None
        options = {"mesh": mesh, "layers": []}
        socket.send_text(json.dumps({"type": "settings", "settings": options}))
        for number in range(1, 4):
            answer = _ask(socket, number, frame)
        assert {shape["kind"] for shape in answer["draw"]["shapes"]} == {"label"}
        patch = answer["patch"]
        part = decode_jpeg(base64.b64decode(patch["jpeg"])).astype(int)
        height, width = part.shape[:2]
        assert 0 <= patch["x"] < 640 - width and 0 <= patch["y"] <= 480 - height
        changed = np.abs(part - 120).max(2) > 12
        assert 0.2 < changed.mean() < 0.9 and changed[:, [1, -2]].mean() < 0.2
        assert "drawn by OpenCV" in answer["mesh_note"]
        assert ("open head" in answer["mesh_note"]) == (mesh == "head")


def test_bad_frames_are_answered_and_survived(client: TestClient, frame: bytes) -> None:
    with _connected(client) as socket:
        answer = _ask(socket, 0, b"no picture")
        assert answer["type"] == "error" and answer["frame"] == 0 and not answer["fatal"]
        socket.send_text(
            '{"type": "settings", "settings": {"camera_mode": "intrinsics", "fx_px": null}}'
        )
        answer = _ask(socket, 1, frame)
        assert answer["frame"] == 1 and "fx" in answer["message"]
        socket.send_text('{"type": "settings", "settings": {}}')
        assert _ask(socket, 2, frame)["type"] == "frame"


def test_zero_without_a_face_is_a_sentence(client: TestClient, frame: bytes, world: Any) -> None:
    world.heads.clear()
    with _connected(client) as socket:
        _ask(socket, 0, frame)
        socket.send_text('{"type": "zero"}')
        socket.send_bytes(frame_message(1, frame))
        assert "face" in socket.receive_json()["message"]
        assert socket.receive_json()["type"] == "frame"


def test_too_much_nonsense_ends_it(client: TestClient) -> None:
    with _connected(client) as socket:
        for _ in range(20):
            socket.send_text("nonsense")
            assert socket.receive_json()["type"] == "error"
        assert socket.receive_json()["type"] == "bye"


def test_a_greedy_browser_loses_frames_not_time(
    client: TestClient, frame: bytes, world: Any
) -> None:
    """Many frames at once: the newest waits, the others are dropped and counted."""
    go_on = threading.Event()
    original = world.predict_boxes
    world.predict_boxes = lambda *a, **k: (go_on.wait(5), original(*a, **k))[1]
    with _connected(client) as socket:
        for number in range(10):
            socket.send_bytes(frame_message(number, frame))
        socket.send_text("are they all here?")
        assert socket.receive_json()["type"] == "error"
        go_on.set()
        answers = [socket.receive_json() for _ in range(2)]
        assert answers[1]["frame"] == 9 and answers[1]["in_flight_max"] == 2
        assert answers[1]["dropped"] == 10 - len(answers)


def test_only_our_own_page_may_connect(client: TestClient) -> None:
    with _connected(client, headers={"origin": "http://testserver"}):
        pass
    for origin in ("http://evil.example", "null", "http://testserver.evil.example"):
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect(LIVE_PATH, headers={"origin": origin}),
        ):
            pass


def test_there_are_so_many_places(client: TestClient, services: Services) -> None:
    with _connected(client), _connected(client):
        assert services.live_slots.taken == 2
        with client.websocket_connect(LIVE_PATH) as third:
            refusal = third.receive_json()
            assert refusal["fatal"] and "2 live places" in refusal["message"]
    with _connected(client):
        pass
    assert services.live_slots.taken == 0


def test_a_browser_that_vanishes_frees_its_place(
    client: TestClient, services: Services, frame: bytes
) -> None:
    with _connected(client) as socket:
        socket.send_bytes(frame_message(0, frame))
    assert services.live_slots.taken == 0


def test_a_broken_network_ends_the_connection_with_words(
    client: TestClient,
    services: Services,
    frame: bytes,
    world: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("out of memory")

    world.detect = broken
    with _connected(client) as socket:
        answer = _ask(socket, 0, frame)
        assert answer["type"] == "error" and answer["fatal"]
        assert "server" in answer["message"] and "out of memory" not in answer["message"]
        assert socket.receive_json()["type"] == "bye"
    assert services.live_slots.taken == 0
    assert "out of memory" in caplog.text
