"""BentoML 1.4.40 as it is on PyPI, in production, in development and from a thread, and the end of a service."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import is_alive, wait_until
from tests.embedders.conftest import Environment

SERVICE = """
import os, threading
import bentoml

VERSION = "one"

@bentoml.service(workers=1)
class Inner:
    @bentoml.api
    def twice(self, number: int) -> int:
        return 2 * number

@bentoml.service(workers=2)
class Outer:
    inner = bentoml.depends(Inner)

    @bentoml.api
    def who(self) -> list:
        return [VERSION, os.getpid(), self.inner.twice(21)]

    @bentoml.api
    def die(self) -> str:
        threading.Timer(0.1, os._exit, (3,)).start()
        return "dying"
"""

THREAD = """
import os, signal, sys, time
import bentoml
before = signal.getsignal(signal.SIGTERM)
server = bentoml.serve("service:Outer", port=int(sys.argv[1]), working_dir=os.getcwd())
deadline = time.monotonic() + 60
with bentoml.SyncHTTPClient("http://127.0.0.1:" + sys.argv[1], server_ready_timeout=60) as client:
    print(client.who()[2], flush=True)
server.stop()
print(signal.getsignal(signal.SIGTERM) is before, server.running, flush=True)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    def __init__(self, environment: Environment, directory: Path) -> None:
        self.environment, self.directory, self.port = environment, directory, free_port()
        (directory / "service.py").write_text(SERVICE)
        self.process: subprocess.Popen[str] | None = None

    def serve(self, *more: str, **env: str) -> subprocess.Popen[str]:
        words = ("serve", "service:Outer", "--host", "127.0.0.1", "--port", str(self.port), *more)
        env = {"BENTOML_HOME": str(self.directory / "home"), "BENTOML_DO_NOT_TRACK": "True", **env}
        self.process = self.environment.start("bentoml", *words, cwd=self.directory, **env)
        return self.process

    def call(self, name: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/{name}"
        request = urllib.request.Request(url, b"{}", {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.loads(answer.read()) if name == "who" else answer.read()
        except OSError:
            return None

    def workers(self, count: int) -> list[int]:
        seen: set[int] = set()

        def all_seen() -> bool:
            found = self.call("who")
            if found:
                assert found[2] == 42
                seen.add(found[1])
            return len(seen) >= count

        wait_until(all_seen, f"{count} workers")
        return sorted(seen)


@pytest.fixture
def server(bentoml: Environment, tmp_path: Path) -> Iterator[Server]:
    # A space and a quote in the path.
    directory = tmp_path / "it's here"
    directory.mkdir()
    made = Server(bentoml, directory)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_production_with_several_services_and_workers(server: Server, number: signal.Signals) -> None:
    process = server.serve()
    pids = server.workers(2)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert not any(map(is_alive, pids))


def test_a_killed_program_leaves_nothing(server: Server) -> None:
    process = server.serve()
    pids = server.workers(2)
    process.kill()
    wait_until(lambda: not any(map(is_alive, pids)), "the end of the workers")


def test_a_worker_that_dies_is_replaced(server: Server) -> None:
    server.serve()
    before = server.workers(2)
    server.call("die")
    wait_until(lambda: sum(map(is_alive, before)) == 1, "the death of a worker")
    assert len(set(server.workers(2)) - set(before)) == 1


def test_development_reloads(server: Server) -> None:
    server.serve("--development", "--reload")
    server.workers(1)
    (server.directory / "service.py").write_text(SERVICE.replace('"one"', '"two"'))
    wait_until(lambda: (server.call("who") or [""])[0] == "two", "the new version")
    assert server.process is not None
    server.process.send_signal(signal.SIGINT)
    output, _ = server.process.communicate(timeout=60)
    assert server.process.returncode == 0, output


def test_a_service_that_dies_in_a_container_ends_serve_with_kantokus_error(server: Server) -> None:
    process = server.serve(BENTOML_CONTAINERIZED="true")
    server.workers(2)

    def ended() -> bool:
        server.call("die")
        return process.poll() is not None

    wait_until(ended, "the end of bentoml serve")
    assert process.returncode != 0
    assert "No active process found for watcher." in process.communicate()[0]


def test_from_a_thread(server: Server) -> None:
    env = {"BENTOML_HOME": str(server.directory / "home"), "BENTOML_DO_NOT_TRACK": "True"}
    output = server.environment.run("python", "-c", THREAD, str(server.port), cwd=server.directory, **env)
    assert [line for line in output.splitlines() if "[INFO]" not in line][-2:] == ["42", "True False"], output
