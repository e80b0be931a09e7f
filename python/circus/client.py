"""Clients of circusd's control endpoint: one that blocks, and one for asyncio."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any, Callable

import zmq
import zmq.asyncio

from circus.exc import CallError
from circus.util import DEFAULT_ENDPOINT_DEALER, get_connection

__all__ = [
    "DEFAULT_ENDPOINT_DEALER",
    "AsyncCircusClient",
    "CircusClient",
    "cast_message",
    "make_json",
    "make_message",
]


# Calls that wait at once take turns at the socket: milliseconds of one turn.
_SHARE = 100.0


def make_message(command: str, **props: Any) -> dict[str, Any]:
    """A request: the name of a command and its properties."""
    return {"command": command, "properties": props}


def cast_message(command: str, **props: Any) -> dict[str, Any]:
    """A request that circusd does not answer."""
    return {"command": command, "msg_type": "cast", "properties": props}


def make_json(command: str, **props: Any) -> str:
    """A request as JSON."""
    return json.dumps(make_message(command, **props))


def _encode(cmd: Any) -> tuple[bytes, str]:
    """The request with an id of its own, and that id."""
    if isinstance(cmd, str):
        raise DeprecationWarning("call() takes a mapping")
    number = uuid.uuid4().hex
    cmd["id"] = number
    try:
        return json.dumps(cmd).encode(), number
    except (TypeError, ValueError) as error:
        raise CallError(str(error)) from error


def _decode(frame: bytes) -> Any:
    try:
        return json.loads(frame)
    except ValueError as error:
        raise CallError(str(error)) from error


def _open(socket: Any, endpoint: str, ssh_server: str | None, ssh_keyfile: str | None) -> None:
    socket.setsockopt(zmq.IDENTITY, uuid.uuid4().hex.encode())
    socket.setsockopt(zmq.LINGER, 0)
    get_connection(socket, endpoint, ssh_server, ssh_keyfile)


class CircusClient:
    """A client that waits for each answer, ``timeout`` seconds at most."""

    def __init__(
        self,
        context: zmq.Context[Any] | None = None,
        endpoint: str = DEFAULT_ENDPOINT_DEALER,
        timeout: float = 5.0,
        ssh_server: str | None = None,
        ssh_keyfile: str | None = None,
    ) -> None:
        self.context = context or zmq.Context.instance()
        self.endpoint = endpoint
        self.timeout = timeout * 1000
        self.socket = self.context.socket(zmq.DEALER)
        _open(self.socket, endpoint, ssh_server, ssh_keyfile)

    def __enter__(self) -> CircusClient:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Closes the connection."""
        self.socket.close()

    def send_message(self, command: str, **props: Any) -> Any:
        """Sends a command and its properties, and returns the answer."""
        return self.call(make_message(command, **props))

    def call(self, cmd: dict[str, Any]) -> Any:
        """Sends a request and returns its answer. Without one in time: ``CallError("Timed out.")``."""
        deadline = time.monotonic() + self.timeout / 1000
        return self.call_while(cmd, lambda: time.monotonic() < deadline, self.timeout)

    def call_while(self, cmd: dict[str, Any], patient: Callable[[], bool], slice_ms: float = 200.0) -> Any:
        """Sends a request and waits for its answer as long as ``patient()`` is true, which is asked at each slice."""
        request, number = _encode(cmd)
        try:
            self.socket.send(request)
            while True:
                if not self.socket.poll(slice_ms):
                    if patient():
                        continue
                    raise CallError("Timed out.")
                answer = _decode(self.socket.recv())
                # The answer to an earlier call that had timed out is skipped.
                if isinstance(answer, dict) and answer.get("id") == number:
                    return answer
        except zmq.ZMQError as error:
            raise CallError(str(error)) from error


class AsyncCircusClient:
    """A client for asyncio. ``timeout`` bounds a call where it is given; the original never gives up."""

    def __init__(
        self,
        context: zmq.Context[Any] | None = None,
        endpoint: str = DEFAULT_ENDPOINT_DEALER,
        timeout: float | None = None,
        ssh_server: str | None = None,
        ssh_keyfile: str | None = None,
    ) -> None:
        self.context = zmq.asyncio.Context(context) if context is not None else zmq.asyncio.Context.instance()
        self.endpoint = endpoint
        self.timeout = None if timeout is None else timeout * 1000
        self.socket = self.context.socket(zmq.DEALER)
        self._answers: dict[str, Any] = {}
        self._waiting: set[str] = set()
        # Made by the first call: before Python 3.10 a lock belongs to the loop in which it is made.
        self._turn: asyncio.Lock | None = None
        _open(self.socket, endpoint, ssh_server, ssh_keyfile)

    async def __aenter__(self) -> AsyncCircusClient:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Closes the connection."""
        self.socket.close()

    async def send_message(self, command: str, **props: Any) -> Any:
        """Sends a command and its properties, and returns the answer."""
        return await self.call(make_message(command, **props))

    async def call(self, cmd: dict[str, Any]) -> Any:
        """Sends a request and returns its answer. Calls may overlap: each gets its own."""
        request, number = _encode(cmd)
        deadline = None if self.timeout is None else time.monotonic() + self.timeout / 1000
        if self._turn is None:
            self._turn = asyncio.Lock()
        self._waiting.add(number)
        try:
            await self.socket.send(request)
            while number not in self._answers:
                left = _SHARE if deadline is None else min(_SHARE, (deadline - time.monotonic()) * 1000)
                if left <= 0:
                    raise CallError("Timed out.")
                async with self._turn:
                    if number not in self._answers and await self.socket.poll(left):
                        self._take(_decode(await self.socket.recv()))
            return self._answers.pop(number)
        except zmq.ZMQError as error:
            raise CallError(str(error)) from error
        finally:
            self._waiting.discard(number)

    def _take(self, answer: Any) -> None:
        """Keeps an answer for the call that waits for it. One whose call has given up is dropped."""
        if isinstance(answer, dict) and answer.get("id") in self._waiting:
            self._answers[answer["id"]] = answer
