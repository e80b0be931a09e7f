"""Runs the hooks of circusd that are Python functions. circusd starts it; it is no program for anybody else.

Descriptor 3 is a socket to circusd. Lines of JSON go both ways: hooks to run and what they came to, commands and their
answers. Each hook runs in a thread of its own, so that one that hangs keeps nobody waiting; circusd ends this process
when one takes too long. What hooks print goes to circusd's log.
"""
import importlib
import json
import os
import site
import socket
import sys
import threading


class CallError(Exception):
    """circusd has refused a command."""


class Line:
    """The way to circusd and back."""

    def __init__(self, fd):
        self.socket = socket.socket(fileno=fd)
        self.reader = self.socket.makefile("r", encoding="utf-8", newline="\n")
        self.lock = threading.Lock()
        self.waiting = {}
        self.next = 0

    def send(self, message):
        data = (json.dumps(message, default=str) + "\n").encode("utf-8", "replace")
        with self.lock:
            self.socket.sendall(data)

    def call(self, command, properties):
        arrived = threading.Event()
        slot = [arrived, None]
        with self.lock:
            self.next += 1
            number = self.next
            self.waiting[number] = slot
        self.send({"call": number, "command": command, "properties": properties})
        arrived.wait()
        return slot[1]

    def answered(self, number, answer):
        slot = self.waiting.pop(number, None)
        if slot:
            slot[1] = answer
            slot[0].set()


class Process:
    """A process of a watcher."""

    def __init__(self, watcher, pid, wid=None, started=None):
        self.watcher = watcher
        self.pid = pid
        self.wid = wid
        self.started = started
        self.name = watcher.name

    def info(self):
        return self.watcher.process_info(self.pid)

    def age(self):
        return self.info()["age"]

    def is_alive(self):
        return self.pid in self.watcher.pids

    def children(self, recursive=False):
        return [child["pid"] for child in self.info().get("children", [])]

    def is_child(self, pid):
        return int(pid) in self.children()

    def send_signal(self, sig):
        self.watcher._ask("signal", pid=self.pid, signum=int(sig))

    def send_signal_child(self, pid, signum):
        self.watcher._ask("signal", pid=self.pid, childpid=int(pid), signum=int(signum))

    def send_signal_children(self, signum, recursive=False):
        self.watcher._ask("signal", pid=self.pid, children=True, signum=int(signum))

    def __repr__(self):
        return "<Process %s>" % self.pid

    def __eq__(self, other):
        return getattr(other, "pid", None) == self.pid

    def __hash__(self):
        return hash(self.pid)

    def __lt__(self, other):
        return (self.started or 0) < (other.started or 0)

    def __gt__(self, other):
        return (self.started or 0) > (other.started or 0)


# What hooks have set on watchers and on the arbiter besides options, kept from one hook to the next.
KEPT = {}


class Watcher:
    """A watcher. Its options are attributes; those that a hook sets are set when it has answered."""

    def __init__(self, arbiter, name, snapshot=None):
        self.__dict__.update(arbiter=arbiter, name=name, _snapshot=snapshot, _set={}, _env=None, _shown_env=None)

    def _ask(self, command, **properties):
        return self.arbiter.call(command, name=self.name, **properties)

    def _facts(self):
        if self._snapshot is None:
            options = self._ask("options")["options"]
            self.__dict__["_snapshot"] = {"all": dict(options), "options": options}
        return self._snapshot

    @property
    def env(self):
        if self._env is None:
            env = self._facts()["all"].get("env") or {}
            self.__dict__["_env"] = dict(env)
            self.__dict__["_shown_env"] = dict(env)
        return self._env

    @property
    def res_name(self):
        return self.name.lower().replace(" ", "_")

    @property
    def _options(self):
        return self._facts()["options"]

    def __getattr__(self, key):
        kept = KEPT.get(self.name, {})
        if key in self._set:
            return self._set[key]
        if key in kept:
            return kept[key]
        if not key.startswith("_") and key in self._facts()["all"]:
            return self._facts()["all"][key]
        raise AttributeError("circusd's hooks know no watcher.%s; see circus.ini(5), HOOKS" % key)

    def __setattr__(self, key, value):
        if key == "env":
            self.env
            self.__dict__["_env"] = dict(value or {})
        elif key in self._facts()["all"]:
            self._set[key] = value
        else:
            KEPT.setdefault(self.name, {})[key] = value

    def _changes(self):
        changes = dict(self._set)
        if self._env is not None and self._env != self._shown_env:
            changes["env"] = {str(name): str(value) for name, value in self._env.items()}
        return changes

    @property
    def pids(self):
        return self._ask("list")["pids"]

    def get_active_pids(self):
        return self.pids

    @property
    def processes(self):
        infos = self._ask("stats")["info"]
        known = {}
        for pid, info in infos.items():
            if isinstance(info, dict):
                known[int(pid)] = Process(self, int(pid), info.get("wid"), info.get("started"))
        return known

    def get_active_processes(self):
        return list(self.processes.values())

    def status(self):
        try:
            return self._ask("status")["status"]
        except CallError:
            return "stopping"

    def is_active(self):
        return self.status() == "active"

    def is_stopped(self):
        return self.status() == "stopped"

    def is_stopping(self):
        return self.status() == "stopping"

    def info(self, extended=False):
        return {int(pid): info for pid, info in self._ask("stats")["info"].items()}

    def process_info(self, pid, extended=False):
        return self._ask("stats", process=int(pid))["info"]

    def options(self, *args):
        return sorted(self._options.items())

    def send_signal(self, pid, signum):
        self._ask("signal", pid=int(pid), signum=int(signum))

    def send_signal_process(self, process, signum, recursive=False):
        self._ask("signal", pid=process.pid, signum=int(signum), recursive=bool(recursive))

    def send_signal_child(self, pid, child_id, signum):
        self._ask("signal", pid=int(pid), childpid=int(child_id), signum=int(signum))

    def send_signal_children(self, pid, signum, recursive=False):
        self._ask("signal", pid=int(pid), children=True, signum=int(signum))

    def kill_process(self, process, stop_signal=None, graceful_timeout=None):
        self.kill_processes(stop_signal, graceful_timeout, pid=process.pid)

    def kill_processes(self, stop_signal=None, graceful_timeout=None, **more):
        if stop_signal is not None:
            more["signum"] = int(stop_signal)
        if graceful_timeout is not None:
            more["graceful_timeout"] = graceful_timeout
        self._ask("kill", **more)

    def set_opt(self, key, val):
        self._ask("set", options={key: val})

    def set_numprocesses(self, np):
        self._ask("set", options={"numprocesses": int(np)})

    def incr(self, nb=1):
        return self._ask("incr", nb=nb)["numprocesses"]

    def decr(self, nb=1):
        return self._ask("decr", nb=nb)["numprocesses"]

    def start(self):
        self._ask("start")

    def stop(self):
        self._ask("stop")

    def restart(self):
        self._ask("restart")

    def reload(self, graceful=True, sequential=False):
        self._ask("reload", graceful=graceful, sequential=sequential)

    def __len__(self):
        return len(self.pids)

    def __bool__(self):
        return True

    def __repr__(self):
        return "<Watcher %r>" % self.name


