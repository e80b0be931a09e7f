"""AiiDA 2.9.4 as it is on PyPI: its daemon, from start to stop, and processes that it runs to their end."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import is_alive, wait_until
from tests.embedders.conftest import Environment

JOBS = """
import json, sys, time
from aiida import load_profile, orm
load_profile()
from aiida.calculations.arithmetic.add import ArithmeticAddCalculation
from aiida.engine import submit
computer = orm.load_computer("localhost")
try:
    code = orm.load_code("bash@localhost")
except Exception:
    code = orm.InstalledCode(label="bash", computer=computer, filepath_executable="/bin/bash",
                             default_calc_job_plugin="core.arithmetic.add").store()
nodes = [submit(ArithmeticAddCalculation, x=orm.Int(i), y=orm.Int(2), code=code) for i in range(int(sys.argv[1]))]
deadline = time.monotonic() + 120
while not all(node.is_terminated for node in nodes) and time.monotonic() < deadline:
    time.sleep(0.2)
print(json.dumps([node.outputs.sum.value if node.is_finished_ok else str(node.process_state) for node in nodes]))
"""


class Aiida:
    def __init__(self, environment: Environment, directory: Path) -> None:
        self.environment, self.directory = environment, directory
        self.verdi("presto", "--use-zeromq")
        # On a busy machine a worker takes its time to start, and listens to no signal meanwhile.
        self.verdi("config", "set", "daemon.timeout", "120")

    def verdi(self, *words: str) -> str:
        return self.environment.run("verdi", *words, cwd=self.directory, AIIDA_PATH=str(self.directory))

    def jobs(self, count: int) -> Any:
        output = self.environment.run(
            "python", "-c", JOBS, str(count), cwd=self.directory, AIIDA_PATH=str(self.directory)
        )
        return json.loads(output.splitlines()[-1])

    def status(self) -> tuple[int, list[int]]:
        """The daemon's pid, and those of its workers."""
        text = self.verdi("daemon", "status")
        daemon = re.search(r"running as PID (\d+)", text)
        assert daemon, text
        return int(daemon.group(1)), [int(pid) for pid in re.findall(r"^\s*(\d+)\s+[\d.]+\s", text, re.MULTILINE)]

    @property
    def pidfile(self) -> Path:
        (found,) = (self.directory / ".aiida/daemon").glob("circus-*.pid")
        return found


@pytest.fixture(scope="module")
def made(aiida: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aiida]:
    directory = tmp_path_factory.mktemp("profile")
    profile = Aiida(aiida, directory)
    try:
        yield profile
    finally:
        aiida.start("verdi", "daemon", "stop", cwd=directory, AIIDA_PATH=str(directory)).communicate()


@pytest.fixture
def profile(made: Aiida) -> Aiida:
    """A profile whose daemon runs."""
    if not list((made.directory / ".aiida/daemon").glob("circus-*.pid")):
        made.verdi("daemon", "start", "2")
    return made


def test_processes_run_to_their_end_and_the_pidfile_is_circusds(profile: Aiida) -> None:
    assert profile.jobs(4) == [2, 3, 4, 5]
    daemon, workers = profile.status()
    assert (int(profile.pidfile.read_text()), len(workers)) == (daemon, 2)
    assert Path(f"/proc/{daemon}/cmdline").read_bytes().split(b"\0")[0] == b"circusd"


def test_incr_and_decr_at_once(profile: Aiida) -> None:
    for _ in range(3):
        profile.verdi("daemon", "incr", "1")
        profile.verdi("daemon", "decr", "1")
    assert len(profile.status()[1]) == 2


def test_a_killed_worker_is_back_and_goes_on(profile: Aiida) -> None:
    _, workers = profile.status()
    os.kill(workers[0], signal.SIGKILL)
    wait_until(lambda: len(set(profile.status()[1])) == 2 and workers[0] not in profile.status()[1], "the new worker")
    assert profile.jobs(2) == [2, 3]


def test_restart_twice_and_stop(profile: Aiida) -> None:
    first, workers = profile.status()
    profile.verdi("daemon", "restart")
    profile.verdi("daemon", "restart")
    second, others = profile.status()
    assert first != second
    assert not any(map(is_alive, [first, *workers]))
    pidfile = profile.pidfile
    profile.verdi("daemon", "stop")
    assert not pidfile.exists()
    wait_until(lambda: not any(map(is_alive, [second, *others])), "the end of the daemon")


def test_a_killed_daemon_leaves_no_workers_and_starts_again(profile: Aiida) -> None:
    daemon, workers = profile.status()
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, workers)), "the end of the workers")
    profile.verdi("daemon", "start", "1")
    again, others = profile.status()
    assert (again != daemon, len(others)) == (True, 1)
    assert profile.jobs(1) == [2]
