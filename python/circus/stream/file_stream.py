"""Streams that are files.

A watcher's stream of exactly one of these classes is written by circusd itself. Objects that the program calls, and
those of classes derived from them, write in the program.
"""

from __future__ import annotations

import os
import tempfile
from datetime import datetime
from typing import IO, Any

from circus import _refused
from circus.exc import NotServed
from circus.util import to_str

__all__ = ["FileStream", "TimedRotatingFileStream", "WatchedFileStream"]

__getattr__ = _refused.module_getattr(__name__)


class _File:
    """Writes text to the end of a file, which is opened when something is written."""

    now = datetime.now

    def __init__(self, filename: str | os.PathLike[str] | None, time_format: str | None, **options: Any) -> None:
        self._filename = None if filename is None else os.fspath(filename)
        self._time_format = time_format
        given = {"filename": self._filename, "time_format": time_format, **options}
        # As circusd is told them.
        self.options = {name: value for name, value in given.items() if value is not None}
        self._opened: IO[str] | None = None

    @property
    def _file(self) -> IO[str]:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    @_file.setter
    def _file(self, file: IO[str]) -> None:
        self._opened = file

    def _open(self) -> IO[str]:
        if self._filename is None:
            descriptor, self._filename = tempfile.mkstemp()
            os.close(descriptor)
        return open(self._filename, "a", encoding="utf-8", errors="surrogateescape")

    def open(self) -> None:
        """Opens the file, if it is not open."""
        self._file  # noqa: B018

    def close(self) -> None:
        """Closes the file; the next output opens it again."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def __call__(self, data: dict[str, Any]) -> None:
        """Writes the output of a worker."""
        self.write_data(data)

    def write_data(self, data: dict[str, Any]) -> None:
        """Writes the output of a worker; with ``time_format`` each line behind the time and the worker's pid."""
        self._write(self._dress(data))

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()

    def _dress(self, data: dict[str, Any]) -> str:
        text = to_str(data["data"], errors="surrogateescape")
        if self._time_format is None:
            return text
        prefix = f"{self.now().strftime(self._time_format)} [{data['pid']}] | "
        return "".join(f"{prefix}{line}\n" for line in text.splitlines())


class FileStream(_File):
    """A file. Before it would become longer than ``max_bytes`` it is renamed to ``filename.1``, and so on."""

    def __init__(
        self,
        filename: str | os.PathLike[str] | None = None,
        max_bytes: int | str = 0,
        backup_count: int | str = 0,
        time_format: str | None = None,
        **_options: Any,
    ) -> None:
        self._max_bytes, self._backup_count = int(max_bytes), int(backup_count)
        super().__init__(filename, time_format, max_bytes=self._max_bytes, backup_count=self._backup_count)

    def _write(self, text: str) -> None:
        if self._max_bytes > 0 and self._is_full(text):
            self._rotate()
        super()._write(text)

    def _is_full(self, text: str) -> bool:
        self._file.seek(0, os.SEEK_END)
        return self._file.tell() + len(text.encode("utf-8", "surrogateescape")) >= self._max_bytes

    def _rotate(self) -> None:
        assert self._filename is not None, "the file is open, and has a name since"
        self.close()
        names = [self._filename, *(f"{self._filename}.{number}" for number in range(1, self._backup_count + 1))]
        for older, newer in zip(reversed(names), reversed(names[:-1])):
            if os.path.exists(newer):
                os.replace(newer, older)
        if self._backup_count == 0:
            os.truncate(self._filename, 0)


class WatchedFileStream(_File):
    """A file that is opened again when it was moved or removed."""

    def __init__(
        self,
        filename: str | os.PathLike[str] | None = None,
        time_format: str | None = None,
        **_options: Any,
    ) -> None:
        super().__init__(filename, time_format)

    def write_data(self, data: dict[str, Any]) -> None:
        if self._opened is not None and self._filename is not None and self._is_moved(self._opened, self._filename):
            self.close()
        super().write_data(data)

    @staticmethod
    def _is_moved(file: IO[str], name: str) -> bool:
        try:
            return not os.path.samestat(os.fstat(file.fileno()), os.stat(name))
        except FileNotFoundError:
            return True
        except OSError:
            # It is no file of the system's, such as io.StringIO.
            return False


class TimedRotatingFileStream(FileStream):
    """A file for each span of time, which only circusd writes."""

    def __init__(
        self,
        filename: str | os.PathLike[str] | None = None,
        backup_count: int | str = 0,
        time_format: str | None = None,
        rotate_when: str | None = None,
        rotate_interval: int | str = 1,
        utc: bool | str = False,
        **_options: Any,
    ) -> None:
        super().__init__(filename, backup_count=backup_count, time_format=time_format)
        del self.options["max_bytes"]
        self.options.update(rotate_interval=int(rotate_interval), utc=utc)
        if rotate_when is not None:
            self.options["rotate_when"] = rotate_when

    def write_data(self, data: dict[str, Any]) -> None:
        raise NotServed(
            "TimedRotatingFileStream rotates in circusd alone: give the watcher the class itself, or derive from "
            "FileStream"
        )
