"""Where the output of workers goes.

circusd itself writes files and its own standard output: that is what a stream of exactly one of these classes means.
Any other object that can be called with ``{"data": bytes, "pid": int, "name": "stdout"}``, also one of a class that is
derived from these, gets the output through a pipe, in a thread of the program that started the arbiter.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from datetime import datetime
from queue import Empty, Queue
from typing import Any, Callable

from circus import _refused
from circus.exc import NotServed
from circus.stream.file_stream import FileStream, TimedRotatingFileStream, WatchedFileStream
from circus.util import resolve_name, to_str

__all__ = [
    "Empty",
    "FancyStdoutStream",
    "FileStream",
    "Queue",
    "QueueStream",
    "StdoutStream",
    "TimedRotatingFileStream",
    "WatchedFileStream",
    "get_stream",
]

__getattr__ = _refused.module_getattr(__name__)


class QueueStream(Queue):  # type: ignore[type-arg]
    """Keeps what workers print, for the program to take with ``get()``."""

    def __init__(self, **_options: Any) -> None:
        super().__init__()

    def __call__(self, data: dict[str, Any]) -> None:
        self.put(data)

    def close(self) -> None:
        """Does nothing."""


class StdoutStream:
    """Standard output: circusd's, which is that of the program that started it."""

    def __init__(self, **_options: Any) -> None:
        # As circusd is told them.
        self.options: dict[str, Any] = {}

    def __call__(self, data: dict[str, Any]) -> None:
        """Writes the output of a worker."""
        sys.stdout.write(to_str(data["data"]))
        sys.stdout.flush()

    def close(self) -> None:
        """Does nothing."""


class FancyStdoutStream(StdoutStream):
    """Standard output in a colour, each line behind the time and the worker's pid."""

    # In the order of their numbers on a terminal, from 1.
    colors = ("red", "green", "yellow", "blue", "magenta", "cyan", "white")
    out: Any = None
    now = datetime.now

    def __init__(self, color: str | None = None, time_format: str | None = None, **_options: Any) -> None:
        super().__init__()
        self.time_format = time_format or "%Y-%m-%d %H:%M:%S"
        self.options = {"time_format": self.time_format}
        if color in self.colors:
            self.options["color"] = color
        chosen = color if color in self.colors else random.choice(self.colors)
        self.color_code = self.colors.index(chosen) + 1

    def prefix(self, data: dict[str, Any]) -> str:
        """What stands before each line."""
        return f"\033[0;3{self.color_code};40m{self.now().strftime(self.time_format)} [{data['pid']}] | "

    def __call__(self, data: dict[str, Any]) -> None:
        out = self.out or sys.stdout
        for line in to_str(data["data"]).splitlines():
            if line:
                out.write(f"{self.prefix(data)}{line}\033[0m\n")
        out.flush()


_OF_CIRCUSD = (FileStream, WatchedFileStream, TimedRotatingFileStream, StdoutStream, FancyStdoutStream)


def describe(conf: Any) -> dict[str, Any] | Callable[[dict[str, Any]], Any] | None:
    """What a watcher's ``stdout_stream`` means: options for circusd, or an object of this program."""
    if not conf:
        return None
    if not isinstance(conf, Mapping):
        return _of_object(conf)
    options = dict(conf)
    if "stream" in options:
        return _of_object(options["stream"])
    if "class" not in options:
        if "filename" not in options:
            raise ValueError(f"stream configuration invalid: {conf!r} has neither class, stream nor filename")
        return {"class": "FileStream", **options}
    named = options.pop("class")
    found = named if not isinstance(named, str) else globals().get(named) if "." not in named else resolve_name(named)
    if found in _OF_CIRCUSD:
        return {"class": found.__name__, **options}
    if found is None:
        # A class of circusd's own that the original has not, such as MemoryStream, or one that it will refuse.
        return {"class": named, **options}
    return _of_object(found(**options))


def _of_object(stream: Any) -> dict[str, Any] | Callable[[dict[str, Any]], Any]:
    if type(stream) in _OF_CIRCUSD:
        return {"class": type(stream).__name__, **stream.options}
    if not callable(stream):
        raise NotServed(f"{stream!r} is not a stream: it cannot be called with the output of a worker")
    return stream  # type: ignore[no-any-return]


def get_stream(conf: Any, reload: bool = False) -> Any:
    """The stream that a configuration means, as an object."""
    described = describe(conf)
    if isinstance(described, dict):
        known = globals().get(described.pop("class"))
        return known(**described) if known in _OF_CIRCUSD else None
    return described
