"""What watchers and the arbiter make of circusd's answers, and streams of output, which are given here."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from circus.arbiter import Arbiter
from circus.exc import MessageError
from circus.stream import FileStream
from circus.watcher import Watcher

GONE = "No such process (stopped?)"


class Answering(Arbiter):
    """An arbiter that seems to run: each command has its answer in ``answers``."""

    def __init__(self, *watchers: Watcher) -> None:
        super().__init__(watchers, "", "")
        self._running = True
        self.answers: dict[str, Any] = {}
        for watcher in watchers:
            watcher.arbiter = self

    def ask(self, command: str, **properties: Any) -> Any:
        answer = self.answers[command]
        return answer(**properties) if callable(answer) else answer


def test_a_worker_that_has_just_gone_is_no_process() -> None:
    watcher = Watcher("w", "sleep 9")
    arbiter = Answering(watcher)
    child = {"pid": 77, "name": "sh"}
    living = {"wid": 2, "started": 1.5, "children": [child]}
    infos: dict[str, Any] = {"41": GONE, "42": living}
    arbiter.answers["stats"] = lambda process=None, **_: {"info": infos if process is None else infos[str(process)]}
    assert {pid: process.wid for pid, process in watcher.processes.items()} == {42: 2}
    (process,) = watcher.get_active_processes()
    assert process.children() == [77]
    infos["42"] = GONE
    assert process.children() == [] and not process.is_child(os.getpid())


def test_watchers_that_are_not_the_programs_own_are_not_kept() -> None:
    low, removed, high = Watcher("low", "x", priority=1), Watcher("removed", "x"), Watcher("High", "x", priority=9)
    arbiter = Answering(low, removed, high)
    arbiter.answers["status"] = {"statuses": {"low": "active", "Added": "active", "high": "active", "gone": "active"}}

    def priority(name: str, keys: list[str]) -> Any:
        if name == "gone":
            raise MessageError("program gone not found")
        return {"options": dict.fromkeys(keys, 5)}

    arbiter.answers["get"] = priority
    assert [watcher.name for watcher in arbiter.iter_watchers()] == ["High", "Added", "low"]
    assert [watcher.name for watcher in arbiter.iter_watchers(reverse=False)] == ["low", "Added", "High"]
    assert arbiter.watchers == [low, removed, high]


def test_output_is_dressed_once_for_a_file_that_may_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = FileStream(tmp_path / "log", max_bytes=30, backup_count=1, time_format="%S")
    seconds = iter(range(9))
    monkeypatch.setattr(stream, "now", lambda: datetime(2024, 1, 1, second=next(seconds)))
    for word in (b"one\n", b"two\n", b"three\n"):
        stream({"data": word, "pid": 7})
    stream.close()
    assert (tmp_path / "log.1").read_text() == "00 [7] | one\n01 [7] | two\n"
    assert (tmp_path / "log").read_text() == "02 [7] | three\n"
