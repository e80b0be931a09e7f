"""Managed sockets. Here they are descriptions: circusd opens them and hands them to the workers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any

from circus import _refused
from circus.exc import NotServed
from circus.util import to_bool

__all__ = ["CircusSocket", "CircusSockets"]

__getattr__ = _refused.module_getattr(__name__)

_BY_DAEMON = (
    "circusd opens the managed sockets, so this object has no descriptor. Workers get it as $(circus.sockets.NAME), or "
    "as LISTEN_FDS with the watcher option sockets; a socket of the program's own is passed to no worker."
)


def _name(value: Any, prefix: str) -> str:
    """The name of a constant of the socket module; a name stays."""
    return value.upper() if isinstance(value, str) else str(getattr(value, "name", None) or _find(value, prefix))


def _find(value: int, prefix: str) -> str:
    for name in dir(socket):
        if name.startswith(prefix) and getattr(socket, name) == value:
            return name
    raise ValueError(f"the module socket knows no {prefix}* that is {value}")


class CircusSocket:
    """A socket that circusd is to bind. ``port=0`` has the kernel choose; the port is there once the arbiter runs."""

    def __init__(
        self,
        name: str = "",
        host: str | None = "localhost",
        port: int | None = 8080,
        family: int | str = socket.AF_INET,
        type: int | str = socket.SOCK_STREAM,
        proto: int | str = 0,
        backlog: int = 2048,
        path: str | os.PathLike[str] | None = None,
        umask: int | None = None,
        replace: bool = False,
        interface: str | None = None,
        so_reuseport: bool = False,
        blocking: bool = False,
    ) -> None:
        self.name = name
        self.path = None if path is None else os.fspath(path)
        self.is_unix = self.path is not None
        self.family = socket.AF_UNIX if self.is_unix else getattr(socket, _name(family, "AF_"))
        self.host = None if self.is_unix else host
        self.port = None if self.is_unix else port
        self.type = self.socktype = getattr(socket, _name(type, "SOCK_"))
        self.proto = proto
        self.backlog = backlog
        self.umask = umask
        self.replace = replace
        self.interface = interface
        self.so_reuseport = so_reuseport
        self.blocking = blocking

    @classmethod
    def load_from_config(cls, config: Mapping[str, Any]) -> CircusSocket:
        """A socket from the options that a section [socket:NAME] has."""
        values = {key: value for key, value in config.items() if key in cls._OPTIONS}
        for key, convert in (("port", int), ("backlog", int), ("so_reuseport", to_bool), ("replace", to_bool)):
            if values.get(key) is not None:
                values[key] = convert(values[key])
        if values.get("blocking") is not None:
            values["blocking"] = to_bool(values["blocking"])
        if values.get("umask") is not None:
            values["umask"] = int(str(values["umask"]), 8)
        return cls(**values)

    _OPTIONS = "name host port family type proto backlog path umask replace interface so_reuseport blocking".split()

    @property
    def location(self) -> str:
        """Where it is bound, for messages."""
        return repr(self.path) if self.is_unix else f"{self.host}:{self.port}"

    def describe(self) -> dict[str, Any]:
        """Its options, as circusd reads them."""
        place: dict[str, Any]
        if self.is_unix:
            place = {"family": "AF_UNIX", "path": self.path, "umask": f"{self._mask():03o}", "replace": self.replace}
        else:
            place = {"family": self.family.name, "host": self.host or "localhost", "port": self.port or 0}
        options: dict[str, Any] = {
            "name": self.name,
            **place,
            "type": self.socktype.name,
            "backlog": self.backlog,
            "so_reuseport": bool(self.so_reuseport),
            "blocking": bool(self.blocking),
        }
        if self.interface:
            options["interface"] = self.interface
        if self.proto:
            options["proto"] = self.proto if isinstance(self.proto, str) else _protocol(self.proto)
        return options

    def _mask(self) -> int:
        return _process_umask() if self.umask is None else self.umask

    def __str__(self) -> str:
        return f"socket {self.name!r} at {self.location}"

    def __repr__(self) -> str:
        return f"<CircusSocket {self.name!r} at {self.location}>"

    def close(self) -> None:
        """Does nothing: circusd closes what it has opened, and removes the files of unix sockets."""

    def bind_and_listen(self) -> None:
        """Refused: circusd does it."""
        raise NotServed(f"CircusSocket.bind_and_listen: {_BY_DAEMON}")

    def __getattr__(self, name: str) -> Any:
        if hasattr(socket.socket, name):
            raise NotServed(f"CircusSocket.{name}: {_BY_DAEMON}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def _protocol(number: int) -> str:
    with open("/etc/protocols", encoding="utf-8") as file:
        for line in file:
            words = line.split("#")[0].split()
            if len(words) > 1 and words[1] == str(number):
                return words[0]
    raise ValueError(f"/etc/protocols names no protocol {number}")


def _process_umask() -> int:
    """The umask of this process, read without a change of it that other threads would see."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022


class CircusSockets(dict):  # type: ignore[type-arg]
    """Managed sockets by their names."""

    def __init__(self, sockets: Iterable[CircusSocket] | None = None, backlog: int = 2048) -> None:
        super().__init__((sock.name, sock) for sock in sockets or ())
        self.backlog = backlog

    def add(self, name: str, *args: Any, backlog: int | None = None, **options: Any) -> CircusSocket:
        """Adds a socket and returns it."""
        if name in self:
            raise ValueError(f"A socket already exists {self[name]}")
        options["backlog"] = self.backlog if backlog is None else backlog
        sock = CircusSocket(name, *args, **options)
        self[name] = sock
        return sock

    def close_all(self) -> None:
        """Does nothing: circusd closes what it has opened."""

    def bind_and_listen_all(self) -> None:
        """Refused: circusd does it."""
        raise NotServed(f"CircusSockets.bind_and_listen_all: {_BY_DAEMON}")
