"""Pipes from circusd to this program."""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
from collections.abc import Iterator
from typing import Callable

# The seconds that a stream may take at the end for what it has not taken yet.
_PATIENCE = 5.0


class Source:
    """The reading end of a pipe, which ends with the pipe, or when it is empty and was told to stop."""

    def __init__(self, reading: int, stop: int) -> None:
        self._reading, self._stop = reading, stop
        self._buffer = bytearray()
        os.set_blocking(reading, False)
        self._ready = selectors.DefaultSelector()
        self._ready.register(reading, selectors.EVENT_READ)
        self._ready.register(stop, selectors.EVENT_READ)

    def close(self) -> None:
        self._ready.close()
        os.close(self._reading)
        os.close(self._stop)

    def _fill(self) -> None:
        while True:
            ready = {key.fd for key, _ in self._ready.select()}
            try:
                more = os.read(self._reading, 1 << 16)
            except BlockingIOError:
                if self._stop in ready:
                    raise EOFError from None
                continue
            if not more:
                raise EOFError
            self._buffer += more
            return

    def _cut(self, length: int) -> bytes:
        found = bytes(self._buffer[:length])
        del self._buffer[:length]
        return found

    def line(self) -> bytes:
        """The next line, without its end."""
        while b"\n" not in self._buffer:
            self._fill()
        return self._cut(self._buffer.index(b"\n") + 1)[:-1]

    def exactly(self, length: int) -> bytes:
        """So many bytes."""
        while len(self._buffer) < length:
            self._fill()
        return self._cut(length)


class Pipe:
    """A pipe that circusd opens by name, ``/proc/PID/fd/N`` of this process, so that no worker inherits it."""

    def __init__(self, take: Callable[[Source], None], name: str) -> None:
        reading, self._writing = os.pipe()
        stop_reading, self._stop = os.pipe()
        self.path = f"/proc/{os.getpid()}/fd/{self._writing}"
        source = Source(reading, stop_reading)
        self._thread = threading.Thread(target=self._read, args=(source, take), name=name, daemon=True)
        self._thread.start()

    @staticmethod
    def _read(source: Source, take: Callable[[Source], None]) -> None:
        with contextlib.closing(source), contextlib.suppress(EOFError):
            while True:
                take(source)

    def close(self) -> None:
        """Waits until everything that circusd has written is taken. circusd must have ended."""
        # Not by the end of the file: a child that this program has forked may hold the pipe open.
        os.write(self._stop, b".")
        os.close(self._stop)
        # A stream of the program that does not return keeps nothing waiting for ever.
        self._thread.join(_PATIENCE)
        os.close(self._writing)


def lines_of(data: bytes) -> Iterator[bytes]:
    """The lines of some output, each with its end; the last may have none."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end
