"""The configuration that circusd is given: JSON, in which every argument and variable is what it is."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from circus import stream
from circus.exc import NotServed
from circus.util import resolve_name, to_bool
from circus.watcher import Watcher

if TYPE_CHECKING:
    from circus.arbiter import Arbiter

# Gives a hook that is a function a name for circusd; gives a stream that is an object a path.
NameHook = Callable[[Callable[..., Any]], str]
NamePipe = Callable[[Callable[..., Any], str], str]


class NoParent(Exception):
    """Something needs this process to live on beside circusd."""


def refuse_hook(_function: Callable[..., Any]) -> str:
    raise NoParent


def refuse_pipe(_stream: Callable[..., Any], _name: str) -> str:
    raise NoParent


def ends_with_any_watcher() -> bool:
    """Whether the arbiter ends with any watcher that has no process left: that is what BentoML's kantoku does."""
    try:
        importlib.metadata.version("kantoku")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def describe(arbiter: Arbiter, name_hook: NameHook, name_pipe: NamePipe) -> dict[str, Any]:
    """Everything that circusd has to know of an arbiter, but for its log."""
    circus: dict[str, Any] = {
        "check_delay": arbiter.check_delay,
        "endpoint": arbiter.endpoint,
        "pubsub_endpoint": arbiter.pubsub_endpoint,
        "statsd": bool(arbiter.statsd),
        "statsd_close_outputs": bool(arbiter.statsd_close_outputs),
        "warmup_delay": arbiter.warmup_delay,
        "debug": bool(arbiter.debug),
        "python": sys.executable,
        # One that cannot run is an error of the program, which it is told as an exception.
        "strict": True,
        "workers_end_with_circusd": True,
    }
    if arbiter.statsd and arbiter.stats_endpoint:
        circus["stats_endpoint"] = arbiter.stats_endpoint
    if arbiter.umask is not None:
        circus["umask"] = f"{int(arbiter.umask):03o}"
    for key in ("endpoint_owner", "fqdn_prefix"):
        if getattr(arbiter, key) is not None:
            circus[key] = str(getattr(arbiter, key))
    essential = arbiter.exit_on is None and ends_with_any_watcher()
    if arbiter.exit_on or essential:
        circus["exit_on"] = arbiter.exit_on or "end"
    watchers = [describe_watcher(watcher, name_hook, name_pipe) for watcher in arbiter.watchers]
    plugins = [_plugin(plugin) for plugin in arbiter.plugins]
    if essential:
        for item in (*watchers, *plugins):
            item.setdefault("essential", True)
    return {
        "circus": circus,
        "watchers": watchers,
        "sockets": [socket.describe() for socket in arbiter.sockets.values()],
        "plugins": plugins,
    }


def describe_watcher(watcher: Watcher, name_hook: NameHook, name_pipe: NamePipe) -> dict[str, Any]:
    """A watcher, its hooks and streams too."""
    options = watcher.describe()
    for key, conf in (("stdout_stream", watcher.stdout_stream_conf), ("stderr_stream", watcher.stderr_stream_conf)):
        described = stream.describe(conf)
        if isinstance(described, Mapping):
            options[key] = {name: _text(value) for name, value in described.items() if value is not None}
        elif described is not None:
            path = name_pipe(described, key.partition("_")[0])
            options[key] = {"class": "FileStream", "filename": path, "framed": True}
    for point, hook in watcher.hooks.items():
        named, ignored = hook if isinstance(hook, (list, tuple)) else (hook, False)
        options.setdefault("hooks", {})[point] = [_hook(named, name_hook), bool(ignored)]
    return options


def _hook(named: Any, name_hook: NameHook) -> str:
    if callable(named):
        return name_hook(named)
    if str(named).startswith("exec:"):
        return str(named)
    try:
        # Here it means what it means to the program: with its sys.path, and with its modules as they are by now.
        return name_hook(resolve_name(str(named)))
    except NoParent:
        return str(named)


def _text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _plugin(plugin: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {"name": plugin.get("name") or plugin["use"], "python": sys.executable}
    for key, value in plugin.items():
        if value is None or isinstance(value, (str, int, float, bool)):
            options[key] = value
        elif isinstance(value, os.PathLike):
            options[key] = os.fspath(value)
        else:
            raise NotServed(
                f"plugin {options['name']}: {key} = {value!r} is an object of this program; plugins are processes of "
                "their own and are told texts alone"
            )
    options.setdefault("env", {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
    if isinstance(options.get("active"), str):
        options["active"] = to_bool(options["active"])
    return options


def log_level(logger: logging.Logger) -> str:
    """How much circusd has to log for this logger."""
    level = logger.getEffectiveLevel()
    for name, number in (("debug", 10), ("info", 20), ("warning", 30), ("error", 40)):
        if level <= number:
            return name
    return "critical"
