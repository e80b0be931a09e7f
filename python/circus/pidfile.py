"""A file with a process id."""

from __future__ import annotations

import contextlib
import os
import tempfile

__all__ = ["Pidfile"]


class Pidfile:
    """The file that says which process a daemon is. Without a name, a temporary file is made."""

    def __init__(self, fname: str | None) -> None:
        self.fname = fname
        self.pid = os.getpid()
        self.perm_mode = 0o644

    def create(self, pid: int | str) -> None:
        """Writes a pid, unless the file names another process that runs: then ``RuntimeError``."""
        pid = int(pid)
        found = self.validate()
        if found == pid:
            self.pid = pid
            return
        if found is not None:
            raise RuntimeError(f"pid file '{self.fname}' is stale, current pid {found}")
        if not self.fname:
            descriptor, self.fname = tempfile.mkstemp()
            os.close(descriptor)
        directory = os.path.dirname(self.fname)
        if directory and not os.path.isdir(directory):
            raise RuntimeError(f"{directory} doesn't exist. Can't create pidfile")
        # Renamed into its place: a reader never finds half a number.
        descriptor, written = tempfile.mkstemp(dir=directory or ".", prefix=".pid")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{pid}\n")
                os.fchmod(file.fileno(), self.perm_mode)
                file.flush()
                os.fsync(file.fileno())
            os.rename(written, self.fname)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(written)
            raise
        self.pid = pid

    def rename(self, path: str) -> None:
        """Moves to another name."""
        self.unlink()
        self.fname = path
        self.create(self.pid)

    def unlink(self) -> None:
        """Removes the file, if it still names this daemon."""
        if self.fname is None:
            return
        try:
            with open(self.fname) as file:
                text = file.read().strip()
            if not text.isdigit() or int(text) == self.pid:
                os.unlink(self.fname)
        except OSError:
            pass

    def validate(self) -> int | None:
        """The process that the file names, if it runs."""
        if not self.fname:
            return None
        try:
            with open(self.fname) as file:
                pid = int(file.read() or 0)
        except (FileNotFoundError, ValueError):
            return None
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return None
        except PermissionError:
            # It runs as another user.
            return pid
        return pid if pid > 0 else None
