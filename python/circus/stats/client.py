"""What circusd-stats publishes, as an iterator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import zmq

from circus import _refused
from circus._programs import run
from circus.consumer import CircusConsumer
from circus.util import DEFAULT_ENDPOINT_STATS, to_str

__all__ = ["DEFAULT_ENDPOINT_STATS", "StatsClient", "main"]

__getattr__ = _refused.module_getattr(__name__)


class StatsClient(CircusConsumer):
    """Yields ``(watcher, subtopic or None, figures)``; the subtopic is a pid, or the descriptor of a socket."""

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT_STATS,
        ssh_server: str | None = None,
        context: zmq.Context[Any] | None = None,
    ) -> None:
        super().__init__(["stat."], context, endpoint, ssh_server)

    def iter_messages(self) -> Iterator[tuple[str, str | None, Any]]:
        """Yields each message; a watcher's name may have dots."""
        for topic, message in self._frames():
            name, figures = to_str(topic)[len("stat.") :], json.loads(message)
            if isinstance(figures, dict) and "subtopic" in figures:
                name, _, subtopic = name.rpartition(".")
                yield name, subtopic, figures
            else:
                yield name, None, figures


def main() -> None:
    """Becomes the program circus-top, with the arguments of this one."""
    run("circus-top")
