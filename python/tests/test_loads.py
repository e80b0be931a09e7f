"""What the programs of examples/fleets and examples/crypto that load a service say where something goes wrong."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The loader of a program by its path."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(path: str) -> ModuleType:
        file = EXAMPLES / path
        monkeypatch.syspath_prepend(str(file.parent))
        loader = importlib.machinery.SourceFileLoader(file.stem, str(file))
        spec = importlib.util.spec_from_loader(file.stem, loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        return module

    return load


def test_tasks_that_are_never_finished_with_are_a_failure(programs: Any, tmp_path: Path) -> None:
    fleet = programs("fleets/fleet.py")
    wait_for, counted = fleet.wait_for, tmp_path / "counted"
    fleet.wait_for = lambda what, condition, _deadline: wait_for(what, condition, 0, 0)
    held: dict[str, Any] = {"worker": []}
    app = SimpleNamespace(
        control=SimpleNamespace(inspect=lambda timeout: SimpleNamespace(active=lambda: held, reserved=dict))
    )

    def send(run: str, number: int) -> None:
        held["worker"] = [{"args": (run, number)}]
        with counted.open("a") as file:
            for kind in ("begin", "end"):
                file.write(json.dumps({"run": run, "number": number, "kind": kind}) + "\n")

    def lose(run: str, number: int) -> None:
        if number:
            send(run, number)

    def count(sending: Any) -> Any:
        return fleet.count_tasks(app, sending, counted, Namespace(number=3, until_eof=False, may_repeat=False))

    with pytest.raises(fleet.Failed, match=r"^an idle fleet: not within 0 s.*; 3 tasks: each ran once to its end$"):
        count(send)
    with pytest.raises(fleet.Failed, match=r"^of 3 tasks 1 were lost \[0\] and .*; the end of all tasks: .*: 2 of 3$"):
        count(lose)
    app.control.inspect = lambda timeout: SimpleNamespace(active=dict, reserved=dict)
    assert count(send) == "3 tasks: each ran once to its end"


def test_a_load_names_why_requests_were_lost_at_any_time(
    programs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = programs("crypto/load")
    (tmp_path / "state").mkdir()
    (tmp_path / "state/key.pem.modulus").write_text("ff")

    class Client:
        """Gets no answer to its only request."""

        made = 0

        def __init__(self, *_: Any) -> None:
            Client.made += 1
            self.answered: list[Any] = []
            self.lost = [(0.0, f"reason {Client.made}")]
            self.pids: set[int] = set()

        def run(self, until: Any) -> None:
            while not until():
                pass

    monkeypatch.setattr(load, "HERE", tmp_path)
    monkeypatch.setattr(load, "Client", Client)
    for name in ("resize", "ask", "wait_until_ready"):
        monkeypatch.setattr(load.Control, name, lambda *_words, **_options: None)
    monkeypatch.setattr(load.Control, "pids", lambda _self: set())
    monkeypatch.setattr(sys, "argv", ["load", "--workers", "1", "--seconds", "0", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"^FAILED: requests were lost: reason 1, reason 2$"):
        load.main()
    assert "1 worker" in (tmp_path / "report.svg").read_text()
