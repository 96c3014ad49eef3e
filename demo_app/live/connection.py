"""One websocket of live mode: reads while it works, never queues frames, ends cleanly."""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from demo_app.live.messages import (
    MAX_FRAME_BYTES,
    MAX_SIDE_PX,
    LiveCommand,
    LiveFrame,
    LiveMessageError,
    error_message,
    read_frame_message,
    read_text_message,
)
from demo_app.live.session import LiveSession
from demo_app.services import Services

LOG = logging.getLogger(__name__)

IDLE_S = 60.0
"""A connection that sends nothing for so long is closed."""

MAX_ERRORS = 20
"""A browser that sends so many messages that make no sense is sent away."""

BROKEN = "The server failed on this frame; its log says why. Start again."

POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013


def same_origin(websocket: WebSocket) -> bool:
    """Whether the page that opened the socket is ours. Programs send no origin and are let in."""
    origin = websocket.headers.get("origin")
    if origin is None:
        return True
    hosts = {websocket.headers.get(name) for name in ("host", "x-forwarded-host")}
    return urlsplit(origin).netloc in hosts - {None}


async def serve_live(websocket: WebSocket, services: Services) -> None:
    """Serve one webcam until either side ends it."""
    if not same_origin(websocket):
        await websocket.close(POLICY_VIOLATION)
        return
    await websocket.accept()
    if not services.live_slots.take():
        most = services.live_slots.most
        text = f"All {most} live places are taken: try again in a minute, or use an image or video."
        await websocket.send_text(json.dumps(error_message(text, fatal=True)))
        await websocket.close(TRY_AGAIN_LATER)
        return
    try:
        await LiveConnection(websocket, services).run()
    finally:
        services.live_slots.give_back()


class LiveConnection:
    """Reader and worker on one socket. A frame that comes while another waits replaces it."""

    def __init__(self, websocket: WebSocket, services: Services) -> None:
        self._websocket = websocket
        self._session = LiveSession(services)
        self._commands: list[LiveCommand] = []
        self._waiting: LiveFrame | None = None
        self._busy = False
        self._news = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "live")
        self._dropped, self._most_in_flight, self._errors = 0, 0, 0

    async def run(self) -> None:
        """Until the browser stops, goes away or sends too much nonsense."""
        await self._send(
            {"type": "ready", "max_side_px": MAX_SIDE_PX, "max_frame_bytes": MAX_FRAME_BYTES}
        )
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._work())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await self._report(task.exception())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._thread.shutdown(wait=False, cancel_futures=True)
            await self._say_goodbye()

    async def _report(self, error: BaseException | None) -> None:
        """Log what ended a task, and tell the browser that it was not its fault."""
        if error is not None and not isinstance(error, WebSocketDisconnect):
            LOG.error("live: a frame could not be worked on", exc_info=error)
            await self._send(error_message(BROKEN, fatal=True))

    async def _read(self) -> None:
        """Take messages as they come; returns when the connection should end."""
        while self._errors < MAX_ERRORS:
            try:
                message = await asyncio.wait_for(self._websocket.receive(), IDLE_S)
            except TimeoutError:
                await self._send(error_message("No frame came for a minute.", fatal=True))
                return
            if message["type"] == "websocket.disconnect":
                return
            try:
                if message.get("bytes") is not None:
                    self._offer(read_frame_message(message["bytes"]))
                elif not self._take(read_text_message(message.get("text") or "")):
                    return
            except LiveMessageError as error:
                self._errors += 1
                await self._send(error_message(str(error)))

    def _offer(self, frame: LiveFrame) -> None:
        """A browser that keeps one frame in flight never finds another waiting here."""
        if self._waiting is not None:
            self._dropped += 1
        self._waiting = frame
        self._most_in_flight = max(self._most_in_flight, 1 + int(self._busy))
        self._news.set()

    def _take(self, command: LiveCommand) -> bool:
        """False for stop."""
        if command.kind == "stop":
            return False
        self._commands.append(command)
        return True

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait()
            self._news.clear()
            frame, self._waiting = self._waiting, None
            if frame is None:
                continue
            commands, self._commands = self._commands, []
            self._busy = True
            answers = await loop.run_in_executor(self._thread, self._answer, commands, frame)
            self._busy = False
            for answer in answers:
                await self._send(answer)

    def _answer(self, commands: list[LiveCommand], frame: LiveFrame) -> list[dict[str, Any]]:
        """In the worker's thread. What is wrong with a frame or a setting is said, not raised."""
        answers: list[dict[str, Any]] = []
        for command in commands:
            try:
                self._session.obey(command)
            except ValueError as error:
                answers.append(error_message(str(error)))
        try:
            answer = self._session.process(frame)
        except (ValueError, OSError) as error:
            answer = error_message(str(error)) | {"frame": frame.number}
        in_flight = {"in_flight_max": self._most_in_flight, "dropped": self._dropped}
        return [*answers, answer | in_flight]

    async def _send(self, message: dict[str, Any]) -> None:
        if self._websocket.application_state is WebSocketState.CONNECTED:
            with suppress(WebSocketDisconnect, RuntimeError):
                await self._websocket.send_text(json.dumps(message, separators=(",", ":")))

    async def _say_goodbye(self) -> None:
        if self._websocket.client_state is WebSocketState.CONNECTED:
            await self._send(
                {
                    "type": "bye",
                    "frames": self._session.frames,
                    "in_flight_max": self._most_in_flight,
                    "dropped": self._dropped,
                }
            )
            with suppress(WebSocketDisconnect, RuntimeError):
                await self._websocket.close()
