"""The arbiter: circusd, configured and started from Python."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType, SimpleNamespace
from typing import Any, Callable

from circus import _config, _programs, _refused
from circus._daemon import Child, become
from circus._future import Reply
from circus._loop import Loop, SignalWaker
from circus._pipe import Pipe
from circus._relay import Hooks, log_pipe, stream_pipe
from circus.circusd import is_daemonized
from circus.client import CircusClient, make_message
from circus.exc import AlreadyExist, CallError, MessageError, NotServed
from circus.sockets import CircusSocket, CircusSockets
from circus.watcher import Watcher

__all__ = ["IS_WINDOWS", "Arbiter", "ThreadedArbiter"]

IS_WINDOWS = False

logger = logging.getLogger("circus")

__getattr__ = _refused.module_getattr(__name__)

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
# Seconds for an answer to a command that does not wait for anything.
_PROMPT = 5.0


class Arbiter:
    """Watchers, sockets and plugins, which circusd runs as a child of this process once it is started.

    Options that have no effect: ``context``, ``multicast_endpoint``, ``proc_name``, ``ssh_server``, ``debug_gc``,
    ``httpd_host``, ``httpd_port`` and ``httpd_close_outputs``. ``loggerconfig`` and ``logoutput`` are the program's
    affair, as in Circus 0.19: what circusd logs reaches the logger ``circus``.

    ``exit_on`` is new: ``failure`` or ``end`` of the last worker of a watcher with ``essential=True`` ends circusd, and
    ``start()`` raises ``RuntimeError``.
    """

    def __init__(
        self,
        watchers: Iterable[Watcher],
        endpoint: str,
        pubsub_endpoint: str,
        check_delay: float = 1.0,
        prereload_fn: Callable[..., Any] | None = None,
        context: Any = None,
        loop: Any = None,
        statsd: bool = False,
        stats_endpoint: str | None = None,
        statsd_close_outputs: bool = False,
        multicast_endpoint: str | None = None,
        plugins: Iterable[Mapping[str, Any]] | None = None,
        sockets: Iterable[CircusSocket] | None = None,
        warmup_delay: float = 0,
        httpd: bool = False,
        httpd_host: str = "localhost",
        httpd_port: int = 8080,
        httpd_close_outputs: bool = False,
        debug: bool = False,
        debug_gc: bool = False,
        ssh_server: str | None = None,
        proc_name: str = "circusd",
        pidfile: str | None = None,
        loglevel: str | None = None,
        logoutput: str | None = None,
        loggerconfig: Any = None,
        fqdn_prefix: str | None = None,
        umask: int | None = None,
        endpoint_owner: str | int | None = None,
        exit_on: str | None = None,
    ) -> None:
        if prereload_fn is not None:
            raise NotServed(
                "prereload_fn runs in the Python daemon at each reload, and circusd has none; subscribe to the events "
                "*.reload with circus.consumer.CircusConsumer, or use the hook before_spawn"
            )
        if httpd:
            raise NotServed("httpd: an embedded circusd starts no console; start circushttpd beside it")
        self.watchers = list(watchers)
        self.endpoint, self.pubsub_endpoint = endpoint, pubsub_endpoint
        self.check_delay = check_delay
        self.context = context
        self.statsd, self.stats_endpoint = statsd, stats_endpoint
        self.statsd_close_outputs = statsd_close_outputs
        self.multicast_endpoint = multicast_endpoint
        self.plugins = [dict(plugin) for plugin in plugins or ()]
        self.sockets = CircusSockets(sockets)
        self.warmup_delay = warmup_delay
        self.debug = debug
        self.ssh_server, self.proc_name = ssh_server, proc_name
        self.pidfile = pidfile
        self.loglevel, self.logoutput, self.loggerconfig = loglevel, logoutput, loggerconfig
        self.fqdn_prefix, self.umask, self.endpoint_owner = fqdn_prefix, umask, endpoint_owner
        self.exit_on = exit_on
        self.pid = os.getpid()
        self.config_file: str | None = None
        self.loop: Any = None if loop is None else Loop.of(loop)
        self._provided_loop = loop is not None
        self._running = self._stopping = self._restarting = False
        self._run: _Run | None = None
        # The loop that was not given, and the thread whose it is.
        self._own_loop: Any = None
        self._loop_thread = 0
        self._ensure_ioloop()
        # Programs set its loop.
        self.ctrl = SimpleNamespace(loop=self.loop, endpoint_owner_mode=endpoint_owner is not None)

    @classmethod
    def load_from_config(cls, config_file: str, loop: Any = None) -> Arbiter:
        """An arbiter for a configuration file, which circusd reads."""
        arbiter = cls([], "", "", loop=loop)
        arbiter.config_file = os.path.abspath(config_file)
        return arbiter

    def __getattr__(self, name: str) -> Any:
        _refused.refuse_attribute(type(self), name)

    @property
    def endpoint_owner_mode(self) -> bool:
        """Whether the control endpoint has an owner, who alone may use it."""
        return self.endpoint_owner is not None

    # Its life.

    @property
    def running(self) -> bool:
        """Whether circusd takes commands."""
        return self._running

    @property
    def fqdn(self) -> str:
        """The name of this machine, behind ``fqdn_prefix`` where there is one."""
        name = socket.getfqdn()
        return name if self.fqdn_prefix is None else f"{self.fqdn_prefix}@{name}"

    def _ensure_ioloop(self) -> None:
        of_other_thread = self.loop is self._own_loop and self._loop_thread != threading.get_ident()
        if self.loop is None or of_other_thread or getattr(self.loop.asyncio_loop, "is_closed", bool)():
            self.loop = self._own_loop = Loop.current()
            self._loop_thread = threading.get_ident()

    def start(self, cb: Callable[[Any], Any] | None = None) -> Reply:
        """Starts circusd and everything that it is to run, and returns when it has ended.

        The future that it returns is done; its exception says why circusd could not start, or what has ended it. It is
        logged if it is not asked for. ``cb``
        is called with a future when all watchers have started. With a ``loop`` it returns a future of the start
        instead, and goes on in that loop. If this is the main thread, SIGINT, SIGTERM and SIGQUIT stop the arbiter and
        SIGHUP reloads it; afterwards the signals' handlers are what they were.

        In the main thread of a process that ``circus.circusd.daemonize`` has made, circusd takes the place of the
        process, so that it does not return: unless there is a ``cb``, a ``loop``, a subclass, another thread or a hook
        or stream that is an object of the program, or CIRCUS_EMBED is ``child``.
        """
        if self._run is not None:
            raise RuntimeError("the arbiter runs already")
        if self._provided_loop:
            return self._start_in_loop()
        reply = Reply()
        try:
            self._become_circusd(cb)
            reply.set_result(self._run_here(cb))
        except Exception as error:
            reply.set_exception(error)
        return reply

    def _become_circusd(self, cb: Callable[[Any], Any] | None) -> None:
        alone = threading.current_thread() is threading.main_thread() and threading.active_count() == 1
        if not (is_daemonized() and type(self) is Arbiter and cb is None and alone and self.config_file is None):
            return
        if os.environ.get("CIRCUS_EMBED") == "child":
            return
        try:
            config = _config.describe(self, _config.refuse_hook, _config.refuse_pipe)
        except _config.NoParent:
            return
        for key, value in (
            ("pidfile", self.pidfile),
            ("loglevel", self.loglevel or _config.log_level(logger)),
            ("logoutput", self.logoutput),
        ):
            if value is not None:
                config["circus"][key] = value
        become(config)

    def _run_here(self, cb: Callable[[Any], Any] | None) -> bool:
        self._ensure_ioloop()
        if self.loop.asyncio_loop.is_running():
            raise RuntimeError(
                "start() blocks, and this thread's event loop runs already: give the arbiter the loop (loop=), or have "
                "it run in a thread of its own (background=True)"
            )
        run = self._begin(cb, lambda: self.loop.add_callback(self.loop.stop))
        self.loop.start()
        if not run.over:
            # The program has stopped the loop, which means the arbiter.
            run.stop_arbiter()
        while not run.over:
            self.loop.start()
        return run.outcome()

    def _start_in_loop(self) -> Reply:
        started = Reply()

        def ready(future: Any) -> None:
            error = future.exception()
            if error is None:
                started.set_result(False)
            else:
                started.set_exception(error)

        try:
            self._begin(ready, lambda: None)
        except Exception as error:
            started.set_exception(error)
        return started

    def _begin(self, cb: Callable[[Any], Any] | None, over: Callable[[], Any]) -> _Run:
        self._stopping = self._restarting = False
        self._run = _Run(self, cb, over)
        try:
            self._run.start()
        except BaseException:
            self._run.close()
            self._run = None
            raise
        return self._run

    def start_io_loop(self) -> None:
        """Runs the loop until it is stopped."""
        self.loop.start()

    def stop(self) -> Reply:
        """Stops everything, in order, and ends circusd. The future is done when it has ended. From any thread."""
        run = self._run
        if run is None:
            return Reply.of(lambda: None)
        if not self._stopping:
            self._stopping = True
            run.signal(signal.SIGTERM)
        return run.ended

    def _emergency_stop(self) -> Reply:
        """Ends circusd and the workers without any grace."""
        run = self._run
        if run is None:
            return Reply.of(lambda: None)
        self._stopping = True
        # The second one hastens.
        run.signal(signal.SIGTERM)
        run.signal(signal.SIGTERM)
        return run.ended

    def stop_controller_and_close_sockets(self) -> None:
        """Stops, as circusd holds the sockets."""
        self.stop()

    # What it consists of, and what circusd is asked.

    def ask(self, command: str, **properties: Any) -> Any:
        """Sends circusd a command and returns its answer; ``MessageError`` if it refuses. From any thread."""
        if self._run is None:
            raise CallError("circusd does not run")
        child, message = self._run.child, make_message(command, **properties)
        with CircusClient(endpoint=_reachable(self.endpoint), timeout=_PROMPT) as client:
            if properties.get("waiting") and child is not None:
                # It is answered when circusd has done it, however long that takes.
                answer = client.call_while(message, lambda: child.status is None)
            else:
                answer = client.call(message)
        if answer.get("status") == "error":
            raise MessageError(answer.get("reason"))
        return answer

    def call(self, command: Mapping[str, Any] | str, **properties: Any) -> Any:
        """The same, for a whole message too."""
        if isinstance(command, str):
            return self.ask(command, **properties)
        return self.ask(command["command"], **{**command.get("properties", {}), **properties})

    def iter_watchers(self, reverse: bool = True) -> Iterator[Watcher]:
        """The watchers by priority, the first to start first: while circusd runs, also those that it has from a file,
        from clients, or of its own."""
        # Other watchers of circusd are not kept: the next start is to start those of the program.
        watchers = self._known_watchers() if self._running else self.watchers
        return iter(sorted(watchers, key=lambda watcher: watcher.priority, reverse=reverse))

    def _known_watchers(self) -> list[Watcher]:
        mine = {watcher.name.lower(): watcher for watcher in self.watchers}
        now = {name.lower(): name for name in self.statuses()}
        known = [watcher for key, watcher in mine.items() if key in now]
        for name in (name for key, name in now.items() if key not in mine):
            # One that was removed meanwhile has no options any more.
            with contextlib.suppress(MessageError):
                priority = self.ask("get", name=name, keys=["priority"])["options"]["priority"]
                known.append(self._adopt(Watcher(name, "", priority=priority)))
        return known

    def get_watcher(self, name: str) -> Watcher:
        """A watcher by its name in any case."""
        for watcher in self.watchers:
            if watcher.name.lower() == name.lower():
                return watcher
        if self._running:
            for known in self.statuses():
                if known.lower() == name.lower():
                    return self._adopt(Watcher(known, ""))
        raise KeyError(name.lower())

    def _adopt(self, watcher: Watcher) -> Watcher:
        watcher.arbiter = self
        return watcher

    def get_socket(self, name: str) -> CircusSocket | None:
        """A managed socket by its name."""
        return self.sockets.get(name)

    def numprocesses(self) -> int:
        """How many processes run."""
        return int(self.ask("numprocesses")["numprocesses"]) if self._running else 0

    def numwatchers(self) -> int:
        """How many watchers there are."""
        return int(self.ask("numwatchers")["numwatchers"]) if self._running else len(self.watchers)

    def statuses(self) -> dict[str, str]:
        """The state of each watcher."""
        if self._running:
            return dict(self.ask("status")["statuses"])
        return {watcher.name: "stopped" for watcher in self.watchers}

    def add_watcher(self, name: str, cmd: str, **kw: Any) -> Watcher:
        """Adds a watcher, which is not started."""
        if not name:
            raise ValueError("command name shouldn't be empty")
        if any(name.lower() == watcher.name.lower() for watcher in self.watchers):
            raise AlreadyExist(f"{name!r} already exist")
        watcher = self._adopt(Watcher(name, cmd, **kw))
        if self._run is not None:
            options = self._run.describe(watcher)
            # Over the wire an environment is complete.
            options.update(env=dict(watcher.env or {}), copy_env=False)
            del options["name"], options["cmd"]
            self.ask("add", name=name, cmd=cmd, args=options.pop("args"), options=options)
        self.watchers.append(watcher)
        return watcher

    def rm_watcher(self, name: str, nostop: bool = False) -> Reply:
        """Removes a watcher, and stops it unless ``nostop``."""
        watcher = self.get_watcher(name)
        reply = Reply.of(self._ask_if_running, "rm", name=name, nostop=nostop, waiting=True)
        if reply.exception() is None and watcher in self.watchers:
            self.watchers.remove(watcher)
        return reply

    def _ask_if_running(self, command: str, **properties: Any) -> Any:
        return self.ask(command, **properties) if self._run is not None else None

    def start_watcher(self, watcher: Watcher) -> Reply:
        return watcher.start()

    def start_watchers(self, watcher_iter_func: Any = None) -> Reply:
        return Reply.of(self.ask, "start", waiting=True)

    def stop_watchers(self, watcher_iter_func: Any = None) -> Reply:
        return Reply.of(self.ask, "stop", waiting=True)

    def reload(self, graceful: bool = True, sequential: bool = False) -> Reply:
        """Replaces all workers."""
        return Reply.of(self.ask, "reload", graceful=graceful, sequential=sequential, waiting=True)

    def restart(self, inside_circusd: bool = False, watcher_iter_func: Any = None) -> Reply:
        """Stops all watchers and starts them again."""
        return Reply.of(self.ask, "restart", name="*", waiting=True)

    def reload_from_config(self, config_file: str | None = None, inside_circusd: bool = False) -> Reply:
        """Has circusd read its configuration file again."""
        if self.config_file is None or config_file not in (None, self.config_file):
            raise NotServed("circusd reads again the file that it was started with; see Arbiter.load_from_config")
        return Reply.of(self.ask, "reloadconfig", waiting=True)


class ThreadedArbiter(threading.Thread, Arbiter):
    """An arbiter whose ``start()`` returns as soon as circusd takes commands, and which runs until ``stop()``."""

    def __init__(self, *args: Any, **kw: Any) -> None:
        threading.Thread.__init__(self, name="circus-arbiter")
        Arbiter.__init__(self, *args, **kw)
        self._failure: BaseException | None = None
        self._decided = threading.Event()

    def start(self, cb: Callable[[Any], Any] | None = None) -> None:  # type: ignore[override]
        """Starts circusd. Raises the error that keeps it from starting."""
        self._callback = cb
        threading.Thread.start(self)
        self._decided.wait()
        if self._failure is not None:
            self.join()
            raise self._failure

    def run(self) -> None:
        self.loop = None
        self._ensure_ioloop()
        self.ctrl.loop = self.loop
        self._failure = Arbiter.start(self, self._callback).exception()
        if self._decided.is_set() and self._failure is not None:
            logger.error("the arbiter has ended: %s", self._failure)
        self._decided.set()

    def _listening(self) -> None:
        self._decided.set()

    def stop(self) -> Reply:
        reply = Arbiter.stop(self)
        if threading.current_thread() is not self and self.is_alive():
            self.join()
        return reply


class _Run:
    """One run of circusd on behalf of an arbiter. Its methods run in the arbiter's loop, unless they say otherwise."""

    def __init__(self, arbiter: Arbiter, cb: Callable[[Any], Any] | None, over: Callable[[], Any]) -> None:
        self.arbiter = arbiter
        self.loop = arbiter.loop
        self.cb = cb
        self.finished = over
        self.over = False
        self.ended = Reply()
        self.child: Child | None = None
        # Signals for circusd that came before it was there.
        self.early: deque[int] = deque()
        self.told_to_end = False
        self.error: str | None = None
        self.essential: str | None = None
        self.status = 0
        self.hooks = Hooks()
        self.pipes: list[Pipe] = []
        self.handlers: dict[int, Any] = {}
        self.waker: SignalWaker | None = None
        self.signalled = False

    def start(self) -> None:
        arbiter = self.arbiter
        config: dict[str, Any] | str
        if arbiter.config_file is not None:
            config = arbiter.config_file
        else:
            config = _config.describe(arbiter, self.hooks.name, self._pipe)
            config["circus"]["loglevel"] = _config.log_level(logger)
            config["circus"]["logoutput"] = self._keep(log_pipe())
        for watcher in arbiter.watchers:
            watcher.arbiter = arbiter
        self.hooks.start(arbiter)
        _programs.flush_standard()
        self._take_signals()
        self.child = Child(config, self._note_from_thread, self._ended_from_thread)
        self._send_signals()

    def describe(self, watcher: Watcher) -> dict[str, Any]:
        """A watcher that is added later."""
        options = _config.describe_watcher(watcher, self.hooks.name, self._pipe)
        self.hooks.start(self.arbiter)
        return options

    def _pipe(self, stream: Callable[..., Any], name: str) -> str:
        return self._keep(stream_pipe(stream, name))

    def _keep(self, pipe: Pipe) -> str:
        self.pipes.append(pipe)
        return pipe.path

    # Signals, which Python delivers to the main thread alone.

    def _take_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self.waker = SignalWaker(self.loop.asyncio_loop)
        for number in (*_STOPPING, signal.SIGHUP):
            self.handlers[number] = signal.signal(number, self._on_signal)

    def _give_back_signals(self) -> None:
        if self.waker is not None:
            self.waker.close()
            self.waker = None
        for number, handler in self.handlers.items():
            # None is a handler that was not set by Python, and cannot be set by it.
            if signal.getsignal(number) == self._on_signal and handler is not None:
                signal.signal(number, handler)
        self.handlers.clear()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # Between two instructions of anything: only noted here.
        self.loop.add_callback(self._handle, number)

    def _handle(self, number: int) -> None:
        logger.info("Got signal SIG_%s", signal.Signals(number).name[3:])
        if number == signal.SIGHUP:
            self.signal(signal.SIGHUP)
        elif self.signalled:
            self.signal(signal.SIGTERM)
        else:
            self.signalled = True
            self.stop_arbiter()

    def stop_arbiter(self) -> None:
        """Calls the arbiter's own ``stop``, which a subclass may have extended, once."""
        if self.arbiter._stopping:
            return
        try:
            self.arbiter.stop()
        except RuntimeError as error:
            # A stop() that joins the thread that it is called by.
            logger.debug("stop() of the arbiter: %s", error)
        # It may have left the rest to the loop.
        self.loop.add_callback(self._see_to_stop)

    def _see_to_stop(self) -> None:
        """Stops circusd, if the arbiter's own ``stop`` has not. One signal: a second would kill the workers."""
        if not self.arbiter._stopping:
            Arbiter.stop(self.arbiter)

    def signal(self, number: int) -> None:
        """Sends circusd a signal, as soon as it is there. From any thread, and from a signal handler."""
        self.told_to_end = self.told_to_end or number == signal.SIGTERM
        self.early.append(number)
        self._send_signals()

    def _send_signals(self) -> None:
        # Without a lock, which a signal handler could not take: it may have interrupted the one that has it.
        while self.child is not None and not self.over and self.early:
            with contextlib.suppress(IndexError):
                self.child.signal(self.early.popleft())

    # What circusd tells.

    def _note_from_thread(self, key: str, value: str) -> None:
        self.loop.add_callback(self._note, key, value)

    def _ended_from_thread(self, status: int) -> None:
        self.loop.add_callback(self._end, status)

    def _note(self, key: str, value: str) -> None:
        if key == "ENDPOINT":
            self.arbiter.endpoint = value
        elif key == "LISTENING":
            self.arbiter._running = True
            if isinstance(self.arbiter, ThreadedArbiter):
                self.arbiter._listening()
        elif key == "READY":
            self._learn_addresses()
            self._call_back(None)
        elif key == "ERROR":
            self.error = value
        elif key == "ENDED":
            self.essential = value

    def _call_back(self, error: Exception | None) -> None:
        cb, self.cb = self.cb, None
        if cb is None:
            return
        future = Reply()
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
        cb(future)

    def _learn_addresses(self) -> None:
        """Tells the managed sockets where they are: as a name may have become an address, and port 0 a number."""
        inet = {sock.name.lower(): sock for sock in self.arbiter.sockets.values() if not sock.is_unix}
        if not inet:
            return
        for found in self.arbiter.ask("listsockets")["sockets"]:
            sock = inet.get(found["name"])
            if sock is not None:
                sock.host, sock.port = found["host"], found["port"]

    def _end(self, status: int) -> None:
        self.status = status
        self.arbiter._running = False
        if not self.arbiter._stopping:
            self.stop_arbiter()
        # Behind what stop() may have added to the loop.
        self.loop.add_callback(self._finish)

    def _finish(self) -> None:
        self.close()
        error = self.failure()
        if self.cb is not None and self.arbiter._provided_loop:
            self._call_back(error or RuntimeError("circusd has ended before all watchers had started"))
        self.ended.set_result(None)
        self.finished()

    def close(self) -> None:
        """Ends what belongs to this run."""
        self.over = True
        self._give_back_signals()
        self.hooks.stop()
        for pipe in self.pipes:
            pipe.close()
        self.arbiter._run = None

    def failure(self) -> Exception | None:
        """Why circusd has ended, if it was no stop."""
        if self.essential is not None:
            # The text is that of kantoku.
            return RuntimeError("No active process found for watcher.")
        if self.error is not None:
            return RuntimeError(self.error)
        if self.status == -signal.SIGTERM and self.told_to_end:
            # So early that circusd did not listen to signals yet.
            return None
        if self.status < 0:
            return RuntimeError(f"circusd was ended by {signal.Signals(-self.status).name}")
        if self.status > 0:
            return RuntimeError(f"circusd has ended with the exit status {self.status}")
        return None

    def outcome(self) -> bool:
        """What ``start()`` comes to."""
        error = self.failure()
        if error is not None:
            raise error
        return self.arbiter._restarting


def _reachable(endpoint: str) -> str:
    """An endpoint that listens at every address, as one that can be connected to."""
    for every, one in (
        ("tcp://*:", "tcp://127.0.0.1:"),
        ("tcp://0.0.0.0:", "tcp://127.0.0.1:"),
        ("tcp://[::]:", "tcp://[::1]:"),
    ):
        if endpoint.startswith(every):
            return one + endpoint[len(every) :]
    return endpoint
