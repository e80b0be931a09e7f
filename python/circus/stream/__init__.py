"""Where the output of workers goes.

circusd itself writes files and its own standard output; the classes of these names say so and do nothing more. An
object of any other class that can be called with ``{"data": bytes, "pid": int, "name": "stdout"}`` gets the lines
through a pipe, in a thread of the program that started the arbiter.
"""

from __future__ import annotations

from collections.abc import Mapping
from queue import Empty, Queue
from typing import Any, Callable

from circus import _refused
from circus.exc import NotServed
from circus.util import resolve_name

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


class _WrittenByCircusd:
    """A stream of circusd's: its class and its options."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def __call__(self, data: dict[str, Any]) -> None:
        raise NotServed(
            f"{type(self).__name__} is written by circusd; to write in this program, pass a function instead"
        )

    def close(self) -> None:
        """Does nothing: circusd closes what it has opened."""


class FileStream(_WrittenByCircusd):
    """A file: filename, max_bytes, backup_count, time_format."""


class WatchedFileStream(_WrittenByCircusd):
    """A file that is opened again when it was moved: filename, time_format."""


class TimedRotatingFileStream(_WrittenByCircusd):
    """A file for each span of time: filename, rotate_when, rotate_interval, backup_count, utc, time_format."""


class StdoutStream(_WrittenByCircusd):
    """circusd's standard output, which is that of the program that started it."""


class FancyStdoutStream(StdoutStream):
    """Standard output in colour: color, time_format."""


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
    if isinstance(stream, _OF_CIRCUSD):
        return {"class": type(stream).__name__, **stream.options}
    if not callable(stream):
        raise NotServed(f"{stream!r} is no stream: it cannot be called with the output of a worker")
    return stream  # type: ignore[no-any-return]


def get_stream(conf: Any, reload: bool = False) -> Any:
    """The stream that a configuration means, as an object."""
    described = describe(conf)
    if isinstance(described, dict):
        known = globals().get(described.pop("class"))
        return known(**described) if known in _OF_CIRCUSD else None
    return described
