"""Watchers as Python objects: what circusd is to run, and, while it runs, a way to ask for it and to change it."""

from __future__ import annotations

import os
import signal
import site
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from circus import _refused
from circus._future import Reply
from circus.exc import NotServed
from circus.process import DEAD_OR_ZOMBIE, UNEXISTING, Process
from circus.util import get_working_dir, resolve_name, to_bool, to_signum

if TYPE_CHECKING:
    from circus.arbiter import Arbiter

__all__ = ["DEAD_OR_ZOMBIE", "IS_WINDOWS", "UNEXISTING", "Watcher"]

IS_WINDOWS = False

__getattr__ = _refused.module_getattr(__name__)

# What a hook is given as: the name of a function or the function, and whether its failure counts as a yes.
Hook = Any

_FLAGS = (
    "shell send_hup stop_children singleton use_sockets on_demand autostart close_child_stdin close_child_stdout "
    "close_child_stderr"
).split()
_OPTNAMES = (
    "numprocesses warmup_delay working_dir uid gid send_hup stop_signal stop_children shell shell_args env max_retry "
    "cmd args respawn graceful_timeout executable use_sockets priority copy_env singleton stdout_stream_conf on_demand "
    "stderr_stream_conf max_age max_age_variance close_child_stdin close_child_stdout close_child_stderr"
).split()


