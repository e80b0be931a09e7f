"""circusd as a child of this process, or in its place."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import threading
from typing import IO, Any, Callable, NoReturn

from circus import _programs

# What circusd tells through --ready-fd, as lines KEY=VALUE: see circusd(1).
Note = Callable[[str, str], None]


def _configuration(config: dict[str, Any]) -> int:
    """A descriptor with the configuration, which circusd inherits."""
    descriptor = _not_standard(os.memfd_create("circus-configuration"))
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(json.dumps(config).encode("utf-8", "surrogateescape"))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _not_standard(descriptor: int) -> int:
    """The same, under a number that is none of standard input, output and error, which this process may have closed."""
    if descriptor > 2:
        return descriptor
    other = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(descriptor)
    return other


class Child:
    """circusd, started by this process. It ends with it, however that comes about."""

    def __init__(self, config: dict[str, Any] | str, note: Note, ended: Callable[[int], None]) -> None:
        """``config`` is a configuration or the path of a file; ``note`` and ``ended`` are called by threads."""
        reading, writing = map(_not_standard, os.pipe())
        try:
            self._process = self._spawn(config, writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.pid = self._process.pid
        # Once it has ended.
        self.status: int | None = None
        notes = threading.Thread(
            target=self._read, args=(os.fdopen(reading, encoding="utf-8"), note), name="circus-notes", daemon=True
        )
        notes.start()
        threading.Thread(target=self._wait, args=(notes, ended), name="circus-wait", daemon=True).start()

    @staticmethod
    def _spawn(config: dict[str, Any] | str, ready: int) -> subprocess.Popen[bytes]:
        argv = ["circusd", "--end-with-parent", str(os.getpid()), "--ready-fd", str(ready)]
        inherited = [ready]
        if isinstance(config, str):
            argv.append(config)
        else:
            inherited.append(_configuration(config))
            argv += ["--config-fd", str(inherited[-1])]
        try:
            # A session of its own: Ctrl-C reaches this process alone, which passes it on.
            return subprocess.Popen(
                argv, executable=_programs.find("circusd"), pass_fds=inherited, start_new_session=True
            )
        finally:
            for descriptor in inherited[1:]:
                os.close(descriptor)

    @staticmethod
    def _read(lines: IO[str], note: Note) -> None:
        with lines:
            for line in lines:
                key, _, value = line.rstrip("\n").partition("=")
                note(key, value)

    def _wait(self, notes: threading.Thread, ended: Callable[[int], None]) -> None:
        status = self._process.wait()
        self.status = status
        # Its last words are there by now, but a child of this process may hold the pipe open.
        notes.join(1.0)
        ended(status)

    def signal(self, number: int) -> None:
        """Sends circusd a signal, if it still runs."""
        self._process.send_signal(number)


def become(config: dict[str, Any]) -> NoReturn:
    """Has circusd take the place of this process, with its pid."""
    program = _programs.find("circusd")
    descriptor = _configuration(config)
    os.set_inheritable(descriptor, True)
    # Python ignores these, and ignored signals stay so.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    _programs.flush_standard()
    os.execv(program, ["circusd", "--config-fd", str(descriptor)])
