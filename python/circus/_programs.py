"""Where the programs of this distribution are: circusd and those that belong to it."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from typing import NoReturn


def _directories() -> Iterator[str]:
    """Where a program may be, the most certain first."""
    yield os.environ.get("CIRCUS_PROGRAMS", "")
    yield sysconfig.get_path("scripts")
    # pip install --user
    yield sysconfig.get_path("scripts", f"{os.name}_user")
    # pip install --target DIRECTORY
    yield os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bin")
    yield os.path.dirname(sys.executable)
    yield from os.environ.get("PATH", os.defpath).split(os.pathsep)


def find(name: str) -> str:
    """The path of a program: in ``$CIRCUS_PROGRAMS``, where pip has put it, or in ``$PATH``."""
    for directory in filter(None, _directories()):
        path = shutil.which(os.path.join(directory, name))
        # A script with this name is that of Circus 0.19.
        if path is not None and _is_binary(path):
            return os.path.abspath(path)
    raise FileNotFoundError(
        f"{name} is neither beside this Python nor in PATH; install the wheel of this package, or name the directory "
        "with the programs in the environment variable CIRCUS_PROGRAMS"
    )


def _is_binary(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def flush_standard() -> None:
    """Has what was printed so far stand before what a program prints."""
    for file in (sys.stdout, sys.stderr):
        # A process without standard output has no such file.
        if file is not None and not file.closed:
            file.flush()


def run(name: str) -> NoReturn:
    """Becomes a program, with the arguments of this one."""
    flush_standard()
    os.execv(find(name), [name, *sys.argv[1:]])
