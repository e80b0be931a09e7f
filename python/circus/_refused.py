"""Names of Circus 0.19 that cannot be served, and what to use instead.

They are parts of a daemon in Python. Importing one raises an ``ImportError`` that names the way out.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Callable, NoReturn

from circus.exc import NotServed

_DAEMON = "it is a part of the daemon in Python; the daemon is the program circusd"
_CTL = "circusctl is a program: run it, or use circus.client.CircusClient"
_STATS = "statistics are made by the program circusd-stats; read them with circus.stats.client.StatsClient"
_GEVENT = "gevent is not supported; use circus.client.CircusClient in a thread of gevent's pool"
_BUILTIN = (
    "circusd has this plugin built in: name it as use = {0}, and subclass circus.plugins.CircusPlugin for your own"
)
_INFO = "circusd looks at processes: ask it with the command stats, or use psutil"
_TORNADO = "nothing here runs in Tornado; methods return circus._future.Reply, which can be yielded and awaited"

# Modules that are not there at all.
MODULES = {
    "circus._patch": _DAEMON,
    "circus.circusctl": _CTL,
    "circus.config": "circusd reads configuration files: circusd --check checks one, Arbiter.load_from_config runs one",
    "circus.controller": _DAEMON,
    "circus.fixed_threading": "use the module threading",
    "circus.green": _GEVENT,
    "circus.green.arbiter": _GEVENT,
    "circus.green.client": _GEVENT,
    "circus.green.consumer": _GEVENT,
    "circus.green.controller": _GEVENT,
    "circus.green.sighandler": _GEVENT,
    "circus.plugins._statsd": _BUILTIN.format("circus.plugins.statsd.StatsdEmitter"),
    "circus.plugins.command_reloader": _BUILTIN.format("circus.plugins.command_reloader.CommandReloader"),
    "circus.plugins.flapping": _BUILTIN.format("circus.plugins.flapping.Flapping"),
    "circus.plugins.http_observer": _BUILTIN.format("circus.plugins.http_observer.HttpObserver"),
    "circus.plugins.redis_observer": _BUILTIN.format("circus.plugins.redis_observer.RedisObserver"),
    "circus.plugins.resource_watcher": _BUILTIN.format("circus.plugins.resource_watcher.ResourceWatcher"),
    "circus.plugins.statsd": _BUILTIN.format("circus.plugins.statsd.FullStats"),
    "circus.plugins.watchdog": _BUILTIN.format("circus.plugins.watchdog.WatchDog"),
    "circus.sighandler": _DAEMON,
    "circus.stats.collector": _STATS,
    "circus.stats.publisher": _STATS,
    "circus.stats.streamer": _STATS,
    "circus.stream.redirector": _DAEMON,
}

_TICK = "circusd does it by itself, at once and not at a tick"
_CHANGE = "set options with set_opt; circusd does what they need"

# Names that a module lacks that is there; those of classes with a dot.
NAMES = {
    "circus.arbiter": {
        "Arbiter.get_arbiter_config": _DAEMON,
        "Arbiter.get_plugin_config": _DAEMON,
        "Arbiter.get_watcher_config": _DAEMON,
        "Arbiter.initialize": "start() does it",
        "Arbiter.manage_watchers": _TICK,
        "Arbiter.reap_processes": _TICK,
    },
    "circus.process": {
        "PIPE": "import subprocess",
        "STATUS_DEAD": "import psutil",
        "STATUS_ZOMBIE": "import psutil",
        **dict.fromkeys(
            "get_children get_cmdline get_cpu_percent get_cpu_times get_create_time get_memory_info get_memory_percent "
            "get_nice get_status get_username".split(),
            _INFO,
        ),
    },
    "circus.stream.file_stream": dict.fromkeys(("ST_DEV", "ST_INO", "ST_MTIME"), "import stat"),
    "circus.watcher": {
        "Watcher.call_hook": "circusd calls hooks",
        "Watcher.do_action": _CHANGE,
        "Watcher.initialize": "the arbiter does it",
        "Watcher.manage_processes": _TICK,
        "Watcher.notify_event": "circusd publishes events; publish your own on a socket of your own",
        "Watcher.pending_socket_event": _TICK,
        "Watcher.reap_and_manage_processes": _TICK,
        "Watcher.reap_process": _TICK,
        "Watcher.reap_processes": _TICK,
        "Watcher.remove_expired_processes": _TICK,
        "Watcher.spawn_process": "use incr",
        "Watcher.spawn_processes": _TICK,
    },
    "circus.sockets": {"addrinfo": "circusd resolves the names of hosts; use socket.getaddrinfo"},
    "circus.stats.client": {"Painter": "it draws the screen of circus-top, which is a program"},
    "circus.stream": {"Redirector": _DAEMON},
    "circus.commands.base": {"CommandMeta": "commands are made from a table; circusd has no commands in Python"},
    **{
        f"circus.commands.{module}": dict.fromkeys(("execute_watcher_start_stop_restart", "match_options"), _DAEMON)
        for module in ("restart", "start", "stop")
    },
    "circus.commands.util": {
        "convert_option": "circusd checks and converts options; send them with the command set",
        "validate_option": "circusd checks options; send them with the command set and look at the answer",
    },
    "circus.util": {
        "DEFAULTSECT": "circusd reads configuration files",
        "INDENTATION_LEVEL": "it belongs to the tracing of calls in the daemon in Python",
        "ImportStringError": "resolve_name raises ImportError and AttributeError",
        "StrictConfigParser": "circusd reads configuration files; configparser.RawConfigParser is near to it",
        "TransformableFuture": _TORNADO,
        "create_udp_socket": _DAEMON,
        "get_info": _INFO,
        "load_virtualenv": "circusd does it: give the watcher the option virtualenv",
        "replace_env": "os.environ.get does it",
        "replace_gnu_args": "circusd replaces $(circus.NAME) in commands",
        "synchronized": "circusd queues commands; nothing has to be locked out",
        "yaml": "import yaml",
    },
}


def module_getattr(module: str) -> Callable[[str], Any]:
    """What ``__getattr__`` of a module is to be."""

    def missing(name: str) -> Any:
        reason = NAMES.get(module, {}).get(name)
        if reason is not None:
            # ``from module import name`` turns an AttributeError into an ImportError without its text.
            raise ImportError(f"{module}.{name} is not served: {reason}. See docs/embedding.md", name=name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return missing


def refuse_attribute(owner: type, name: str) -> NoReturn:
    """What ``__getattr__`` of a class does with a name that it has not."""
    for base in owner.__mro__:
        reason = NAMES.get(base.__module__, {}).get(f"{base.__name__}.{name}")
        if reason is not None:
            raise NotServed(f"{base.__name__}.{name} is not served: {reason}. See docs/embedding.md")
    raise AttributeError(f"{owner.__name__!r} object has no attribute {name!r}")


class _Finder(importlib.abc.MetaPathFinder):
    """Answers imports of modules that are not served with the reason."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        reason = MODULES.get(fullname)
        if reason is not None:
            raise ModuleNotFoundError(f"{fullname} is not served: {reason}. See docs/embedding.md", name=fullname)
        return None


FINDER = _Finder()
