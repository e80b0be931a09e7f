"""What runs in the program itself on circusd's behalf: hooks that are its functions, streams that are its objects."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import struct
import threading
from typing import Any, Callable

from circus import _parent
from circus._pipe import Pipe, Source, lines_of

logger = logging.getLogger("circus")


class Hooks:
    """Answers circusd's hooks with functions of this program. Each call runs in a thread of its own."""

    def __init__(self) -> None:
        self.functions: list[Callable[..., Any]] = []
        self.address = b"circus-" + os.urandom(16)
        self.listener: socket.socket | None = None

    def name(self, function: Callable[..., Any]) -> str:
        """Registers a function, and returns the name that circusd is to call it by."""
        self.functions.append(function)
        return _parent.name(len(self.functions) - 1, self.address)

    def start(self, arbiter: Any) -> None:
        """Begins to answer, if there is any hook and it has not begun."""
        if not self.functions or self.listener is not None:
            return
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(b"\0" + self.address)
        self.listener.listen(64)
        threading.Thread(target=self._accept, args=(self.listener, arbiter), name="circus-hooks", daemon=True).start()

    def stop(self) -> None:
        """Answers no more."""
        if self.listener is not None:
            # accept() of the other thread ends with shutdown, not with close alone.
            with contextlib.suppress(OSError):
                self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None

    def _accept(self, listener: socket.socket, arbiter: Any) -> None:
        while True:
            try:
                way, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(way, arbiter), name="circus-hook", daemon=True).start()

    def _serve(self, way: socket.socket, arbiter: Any) -> None:
        with way, way.makefile("rw", encoding="utf-8") as lines:
            # The address is hard to guess but not secret; only processes of the same user are answered.
            peer = struct.unpack("3i", way.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
            if peer[1] != os.geteuid():
                return
            try:
                answer = self._run(json.loads(lines.readline()), arbiter)
            except BaseException as error:
                logger.exception("a hook has failed")
                answer = {"error": str(error) or type(error).__name__}
            with contextlib.suppress(OSError):
                lines.write(json.dumps(answer, default=str) + "\n")
                lines.flush()

    def _run(self, request: dict[str, Any], arbiter: Any) -> dict[str, Any]:
        kwargs, point = request["kwargs"], request["hook"]
        watcher = arbiter.get_watcher(request["watcher"])
        function = self.functions[request["key"]]
        before = watcher.changeable()
        if point == "extended_stats":
            result = function(watcher, arbiter, point, **kwargs)
        else:
            result = function(watcher=watcher, arbiter=arbiter, hook_name=point, **kwargs)
        # As for every hook of circusd: a function that returns nothing has nothing against it.
        answer = True if result is None else bool(result)
        return {"answer": answer, "stats": kwargs.get("stats"), "set": _changes(before, watcher.changeable())}


def _changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What a hook has set: options, and of the environment the variables alone; ``None`` is one that it has removed."""
    changed = {key: value for key, value in after.items() if key != "env" and value != before.get(key)}
    old, new = before["env"], after["env"]
    env = {key: value for key, value in new.items() if old.get(key) != value}
    env.update(dict.fromkeys(key for key in old if key not in new))
    return {**changed, "env": env} if env else changed


def stream_pipe(stream: Callable[[dict[str, Any]], Any], name: str) -> Pipe:
    """A pipe for framed output, which is handed to a stream of this program: whole lines, as far as they are whole."""

    def take(source: Source) -> None:
        pid, length = map(int, source.line().split())
        for line in lines_of(source.exactly(length)):
            try:
                stream({"data": line, "pid": pid, "name": name})
            except Exception:
                logger.exception("a stream has failed")

    return Pipe(take, f"circus-{name}")


_LEVELS = {"CRITICAL": 50, "ERROR": 40, "WARNING": 30, "INFO": 20, "DEBUG": 10}
_LOGGED = re.compile(r"\S+ \S+ circus\[\d+\] \[(\w+)\] (.*)", re.DOTALL)


def log_pipe() -> Pipe:
    """A pipe whose lines, those of circusd's log, reach the logger ``circus``."""

    def take(source: Source) -> None:
        text = source.line().decode(errors="replace")
        found = _LOGGED.match(text)
        level, text = (_LEVELS.get(found.group(1), 20), found.group(2)) if found else (20, text)
        logger.log(level, "%s", text)

    return Pipe(take, "circus-log")
