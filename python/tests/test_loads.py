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
