"""Runs a plugin class of Circus under circusd: what circus.plugins.main does, and what that leaves out.

The arguments are those of the original. The class gets them by name, so that one which takes only what it needs can be
made; one that takes any (*args) gets the first four by position, as the original does it. ``circus`` is the original or
the package of circusd, whichever this Python has.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import json
import logging
import os
import signal
import sys
import threading
import traceback
from types import FrameType
from typing import Any, Callable, NoReturn

# Seconds that a plugin's handle_stop may take: one that waits for a thread that waits for it would take for ever.
PATIENCE = 2.0
FIRST = ("endpoint", "pubsub_endpoint", "check_delay", "ssh_server")


class Prefixed(logging.Formatter):
    """A line as circusd's log takes it, which has its own time: its level, and what was said."""

    def format(self, record: logging.LogRecord) -> str:
        number = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6}.get(record.levelname, 7)
        return f"<{number}>{super().format(record)}"


def fail(text: str) -> NoReturn:
    """Ends with a line for circusd's log."""
    sys.stderr.write(f"<3>{text}\n")
    sys.exit(1)


def parse() -> argparse.Namespace:
    """The command line, which circusd makes."""
    parser = argparse.ArgumentParser()
    for option in ("--endpoint", "--pubsub", "--config", "--log-level", "--log-output", "--ssh"):
        parser.add_argument(option)
    parser.add_argument("--check-delay", type=float, default=5.0)
    parser.add_argument("plugin")
    return parser.parse_args()


def load(name: str) -> tuple[Any, Callable[..., Any], Any]:
    """The class, and what sets up the logging of Circus."""
    where = f"in {sys.executable}"
    try:
        from circus import logger
        from circus.util import configure_logger, resolve_name
    except ImportError as error:
        fail(
            f"Circus, which runs the class {name}, cannot be imported {where} ({error}): install circus there, or name "
            "another interpreter with the key python"
        )
    try:
        return resolve_name(name), configure_logger, logger
    except (ImportError, AttributeError) as error:
        fail(
            f"the class {name} cannot be imported {where}: {error}; PYTHONPATH can be set in a section [env:NAME] of "
            "the plugin's name"
        )


def use_keys() -> None:
    """Has sockets use the keys that circusd hands over, where it has some, at each endpoint of TCP."""
    number = os.environ.get("CIRCUS_CURVE_FD")
    if not number:
        return
    import zmq

    server, public, secret = os.pread(int(number), 4096, 0).split()[:3]
    plain: Any = zmq.Socket.connect

    def connect(socket: Any, endpoint: str) -> Any:
        if endpoint.startswith("tcp://"):
            socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = server, public, secret
        return plain(socket, endpoint)

    zmq.Socket.connect = connect  # type: ignore[assignment, method-assign]


def call(name: str, factory: Any, args: argparse.Namespace, settings: dict[str, Any]) -> Callable[[], Any]:
    """How the class is to be called."""
    values = (args.endpoint, args.pubsub, args.check_delay, args.ssh)
    by_position: tuple[tuple[Any, ...], dict[str, Any]] = (values, settings)
    by_name: tuple[tuple[Any, ...], dict[str, Any]] = ((), {**settings, **dict(zip(FIRST, values))})
    signature = inspect.signature(factory)
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values())
    refusal = None
    for positional, keywords in (by_position, by_name) if takes_any else (by_name, by_position):
        try:
            signature.bind(*positional, **keywords)
        except TypeError as error:
            refusal = error
        else:
            return functools.partial(factory, *positional, **keywords)
    fail(f"the class {name} does not take the arguments of a plugin: {refusal}")


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM is Ctrl-C to a plugin."""
    raise KeyboardInterrupt


def end(status: int) -> NoReturn:
    """Ends at once: a thread that a plugin has left behind, such as a timer, would keep the process alive."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def run(make: Callable[[], Any]) -> NoReturn:
    """Runs the plugin until it ends or circusd stops it."""
    signal.signal(signal.SIGTERM, interrupt)
    plugin, status = None, 0
    try:
        plugin = make()
        plugin.start()
    except KeyboardInterrupt:
        pass
    except BaseException:
        traceback.print_exc()
        status = 1
    # Once is enough, and the handlers of a plugin that ends are not to be interrupted.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    late = threading.Timer(PATIENCE, end, (status,))
    late.daemon = True
    late.start()
    try:
        if plugin is not None:
            plugin.stop()
    except BaseException:
        traceback.print_exc()
        status = 1
    end(status)


def read_settings() -> dict[str, Any]:
    """The keys of the plugin: in the environment, as other users read command lines.

    Code that looks for ``--config`` finds it where Circus has it.
    """
    settings: dict[str, Any] = json.loads(os.environ.get("CIRCUS_PLUGIN_CONFIG") or "{}")
    if "--config" not in sys.argv:
        sys.argv[1:1] = ["--config", ":::".join(f"{key}:{value}" for key, value in settings.items())]
    return settings


def main() -> None:
    """A plugin's process, from its command line to its end."""
    args, settings = parse(), read_settings()
    use_keys()
    factory, configure_logger, logger = load(args.plugin)
    name = getattr(factory, "name", "") or args.plugin
    configure_logger(logger, args.log_level or "info", args.log_output or "-", name=name)
    if not args.log_output:
        for handler in logging.getLogger().handlers:
            handler.setFormatter(Prefixed("%(message)s"))
    run(call(args.plugin, factory, args, settings))


if __name__ == "__main__":
    main()