class Watcher:
    """A group of equal processes. The arguments are the options of a section [watcher:NAME]: see circus.ini(5).

    Before the arbiter starts, the attributes are what it will start with. Afterwards they stay what they were, but for
    ``numprocesses``; that and the methods ask circusd. circusd takes over options that a hook function sets.
    """

    def __init__(
        self,
        name: str,
        cmd: str,
        args: str | Sequence[Any] | None = None,
        numprocesses: int = 1,
        warmup_delay: float = 0.0,
        working_dir: str | os.PathLike[str] | None = None,
        shell: bool = False,
        shell_args: str | None = None,
        uid: int | str | None = None,
        max_retry: int = 5,
        gid: int | str | None = None,
        send_hup: bool = False,
        stop_signal: int | str = signal.SIGTERM,
        stop_children: bool = False,
        env: Mapping[str, str] | None = None,
        graceful_timeout: float = 30.0,
        prereload_fn: Callable[..., Any] | None = None,
        rlimits: Mapping[str, int | None] | None = None,
        executable: str | None = None,
        stdout_stream: Any = None,
        stderr_stream: Any = None,
        priority: int = 0,
        loop: Any = None,
        singleton: bool = False,
        use_sockets: bool = False,
        copy_env: bool = False,
        copy_path: bool = False,
        max_age: int = 0,
        max_age_variance: int = 30,
        hooks: Mapping[str, Hook] | None = None,
        respawn: bool | str = True,
        autostart: bool = True,
        on_demand: bool = False,
        virtualenv: str | None = None,
        stdin_socket: str | None = None,
        close_child_stdin: bool = True,
        close_child_stdout: bool = False,
        close_child_stderr: bool = False,
        virtualenv_py_ver: str | None = None,
        **options: Any,
    ) -> None:
        if prereload_fn is not None:
            raise NotServed(
                f"watcher {name}: prereload_fn would run in the daemon, which is not Python; use the hook before_start"
            )
        if singleton and int(numprocesses) not in (0, 1):
            raise ValueError(f"Cannot have {numprocesses} processes with a singleton  watcher")
        if copy_path and not copy_env:
            raise ValueError("copy_env and copy_path must have the same value")
        self.name = name
        self.cmd = os.fspath(cmd)
        self.args = args
        self.numprocesses = int(numprocesses)
        self.warmup_delay = warmup_delay
        self.working_dir = os.fspath(working_dir) if working_dir else get_working_dir()
        self.shell, self.shell_args = shell, shell_args
        self.uid, self.gid = uid, gid
        self.max_retry = int(max_retry)
        self.send_hup = send_hup
        self.stop_signal = stop_signal
        self.stop_children = stop_children
        self.graceful_timeout = float(graceful_timeout)
        self.rlimits = rlimits
        self.executable = executable
        self.stdout_stream = self.stdout_stream_conf = stdout_stream
        self.stderr_stream = self.stderr_stream_conf = stderr_stream
        self.priority = int(priority)
        self.loop = loop
        self.singleton = singleton
        self.use_sockets = use_sockets
        self.copy_env, self.copy_path = copy_env, copy_path
        self.max_age, self.max_age_variance = int(max_age), int(max_age_variance)
        self.respawn = respawn
        self.autostart = autostart
        self.on_demand = on_demand
        self.virtualenv, self.virtualenv_py_ver = virtualenv, virtualenv_py_ver
        self.stdin_socket = stdin_socket
        self.close_child_stdin = close_child_stdin
        self.close_child_stdout = close_child_stdout
        self.close_child_stderr = close_child_stderr
        self.env: dict[str, str] | None = _environment(env, copy_env, copy_path)
        self.hooks: dict[str, Hook] = dict(hooks or {})
        self._check_hooks()
        self.arbiter: Arbiter | None = None
        # stream_backend chose between threads and gevent, which circusd does not need.
        options.pop("stream_backend", None)
        self._options: dict[str, Any] = options
        self.optnames = (*_OPTNAMES, *options)

    def _check_hooks(self) -> None:
        """Raises what keeps a hook that is named from being loaded: ImportError or AttributeError."""
        for path in (self.env or {}).get("PYTHONPATH", "").split(os.pathsep):
            if path and path not in sys.path:
                site.addsitedir(path)
        for hook in self.hooks.values():
            named = hook[0] if isinstance(hook, (list, tuple)) else hook
            if isinstance(named, str) and not named.startswith("exec:"):
                resolve_name(named)

    @classmethod
    def load_from_config(cls, config: Mapping[str, Any]) -> Watcher:
        """A watcher from a dictionary of its options. Values of ``env`` are taken as they are."""
        options = dict(config)
        for flag in (*_FLAGS, "copy_env", "copy_path"):
            if isinstance(options.get(flag), str):
                options[flag] = to_bool(options[flag])
        return cls(name=options.pop("name"), cmd=options.pop("cmd"), **options)

    def __getattr__(self, name: str) -> Any:
        _refused.refuse_attribute(type(self), name)

    @property
    def res_name(self) -> str:
        """The name as it is part of the topics of events."""
        return self.name.lower().replace(" ", "_")

    def __repr__(self) -> str:
        return f"<Watcher {self.name!r}>"

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        return len(self.get_active_pids())

    def describe(self) -> dict[str, Any]:
        """Its options as circusd reads them; hooks and streams are the arbiter's affair."""
        options: dict[str, Any] = {
            "name": self.name,
            "cmd": self.cmd,
            "args": "" if self.args is None else _args(self.args),
            "numprocesses": self._numprocesses,
            "warmup_delay": self.warmup_delay,
            "working_dir": self.working_dir,
            "max_retry": self.max_retry,
            "stop_signal": to_signum(self.stop_signal),
            "graceful_timeout": self.graceful_timeout,
            "priority": self.priority,
            "max_age": self.max_age,
            "max_age_variance": self.max_age_variance,
            "respawn": self.respawn if self.respawn == "on-failure" else bool(self.respawn),
            "copy_env": bool(self.copy_env),
            "env": _difference(self.env or {}, bool(self.copy_env)),
        }
        options.update({flag: bool(getattr(self, flag)) for flag in _FLAGS})
        for key in ("shell_args", "uid", "gid", "executable", "stdin_socket", "virtualenv", "virtualenv_py_ver"):
            if getattr(self, key) is not None:
                options[key] = getattr(self, key)
        for limit, value in (self.rlimits or {}).items():
            options[f"rlimit_{limit.lower()}"] = value
        for key, value in self._options.items():
            options[key] = _plain(self.name, key, value)
        return options

    def changeable(self) -> dict[str, Any]:
        """What a hook may change by setting attributes of the watcher, as circusd reads it."""
        options = {**self.describe(), "env": dict(self.env or {})}
        del options["name"]
        return options

    # What follows asks circusd.

    @property
    def numprocesses(self) -> int:
        """How many processes there are to be: while circusd runs, what clients have made of it."""
        if not self._running():
            return self._numprocesses
        return int(self._ask("get", keys=["numprocesses"])["options"]["numprocesses"])

    @numprocesses.setter
    def numprocesses(self, value: int) -> None:
        self._numprocesses = int(value)

    def _ask(self, command: str, **properties: Any) -> Any:
        if self.arbiter is None:
            raise RuntimeError(f"watcher {self.name} belongs to no arbiter that runs, so circusd cannot be asked")
        return self.arbiter.ask(command, name=self.name, **properties)

    def _running(self) -> bool:
        return self.arbiter is not None and self.arbiter.running

    @property
    def pids(self) -> list[int]:
        """The pids of the processes that live."""
        return list(self._ask("list")["pids"]) if self._running() else []

    @property
    def processes(self) -> dict[int, Process]:
        """The processes that live, by their pids."""
        if not self._running():
            return {}
        # Of a process that has just gone there is a sentence instead.
        living = {pid: info for pid, info in self.info().items() if isinstance(info, dict)}
        return {pid: Process(self, pid, info["wid"], info) for pid, info in living.items()}

    def get_active_processes(self) -> list[Process]:
        """The processes that live."""
        return list(self.processes.values())

    def get_active_pids(self) -> list[int]:
        """The pids of the processes that live."""
        return self.pids

    def status(self) -> str:
        """``active``, ``stopped``, ``starting`` or ``stopping``."""
        return str(self._ask("status")["status"]) if self._running() else "stopped"

    def is_active(self) -> bool:
        return self.status() == "active"

    def is_stopped(self) -> bool:
        return self.status() == "stopped"

    def is_stopping(self) -> bool:
        return self.status() == "stopping"

    def info(self, extended: bool = False) -> dict[int, Any]:
        """What each process uses, by its pid."""
        return {int(pid): info for pid, info in self._ask("stats", extended=extended)["info"].items()}

    def process_info(self, pid: int, extended: bool = False) -> Any:
        """What a process uses."""
        return self._ask("stats", process=int(pid), extended=extended)["info"]

    def options(self, *_args: Any) -> list[tuple[str, Any]]:
        """The options as pairs, sorted."""
        if self._running():
            return sorted(self._ask("options")["options"].items())
        return sorted((name, self._options.get(name, getattr(self, name, None))) for name in self.optnames)

    def send_signal(self, pid: int, signum: int) -> None:
        """Sends a signal to a process."""
        self._ask("signal", pid=int(pid), signum=int(signum))

    def send_signal_child(self, pid: int, child_id: int, signum: int) -> None:
        """Sends a signal to a child of a process."""
        self._ask("signal", pid=int(pid), childpid=int(child_id), signum=int(signum))

    def send_signal_children(self, pid: int, signum: int, recursive: bool = False) -> None:
        """Sends a signal to the children of a process."""
        self._ask("signal", pid=int(pid), children=True, signum=int(signum), recursive=recursive)

    def send_signal_process(self, process: Process, signum: int, recursive: bool = False) -> None:
        """Sends a signal to a process, and with ``recursive`` to its children."""
        self._ask("signal", pid=process.pid, signum=int(signum), recursive=recursive)

    def kill_process(
        self, process: Process, stop_signal: int | None = None, graceful_timeout: float | None = None
    ) -> Reply:
        """Ends a process; if the watcher then lacks one, it is started again."""
        return self._kill(stop_signal, graceful_timeout, pid=process.pid)

    def kill_processes(self, stop_signal: int | None = None, graceful_timeout: float | None = None) -> Reply:
        """Ends the processes; those that the watcher lacks then are started again."""
        return self._kill(stop_signal, graceful_timeout)

    def _kill(self, stop_signal: int | None, graceful_timeout: float | None, **more: Any) -> Reply:
        if stop_signal is not None:
            more["signum"] = int(stop_signal)
        if graceful_timeout is not None:
            more["graceful_timeout"] = graceful_timeout
        return self._do("kill", **more)

    def set_opt(self, key: str, val: Any) -> None:
        """Changes an option."""
        self._ask("set", options={key: val})

    def set_numprocesses(self, np: int) -> Reply:
        """Changes the number of processes."""
        return self._do("set", options={"numprocesses": int(np)})

    def _do(self, command: str, **properties: Any) -> Reply:
        return Reply.of(self._ask, command, waiting=True, **properties)

    def start(self) -> Reply:
        return self._do("start")

    def stop(self) -> Reply:
        return self._do("stop")

    def restart(self) -> Reply:
        return self._do("restart")

    def reload(self, graceful: bool = True, sequential: bool = False) -> Reply:
        return self._do("reload", graceful=graceful, sequential=sequential)

    def incr(self, nb: int = 1) -> Reply:
        return self._do("incr", nb=nb)

    def decr(self, nb: int = 1) -> Reply:
        return self._do("decr", nb=nb)


def _environment(env: Mapping[str, str] | None, copy_env: bool, copy_path: bool) -> dict[str, str] | None:
    if not copy_env:
        return None if env is None else dict(env)
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} if copy_path else {}
    return {**os.environ, **path, **(env or {})}


def _difference(env: Mapping[str, str], copied: bool) -> dict[str, str | None]:
    """The environment of a watcher; with ``copy_env`` what differs from circusd's, which is this process's."""
    base: Mapping[str, str] = os.environ if copied else {}
    changed: dict[str, str | None] = {key: value for key, value in env.items() if base.get(key) != value}
    changed.update(dict.fromkeys(key for key in base if key not in env))
    return changed


def _args(args: str | Sequence[Any]) -> str | list[str]:
    return args if isinstance(args, str) else [str(arg) for arg in args]


def _plain(name: str, key: str, value: Any) -> Any:
    """A value of an option that only plugins and newer options know."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(item, (str, int, float)) for item in value):
        return list(value)
    raise NotServed(f"watcher {name}: {key} = {value!r} is an object of this program, which circusd cannot be told")
