"""Runs the hooks of circusd that are Python functions. circusd starts it, with this text on a descriptor.

Descriptor 3 is a socket to circusd. Lines of JSON go both ways: hooks to run and what they came to, commands and their
answers. Each hook runs in a thread of its own, so that one that hangs delays no other; circusd ends this process
when one takes too long. The output of hooks goes to circusd's log.
"""

from __future__ import annotations

import importlib
import json
import os
import site
import socket
import sys
import threading
import traceback
from typing import Any


class CallError(Exception):
    """circusd has refused a command."""


class Line:
    """The way to circusd and back."""

    def __init__(self, fd: Any) -> None:
        self.socket = socket.socket(fileno=fd)
        self.reader = self.socket.makefile("r", encoding="utf-8", newline="\n")
        self.lock = threading.Lock()
        self.waiting: dict[int, list[Any]] = {}
        self.next = 0

    def send(self, message: Any) -> None:
        data = (json.dumps(message, default=str) + "\n").encode("utf-8", "replace")
        with self.lock:
            self.socket.sendall(data)

    def call(self, command: Any, properties: Any) -> Any:
        arrived = threading.Event()
        slot: list[Any] = [arrived, None]
        with self.lock:
            self.next += 1
            number = self.next
            self.waiting[number] = slot
        self.send({"call": number, "command": command, "properties": properties})
        arrived.wait()
        return slot[1]

    def answered(self, number: Any, answer: Any) -> None:
        slot = self.waiting.pop(number, None)
        if slot:
            slot[1] = answer
            slot[0].set()


class Process:
    """A process of a watcher."""

    def __init__(self, watcher: Any, pid: Any, wid: Any = None, started: Any = None) -> None:
        self.watcher = watcher
        self.pid = pid
        self.wid = wid
        self.started = started
        self.name = watcher.name

    def info(self) -> Any:
        return self.watcher.process_info(self.pid)

    def age(self) -> Any:
        return self.info()["age"]

    def is_alive(self) -> Any:
        return self.pid in self.watcher.pids

    def children(self, recursive: Any = False) -> Any:
        return [child["pid"] for child in self.info().get("children", [])]

    def is_child(self, pid: Any) -> Any:
        return int(pid) in self.children()

    def send_signal(self, sig: Any) -> Any:
        self.watcher._ask("signal", pid=self.pid, signum=int(sig))

    def send_signal_child(self, pid: Any, signum: Any) -> Any:
        self.watcher._ask("signal", pid=self.pid, childpid=int(pid), signum=int(signum))

    def send_signal_children(self, signum: Any, recursive: Any = False) -> Any:
        self.watcher._ask("signal", pid=self.pid, children=True, signum=int(signum))

    def __repr__(self) -> str:
        return f"<Process {self.pid}>"

    def __eq__(self, other: Any) -> bool:
        return bool(getattr(other, "pid", None) == self.pid)

    def __hash__(self) -> int:
        return hash(self.pid)

    def __lt__(self, other: Any) -> bool:
        return (self.started or 0) < (other.started or 0)

    def __gt__(self, other: Any) -> bool:
        return (self.started or 0) > (other.started or 0)


# What hooks have set on watchers and on the arbiter besides options, kept from one hook to the next.
KEPT: dict[Any, dict[str, Any]] = {}