class Arbiter:
    """circusd. What it knows not as an attribute, it knows as a command."""

    def __init__(self, line, facts):
        self.__dict__.update(facts)
        self.__dict__["_line"] = line

    def call(self, command, **properties):
        """A command of the control protocol and its answer; CallError if it is refused."""
        if isinstance(command, dict):
            properties = dict(command.get("properties", {}), **properties)
            command = command["command"]
        answer = self._line.call(command, properties)
        if answer.get("status") == "error":
            raise CallError(answer.get("reason"))
        return answer

    def __setattr__(self, key, value):
        KEPT.setdefault(None, {})[key] = value

    def __getattr__(self, key):
        kept = KEPT.get(None, {})
        if key in kept:
            return kept[key]
        raise AttributeError("circusd's hooks know no arbiter.%s; see circus.ini(5), HOOKS" % key)

    def get_watcher(self, name):
        name = name.lower()
        for known in self.call("status")["statuses"]:
            if known.lower() == name:
                return Watcher(self, known)
        raise KeyError(name)

    @property
    def watchers(self):
        return [Watcher(self, name) for name in self.call("status")["statuses"]]

    def iter_watchers(self, reverse=True):
        return iter(sorted(self.watchers, key=lambda watcher: watcher.priority, reverse=reverse))

    def numwatchers(self):
        return self.call("numwatchers")["numwatchers"]

    def numprocesses(self):
        return self.call("numprocesses")["numprocesses"]

    def statuses(self):
        return self.call("status")["statuses"]

    def add_watcher(self, name, cmd, **kw):
        self.call("add", name=name, cmd=cmd, options=kw)
        return Watcher(self, name)

    def rm_watcher(self, name, nostop=False):
        self.call("rm", name=name, nostop=nostop)

    def start_watcher(self, watcher):
        watcher.start()

    def start_watchers(self):
        self.call("start")

    def stop_watchers(self):
        self.call("stop")

    def reload(self, graceful=True, sequential=False):
        self.call("reload", graceful=graceful, sequential=sequential)


def resolve(name, again=False):
    """The function of this name: package.module.function or package.module:function."""
    if ":" in name:
        module, path = name.split(":", 1)
    else:
        module, _, path = name.rpartition(".")
    if not module:
        raise ImportError("%r names no function in a module" % name)
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
            raise ImportError("module %r has no %r" % (module, path)) from None
    if not callable(loaded):
        raise ImportError("%r is no function" % name)
    return loaded


LOADING = threading.Lock()


def find(message, name):
    # Two threads that import the same modules in different orders would wait for each other.
    with LOADING:
        for path in message.get("paths", []):
            if path and path not in sys.path:
                site.addsitedir(path)
        return resolve(name, name in message.get("anew", []))


def explain(error):
    text = str(error)
    return text if text else type(error).__name__


def load(message):
    for point, name in message["names"].items():
        try:
            find(message, name)
        except BaseException as error:
            return {"error": "hooks.%s = %s cannot be loaded: %s: %s" % (point, name, type(error).__name__, error)}
    return {"answer": True}


def run(line, message):
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
        import traceback
        traceback.print_exc()
        return {"error": explain(error), "set": watcher._changes()}
    # A function that returns nothing has nothing against it.
    outcome = {"answer": True if answer is None else bool(answer), "set": watcher._changes()}
    if point == "extended_stats":
        outcome["stats"] = more["stats"]
    return outcome


def work(line, message):
    outcome = load(message) if "names" in message else run(line, message)
    outcome["done"] = message["run"]
    line.send(outcome)


def main():
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


main()
