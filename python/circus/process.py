"""Processes of watchers, as ``Watcher.processes`` has them. circusd looks at them and signals them."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING, Any

from circus import _refused

if TYPE_CHECKING:
    from circus.watcher import Watcher

__all__ = ["DEAD_OR_ZOMBIE", "IS_WINDOWS", "OTHER", "RUNNING", "UNEXISTING", "Process"]

__getattr__ = _refused.module_getattr(__name__)

IS_WINDOWS = False

RUNNING = 0
DEAD_OR_ZOMBIE = 1
UNEXISTING = 2
OTHER = 3


class Process:
    """A process: its ``pid``, ``wid`` and ``started`` stay, everything else is looked up when it is asked for."""

    def __init__(self, watcher: Watcher, pid: int, wid: int, info: dict[str, Any]) -> None:
        self.watcher = watcher
        self.name = watcher.name
        self.pid, self.wid = pid, wid
        self.started: float = info.get("started") or time.time() - (info.get("age") or 0)

    def __getattr__(self, name: str) -> Any:
        _refused.refuse_attribute(type(self), name)

    @property
    def status(self) -> int:
        """RUNNING, DEAD_OR_ZOMBIE or UNEXISTING."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                state = file.read().rpartition(b")")[2].split()[0]
        except OSError:
            return UNEXISTING
        return DEAD_OR_ZOMBIE if state in (b"Z", b"X") else RUNNING

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.status == RUNNING

    def info(self) -> Any:
        """What it uses."""
        return self.watcher.process_info(self.pid)

    def age(self) -> float:
        """Seconds since its start."""
        return time.time() - self.started

    def children(self, recursive: bool = False) -> list[int]:
        """The pids of its children."""
        info = self.info()
        if not isinstance(info, dict):
            # A sentence says that it has gone.
            return []
        found: list[int] = []
        for child in info.get("children", ()):
            found.append(int(child["pid"]))
            if recursive:
                found.extend(_descendants(found[-1]))
        return found

    def is_child(self, pid: int) -> bool:
        """Whether this is the pid of a child of it."""
        return int(pid) in self.children()

    def send_signal(self, sig: int) -> None:
        """Sends it a signal."""
        self.watcher.send_signal(self.pid, sig)

    def send_signal_child(self, pid: int, signum: int) -> None:
        """Sends a signal to a child of it."""
        self.watcher.send_signal_child(self.pid, pid, signum)

    def send_signal_children(self, signum: int, recursive: bool = False) -> None:
        """Sends a signal to its children."""
        self.watcher.send_signal_children(self.pid, signum, recursive)

    def stop(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def wait(self, timeout: float | None = None) -> None:
        """Waits until it has ended, so many seconds at most."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            poll.poll(None if timeout is None else 1000 * timeout)
        finally:
            os.close(handle)

    def __repr__(self) -> str:
        return f"<Process {self.pid} of {self.name!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Process) and other.pid == self.pid

    def __hash__(self) -> int:
        return hash(self.pid)

    def __lt__(self, other: Process) -> bool:
        return self.started < other.started

    def __gt__(self, other: Process) -> bool:
        return self.started > other.started


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        for task in tasks:
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found.extend(map(int, file.read().split()))
    except OSError:
        return found
    return [each for child in found for each in (child, *_descendants(child))]