class Watcher:
    """A watcher. Its options are attributes; those that a hook sets are set when it has answered."""

    def __init__(self, arbiter: Any, name: Any, snapshot: Any = None) -> None:
        self.__dict__.update(arbiter=arbiter, name=name, _snapshot=snapshot, _set={}, _env=None, _shown_env=None)

    def _ask(self, command: Any, **properties: Any) -> Any:
        return self.arbiter.call(command, name=self.name, **properties)

    def _facts(self) -> Any:
        if self._snapshot is None:
            options = self._ask("options")["options"]
            self.__dict__["_snapshot"] = {"all": dict(options), "options": options}
        return self._snapshot

    @property
    def env(self) -> Any:
        if self._env is None:
            env = self._facts()["all"].get("env") or {}
            self.__dict__["_env"] = dict(env)
            self.__dict__["_shown_env"] = dict(env)
        return self._env

    @property
    def res_name(self) -> Any:
        return self.name.lower().replace(" ", "_")

    @property
    def _options(self) -> Any:
        return self._facts()["options"]

    def __getattr__(self, key: Any) -> Any:
        kept = KEPT.get(self.name, {})
        if key in self._set:
            return self._set[key]
        if key in kept:
            return kept[key]
        if not key.startswith("_") and key in self._facts()["all"]:
            return self._facts()["all"][key]
        raise AttributeError(f"circusd's hooks know no watcher.{key}; see circus.ini(5), HOOKS")

    def __setattr__(self, key: Any, value: Any) -> None:
        if key == "env":
            _shown = self.env
            self.__dict__["_env"] = dict(value or {})
        elif key in self._facts()["all"]:
            self._set[key] = value
        else:
            KEPT.setdefault(self.name, {})[key] = value

    def _changes(self) -> Any:
        changes = dict(self._set)
        if self._env is not None and self._env != self._shown_env:
            changes["env"] = {str(name): str(value) for name, value in self._env.items()}
        return changes

    @property
    def pids(self) -> Any:
        return self._ask("list")["pids"]

    def get_active_pids(self) -> Any:
        return self.pids

    @property
    def processes(self) -> Any:
        infos = self._ask("stats")["info"]
        known = {}
        for pid, info in infos.items():
            if isinstance(info, dict):
                known[int(pid)] = Process(self, int(pid), info.get("wid"), info.get("started"))
        return known

    def get_active_processes(self) -> Any:
        return list(self.processes.values())

    def status(self) -> Any:
        try:
            return self._ask("status")["status"]
        except CallError:
            return "stopping"

    def is_active(self) -> Any:
        return self.status() == "active"

    def is_stopped(self) -> Any:
        return self.status() == "stopped"

    def is_stopping(self) -> Any:
        return self.status() == "stopping"

    def info(self, extended: Any = False) -> Any:
        return {int(pid): info for pid, info in self._ask("stats")["info"].items()}

    def process_info(self, pid: Any, extended: Any = False) -> Any:
        return self._ask("stats", process=int(pid))["info"]

    def options(self, *args: Any) -> Any:
        return sorted(self._options.items())

    def send_signal(self, pid: Any, signum: Any) -> Any:
        self._ask("signal", pid=int(pid), signum=int(signum))

    def send_signal_process(self, process: Any, signum: Any, recursive: Any = False) -> Any:
        self._ask("signal", pid=process.pid, signum=int(signum), recursive=bool(recursive))

    def send_signal_child(self, pid: Any, child_id: Any, signum: Any) -> Any:
        self._ask("signal", pid=int(pid), childpid=int(child_id), signum=int(signum))

    def send_signal_children(self, pid: Any, signum: Any, recursive: Any = False) -> Any:
        self._ask("signal", pid=int(pid), children=True, signum=int(signum))

    def kill_process(self, process: Any, stop_signal: Any = None, graceful_timeout: Any = None) -> Any:
        self.kill_processes(stop_signal, graceful_timeout, pid=process.pid)

    def kill_processes(self, stop_signal: Any = None, graceful_timeout: Any = None, **more: Any) -> Any:
        if stop_signal is not None:
            more["signum"] = int(stop_signal)
        if graceful_timeout is not None:
            more["graceful_timeout"] = graceful_timeout
        self._ask("kill", **more)

    def set_opt(self, key: Any, val: Any) -> Any:
        self._ask("set", options={key: val})

    def set_numprocesses(self, np: Any) -> Any:
        self._ask("set", options={"numprocesses": int(np)})

    def incr(self, nb: Any = 1) -> Any:
        return self._ask("incr", nb=nb)["numprocesses"]

    def decr(self, nb: Any = 1) -> Any:
        return self._ask("decr", nb=nb)["numprocesses"]

    def start(self) -> Any:
        self._ask("start")

    def stop(self) -> Any:
        self._ask("stop")

    def restart(self) -> Any:
        self._ask("restart")

    def reload(self, graceful: Any = True, sequential: Any = False) -> Any:
        self._ask("reload", graceful=graceful, sequential=sequential)

    def __len__(self) -> int:
        return len(self.pids)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<Watcher {self.name!r}>"


