"""What the tests share: where the programs are, endpoints that no other test has, and waiting with a deadline."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

TOP = Path(__file__).resolve().parents[2]
PACKAGE = TOP / "python"
# How long anything may take on a machine that is busy with other tests.
PATIENCE = 30.0


def _programs() -> str:
    for directory in (os.environ.get("CIRCUS_PROGRAMS"), TOP / "target/release", TOP / "target/debug"):
        if directory and (Path(directory) / "circusd").exists():
            return str(directory)
    pytest.exit("build circusd first: cargo build", 1)


os.environ["CIRCUS_PROGRAMS"] = _programs()
# For the processes that tests start.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(PACKAGE), os.environ.get("PYTHONPATH"))))


def wait_until(condition: Callable[[], Any], what: str = "it") -> Any:
    """Waits until something is true, and returns it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} has not come in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


class Endpoints:
    """Endpoints in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.control = f"ipc://{directory}/c"
        self.events = f"ipc://{directory}/p"
        self.stats = f"ipc://{directory}/s"

    @property
    def both(self) -> dict[str, str]:
        """As get_arbiter takes them."""
        return {"controller": self.control, "pubsub_endpoint": self.events}


@pytest.fixture
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Endpoints:
    # Short: a socket's path has 107 bytes at most.
    return Endpoints(tmp_path_factory.mktemp("e"))


class Launcher:
    """A program that embeds Circus: a script in a process of its own."""

    def __init__(self, directory: Path, endpoints: Endpoints) -> None:
        self.directory, self.endpoints = directory, endpoints
        self.path = directory / "launcher.py"
        self.processes: list[subprocess.Popen[str]] = []

    def write(self, script: str) -> None:
        """Writes the script. Its names CONTROL, EVENTS and DIRECTORY are there already."""
        head = (
            "import os, signal, sys, threading, time\n"
            f"CONTROL, EVENTS = {self.endpoints.control!r}, {self.endpoints.events!r}\n"
            f"DIRECTORY = {str(self.directory)!r}\n"
        )
        self.path.write_text(head + script, encoding="utf-8")

    def start(self, script: str, stdin: int | None = None, **env: str) -> subprocess.Popen[str]:
        """Runs a script."""
        self.write(script)
        process = subprocess.Popen(
            [sys.executable, str(self.path)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **env},
        )
        self.processes.append(process)
        return process

    def run(self, script: str, **env: str) -> str:
        """Runs a script to its end, which has to be a good one."""
        process = self.start(script, None, **env)
        output, _ = process.communicate(timeout=2 * PATIENCE)
        assert process.returncode == 0, output
        return output

    def pids(self, name: str, count: int = 1) -> list[int]:
        """The pids of so many workers, read from files that they write."""

        def there() -> list[int]:
            found = [int(path.name.rpartition(".")[2]) for path in self.directory.glob(f"{name}.*") if path.is_file()]
            return sorted(found) if len(found) >= count else []

        found: list[int] = wait_until(there, f"{count} of {name}")
        return found

    def close(self) -> None:
        """Ends what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


@pytest.fixture
def launcher(tmp_path: Path, endpoints: Endpoints) -> Iterator[Launcher]:
    made = Launcher(tmp_path, endpoints)
    yield made
    made.close()


def worker(launcher: Launcher, name: str) -> str:
    """A command that leaves its pid as the name of a file, and stays."""
    return f"sh -c ': > {launcher.directory}/{name}.$$; exec sleep 600'"
