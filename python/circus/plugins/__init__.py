"""The base class of plugins: programs that circusd keeps running, tells its events and takes commands from."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import uuid
from collections.abc import Mapping
from typing import Any

import zmq
import zmq.asyncio

from circus import _refused, logger
from circus._loop import Loop
from circus.client import cast_message, make_message
from circus.util import (
    DEFAULT_ENDPOINT_DEALER,
    DEFAULT_ENDPOINT_SUB,
    configure_logger,
    get_connection,
    resolve_name,
    to_bool,
    to_str,
)

__all__ = ["DEFAULT_ENDPOINT_DEALER", "DEFAULT_ENDPOINT_SUB", "CircusPlugin", "get_plugin_cmd", "main"]

__getattr__ = _refused.module_getattr(__name__)


class CircusPlugin:
    """A plugin. Subclasses define ``handle_recv`` and perhaps ``handle_init`` and ``handle_stop``.

    ``config`` holds what the section [plugin:NAME] says, as texts. The plugin runs in an event loop of asyncio.
    """

    name: str | None = ""

    def __init__(
        self,
        endpoint: str,
        pubsub_endpoint: str,
        check_delay: float,
        ssh_server: str | None = None,
        **config: Any,
    ) -> None:
        self.daemon = True
        self.config = config
        self.active = to_bool(config.get("active", True))
        self.endpoint = endpoint
        self.pubsub_endpoint = pubsub_endpoint
        self.check_delay = check_delay
        self.ssh_server = ssh_server
        self.running = False
        self.loop = Loop(asyncio.new_event_loop())
        # Plugins call from threads of their own, too.
        self._turn = threading.Lock()

    def initialize(self) -> None:
        """Connects to circusd."""
        self.context: zmq.Context[Any] = zmq.Context()
        self.client = self.context.socket(zmq.DEALER)
        self.client.setsockopt(zmq.IDENTITY, uuid.uuid4().hex.encode())
        self.client.linger = 0
        get_connection(self.client, self.endpoint, self.ssh_server)
        self.sub_socket = zmq.asyncio.Context(self.context).socket(zmq.SUB)
        self.sub_socket.linger = 0
        self.sub_socket.setsockopt(zmq.SUBSCRIBE, b"watcher.")
        get_connection(self.sub_socket, self.pubsub_endpoint, self.ssh_server)

    def start(self) -> None:
        """Runs until ``stop``. An exception of ``handle_recv`` ends it, for circusd to start the plugin again."""
        if not self.active:
            raise ValueError("Will not start an inactive plugin")
        asyncio.set_event_loop(self.loop.asyncio_loop)
        # A plugin may call from its first moment on.
        self.initialize()
        self.handle_init()
        self.running = True
        receiving = self.loop.asyncio_loop.create_task(self._receive())
        receiving.add_done_callback(lambda _task: self.loop.asyncio_loop.stop())
        try:
            self.loop.start()
            if receiving.done():
                receiving.result()
        finally:
            self.running = False
            receiving.cancel()
            self.sub_socket.close()
            self.client.close()

    async def _receive(self) -> None:
        while True:
            self.handle_recv(await self.sub_socket.recv_multipart())

    def stop(self) -> None:
        """Calls ``handle_stop`` and ends ``start``."""
        try:
            self.handle_stop()
        finally:
            self.running = False
            self.loop.stop()

    def call(self, command: str, **props: Any) -> Any:
        """Sends circusd a command and returns its answer."""
        number = uuid.uuid4().hex
        message = {**make_message(command, **props), "id": number}
        with self._turn:
            self.client.send(json.dumps(message).encode())
            while True:
                answer = json.loads(self.client.recv())
                if answer.get("id") == number:
                    return answer

    def cast(self, command: str, **props: Any) -> None:
        """Sends circusd a command that it does not answer."""
        with self._turn:
            self.client.send(json.dumps(cast_message(command, **props)).encode())

    def handle_recv(self, data: Any) -> None:
        """Takes an event: its topic and its message."""
        raise NotImplementedError

    def handle_stop(self) -> None:
        """Called when circusd stops the plugin. It is cut off after two seconds."""

    def handle_init(self) -> None:
        """Called before the first event."""

    @staticmethod
    def split_data(data: Any) -> tuple[str, str, Any]:
        """The watcher's name as it is in topics, the event, and the message. The name may have dots."""
        topic, message = data
        _, _, rest = to_str(topic).partition(".")
        watcher, _, event = rest.rpartition(".")
        return watcher, event, message

    @staticmethod
    def load_message(msg: Any) -> Any:
        """The message of an event, which is JSON."""
        return json.loads(msg)


def _text_of(config: Mapping[str, Any]) -> str:
    return ":::".join(f"{key}:{value}" for key, value in sorted(config.items()))


def _config_of(text: str | None) -> dict[str, str]:
    pairs = (item.partition(":") for item in (text or "").split(":::"))
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def get_plugin_cmd(
    config: Mapping[str, Any],
    endpoint: str,
    pubsub: str,
    check_delay: float,
    ssh_server: str | None,
    debug: bool = False,
    loglevel: str | None = None,
    logoutput: str | None = None,
) -> str:
    """A command line that runs a plugin by ``main``. circusd makes its own."""
    import shlex

    options = dict(config)
    use = options.pop("use")
    resolve_name(use)
    words = [sys.executable, "-c", "from circus import plugins;plugins.main()", "--endpoint", endpoint]
    words += ["--pubsub", pubsub, "--check-delay", str(check_delay)]
    level = "DEBUG" if debug else loglevel
    for option, value in (
        ("--ssh", ssh_server),
        ("--config", _text_of(options) or None),
        ("--log-level", level),
        ("--log-output", logoutput),
    ):
        if value is not None:
            words += [option, value]
    return shlex.join([*words, use])


def main() -> None:
    """Runs the plugin that the command line names, until it ends or Ctrl-C."""
    parser = argparse.ArgumentParser(description="Runs a plugin.")
    parser.add_argument("--endpoint", default=DEFAULT_ENDPOINT_DEALER, help="where circusd takes commands")
    parser.add_argument("--pubsub", default=DEFAULT_ENDPOINT_SUB, help="where circusd publishes events")
    parser.add_argument("--config", help="key:value:::key:value")
    parser.add_argument("--check-delay", type=float, default=5.0, help="check_delay of circusd")
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--log-output", default="-")
    parser.add_argument("--ssh", help="a server to tunnel through")
    parser.add_argument("plugin", help="package.module.Class")
    args = parser.parse_args()
    factory = resolve_name(args.plugin)
    configure_logger(logger, args.log_level, args.log_output)
    plugin = factory(args.endpoint, args.pubsub, args.check_delay, args.ssh, **_config_of(args.config))
    try:
        plugin.start()
    except KeyboardInterrupt:
        plugin.stop()