class Arbiter:
    """circusd. A name that is no attribute of it is a command."""

    def __init__(self, line: Any, facts: Any) -> None:
        self.__dict__.update(facts)
        self.__dict__["_line"] = line

    def call(self, command: Any, **properties: Any) -> Any:
        """A command of the control protocol and its answer; CallError if it is refused."""
        if isinstance(command, dict):
            properties = dict(command.get("properties", {}), **properties)
            command = command["command"]
        answer = self._line.call(command, properties)
        if answer.get("status") == "error":
            raise CallError(answer.get("reason"))
        return answer

    def __setattr__(self, key: Any, value: Any) -> None:
        KEPT.setdefault(None, {})[key] = value

    def __getattr__(self, key: Any) -> Any:
        kept = KEPT.get(None, {})
        if key in kept:
            return kept[key]
        raise AttributeError(f"circusd's hooks know no arbiter.{key}; see circus.ini(5), HOOKS")

    def get_watcher(self, name: Any) -> Any:
        name = name.lower()
        for known in self.call("status")["statuses"]:
            if known.lower() == name:
                return Watcher(self, known)
        raise KeyError(name)

    @property
    def watchers(self) -> Any:
        return [Watcher(self, name) for name in self.call("status")["statuses"]]

    def iter_watchers(self, reverse: Any = True) -> Any:
        return iter(sorted(self.watchers, key=lambda watcher: watcher.priority, reverse=reverse))

    def numwatchers(self) -> Any:
        return self.call("numwatchers")["numwatchers"]

    def numprocesses(self) -> Any:
        return self.call("numprocesses")["numprocesses"]

    def statuses(self) -> Any:
        return self.call("status")["statuses"]

    def add_watcher(self, name: Any, cmd: Any, **kw: Any) -> Any:
        self.call("add", name=name, cmd=cmd, options=kw)
        return Watcher(self, name)

    def rm_watcher(self, name: Any, nostop: Any = False) -> Any:
        self.call("rm", name=name, nostop=nostop)

    def start_watcher(self, watcher: Any) -> Any:
        watcher.start()

    def start_watchers(self) -> Any:
        self.call("start")

    def stop_watchers(self) -> Any:
        self.call("stop")

    def reload(self, graceful: Any = True, sequential: Any = False) -> Any:
        self.call("reload", graceful=graceful, sequential=sequential)


def resolve(name: Any, again: Any = False) -> Any:
    """The function of this name: package.module.function or package.module:function."""
    if ":" in name:
        module, path = name.split(":", 1)
    else:
        module, _, path = name.rpartition(".")
    if not module:
        raise ImportError(f"{name!r} names no function in a module")
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        # A class in a module: package.module.Class.method.
        outer, _, inner = module.rpartition(".")
        if ":" in name or not outer or getattr(error, "name", None) != module:
            raise
        loaded, path = importlib.import_module(outer), inner + "." + path
        module = outer
    if again:
        importlib.invalidate_caches()
        loaded = importlib.reload(loaded)
    for part in path.split("."):
        try:
            loaded = getattr(loaded, part)
        except AttributeError:
            raise ImportError(f"module {module!r} has no {path!r}") from None
    if not callable(loaded):
        raise ImportError(f"{name!r} is not a function")
    return loaded


LOADING = threading.Lock()


def find(message: Any, name: Any) -> Any:
    # Two threads that import the same modules in different orders would wait for each other.
    with LOADING:
        for path in message.get("paths", []):
            if path and path not in sys.path:
                site.addsitedir(path)
        return resolve(name, name in message.get("anew", []))


def explain(error: Any) -> Any:
    text = str(error)
    return text if text else type(error).__name__


def load(message: Any) -> Any:
    for point, name in message["names"].items():
        try:
            find(message, name)
        except BaseException as error:
            return {"error": f"hooks.{point} = {name} cannot be loaded: {type(error).__name__}: {error}"}
    return {"answer": True}


def run(line: Any, message: Any) -> Any:
    arbiter = Arbiter(line, message["arbiter"])
    watcher = Watcher(arbiter, message["watcher"], message["snapshot"])
    point, more = message["hook"], message["kwargs"]
    try:
        hook = find(message, message["name"])
        if point == "extended_stats":
            answer = hook(watcher, arbiter, point, **more)
        else:
            answer = hook(watcher=watcher, arbiter=arbiter, hook_name=point, **more)
    except BaseException as error:
        traceback.print_exc()
        return {"error": explain(error), "set": watcher._changes()}
    # A function that returns nothing has nothing against it.
    outcome = {"answer": True if answer is None else bool(answer), "set": watcher._changes()}
    if point == "extended_stats":
        outcome["stats"] = more["stats"]
    return outcome


def work(line: Any, message: Any) -> None:
    outcome = load(message) if "names" in message else run(line, message)
    outcome["done"] = message["run"]
    line.send(outcome)


def main() -> None:
    os.set_inheritable(3, False)
    line = Line(3)
    # Relative to where circusd was started, and after everything else.
    sys.path[:] = [path for path in sys.path if path] + [os.getcwd()]
    for text in line.reader:
        message = json.loads(text)
        if "run" in message:
            threading.Thread(target=work, args=(line, message), daemon=True).start()
        elif "reply" in message:
            line.answered(message["reply"], message["value"])
    os._exit(0)


if __name__ == "__main__":
    main()
