"""Circus's events, as an iterator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import zmq

from circus.util import DEFAULT_ENDPOINT_SUB, get_connection, to_bytes

__all__ = ["DEFAULT_ENDPOINT_SUB", "CircusConsumer"]


class CircusConsumer:
    """Subscribes to topics and yields ``(topic, message)``, both bytes, without an end."""

    def __init__(
        self,
        topics: Iterable[str | bytes],
        context: zmq.Context[Any] | None = None,
        endpoint: str = DEFAULT_ENDPOINT_SUB,
        ssh_server: str | None = None,
        timeout: float = 1.0,
    ) -> None:
        self.topics = list(topics)
        self.keep_context = context is not None
        self.context: zmq.Context[Any] = context if context is not None else zmq.Context()
        self.endpoint = endpoint
        self.timeout = timeout
        self.pubsub_socket = self.context.socket(zmq.SUB)
        self.pubsub_socket.linger = 0
        get_connection(self.pubsub_socket, endpoint, ssh_server)
        for topic in self.topics:
            self.pubsub_socket.setsockopt(zmq.SUBSCRIBE, to_bytes(topic))

    def __enter__(self) -> CircusConsumer:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def __iter__(self) -> Iterator[Any]:
        return self.iter_messages()

    def _frames(self) -> Iterator[list[bytes]]:
        with self:
            while True:
                # In slices, so that a signal's handler runs in between.
                if self.pubsub_socket.poll(int(self.timeout * 1000)):
                    yield self.pubsub_socket.recv_multipart()

    def iter_messages(self) -> Iterator[Any]:
        """Yields each event as ``(topic, message)``."""
        yield from map(tuple, self._frames())

    def stop(self) -> None:
        """Closes the subscription, and the context if it is its own."""
        self.pubsub_socket.close()
        if not self.keep_context:
            self.context.destroy(0)
