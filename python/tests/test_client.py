"""The clients, and circusd as a program starts it: with the real daemon."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from circus.client import AsyncCircusClient, CircusClient, cast_message, make_json, make_message
from circus.commands import IncrProc, get_commands  # type: ignore[attr-defined]
from circus.consumer import CircusConsumer
from circus.exc import ArgumentError, CallError, MessageError
from circus.stats.client import StatsClient
from tests.conftest import PATIENCE, Endpoints, wait_until

CIRCUSD = os.environ["CIRCUS_PROGRAMS"] + "/circusd"


def configuration(endpoints: Endpoints, **circus: object) -> str:
    return json.dumps(
        {
            "circus": {
                "endpoint": endpoints.control,
                "pubsub_endpoint": endpoints.events,
                "stats_endpoint": endpoints.stats,
                "stats_interval": 0.2,
                **circus,
            },
            "watchers": [{"name": "W", "cmd": "sleep", "args": ["600"], "numprocesses": 2}],
        }
    )


@pytest.fixture
def daemon(endpoints: Endpoints) -> Iterator[Endpoints]:
    """circusd with a configuration from standard input, ready."""
    reading, writing = os.pipe()
    words = [CIRCUSD, "--ready-fd", str(writing), "-"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, pass_fds=[writing], text=True)
    os.close(writing)
    assert process.stdin is not None
    process.stdin.write(configuration(endpoints))
    process.stdin.close()
    with os.fdopen(reading) as notes:
        told = [notes.readline().strip() for _ in range(3)]
        assert told == [f"ENDPOINT={endpoints.control}", "LISTENING=1", "READY=1"]
        yield endpoints
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_calls_and_their_answers(daemon: Endpoints) -> None:
    with CircusClient(endpoint=daemon.control) as client:
        assert client.call({"command": "list", "properties": {}})["watchers"] == ["circusd-stats", "w"]
        assert client.send_message("status", name="w")["status"] == "active"
        assert client.call(make_message("nonsense"))["errno"] == 2
        with pytest.raises(DeprecationWarning):
            client.call("list")  # type: ignore[arg-type]
        with pytest.raises(CallError):
            client.call(make_message("list", name=object()))


def test_no_answer_is_an_error_in_time(endpoints: Endpoints) -> None:
    client = CircusClient(endpoint=endpoints.control, timeout=0.1)
    with pytest.raises(CallError) as error:
        client.send_message("list")
    assert str(error.value) == "Timed out."
    client.stop()

    async def ask() -> None:
        async with AsyncCircusClient(endpoint=endpoints.control, timeout=0.1) as asynchronous:
            await asynchronous.send_message("list")

    with pytest.raises(CallError, match=r"Timed out\."):
        asyncio.run(ask())


def test_calls_of_asyncio_may_overlap(daemon: Endpoints) -> None:
    async def ask() -> list[object]:
        async with AsyncCircusClient(endpoint=daemon.control) as client:
            slow = client.send_message("restart", name="w", waiting=True)
            quick = [client.send_message("numprocesses", name=name) for name in ("w", "circusd-stats") * 10]
            answers = await asyncio.gather(slow, *quick)
            return [len(answers[0]["info"]["started"]), [answer["watcher_name"] for answer in answers[1:]]]

    assert asyncio.run(ask()) == [2, ["w", "circusd-stats"] * 10]


def test_events_and_figures(daemon: Endpoints) -> None:
    with (
        CircusConsumer(["watcher.w."], endpoint=daemon.events) as consumer,
        CircusClient(endpoint=daemon.control) as client,
    ):

        def subscribed() -> bool:
            client.send_message("set", name="w", options={"priority": 1})
            return bool(consumer.pubsub_socket.poll(100))

        wait_until(subscribed, "an event")
        topic, message = next(iter(consumer))
        assert topic == b"watcher.w.updated"
        assert "time" in json.loads(message)
    figures = itertools.islice(StatsClient(daemon.stats), 200)
    kinds = {
        (watcher, subtopic is None) for watcher, subtopic, _ in itertools.takewhile(lambda f: f[0] != "circus", figures)
    }
    assert kinds <= {("w", True), ("w", False)}


def test_messages() -> None:
    assert make_message("list", name="w") == {"command": "list", "properties": {"name": "w"}}
    assert cast_message("stop") == {"command": "stop", "msg_type": "cast", "properties": {}}
    assert json.loads(make_json("list")) == make_message("list")
    assert IncrProc().message("w", 2) == {"command": "incr", "properties": {"name": "w", "nb": 2}}
    assert importlib.import_module("circus.commands.sendsignal").Signal.name == "signal"
    assert get_commands()["kill"].make_message(name="w") == make_message("kill", name="w")
    with pytest.raises(ArgumentError):
        IncrProc().message()
    with pytest.raises(MessageError, match="'name' is missing"):
        IncrProc().validate({})


def test_a_service_manager_is_told_and_its_socket_is_not_passed_on(endpoints: Endpoints, tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    config = json.loads(configuration(endpoints))
    script = f"env > {shown}.part; mv {shown}.part {shown}; exec sleep 600"
    config["watchers"] = [{"name": "w", "cmd": "sh", "args": ["-c", script], "copy_env": True}]
    path = tmp_path / "circus.json"
    path.write_text(json.dumps(config))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(endpoints.directory / "n"))
        manager.settimeout(PATIENCE)
        env = {**os.environ, "NOTIFY_SOCKET": str(endpoints.directory / "n")}
        process = subprocess.Popen([CIRCUSD, str(path)], env=env)
        assert manager.recv(100) == b"READY=1"
    wait_until(shown.exists, "the environment of the worker")
    assert "NOTIFY_SOCKET" not in shown.read_text()
    process.terminate()
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("cmd", "exit_on", "status"), [("exit 3", "end", 3), ("exit 0", "end", 0), ("kill -9 $$", "failure", 137)]
)
def test_the_end_of_an_essential_watcher_is_the_exit_status(
    endpoints: Endpoints, cmd: str, exit_on: str, status: int
) -> None:
    config = json.loads(configuration(endpoints, exit_on=exit_on))
    config["watchers"].append({"name": "main", "cmd": "sh", "args": ["-c", cmd], "respawn": False, "essential": True})
    done = subprocess.run([CIRCUSD, "-"], input=json.dumps(config), text=True, timeout=2 * PATIENCE, check=False)
    assert done.returncode == status


def test_a_configuration_in_json_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "circus.json"
    path.write_text('{"watchers": [{"name": "w", "cmd": "x", "numproceses": 2}]}')
    done = subprocess.run([CIRCUSD, "--check", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "unknown key 'numproceses' in [watcher:w]; did you mean 'numprocesses'?" in done.stdout


def test_the_programs_are_those_of_this_package() -> None:
    words = [sys.executable, "-c", "from circus.circusd import main; main()", "--version"]
    ours = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert ours == subprocess.run([CIRCUSD, "--version"], capture_output=True, text=True, check=True).stdout


def test_a_program_is_run_where_standard_output_was_closed() -> None:
    script = "import sys\nfrom circus import _programs\nsys.stdout.close()\nsys.argv = ['x', '--version']\n"
    words = [sys.executable, "-c", script + "_programs.run('circusctl')\n"]
    ran = subprocess.run(words, stderr=subprocess.PIPE, check=False)
    assert b"Traceback" not in ran.stderr, ran.stderr
