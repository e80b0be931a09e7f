"""Every public name of the original is served, or its refusal says why. docs/embedding.md has the table made here."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from circus import _refused
from tests.conftest import TOP

DOCUMENT = TOP / "docs/embedding.md"
BEGIN, END = "<!-- begin names -->", "<!-- end names -->"

# What is not just there, but different.
HOW = {
    "circus.get_arbiter": "an arbiter whose circusd is a child of the program",
    "circus.arbiter.Arbiter": "starts circusd; methods that change something ask it",
    "circus.arbiter.ThreadedArbiter": "`start()` returns when circusd takes commands, and raises why it does not",
    "circus.circusctl": "the program circusctl",
    "circus.circusd.main": "becomes the program circusd",
    "circus.client.AsyncCircusClient": "on asyncio; coroutines of Tornado may yield its calls",
    "circus.plugins.CircusPlugin": "in a loop of asyncio; `call` may be used from any thread",
    "circus.plugins.main": "runs a plugin; circusd has its own way",
    "circus.process.Process": "what `Watcher.processes` has: looks at the process and signals it through circusd",
    "circus.sockets.CircusSocket": "a description, without a descriptor",
    "circus.sockets.CircusSocket.bind_and_listen": "raises `NotServed`: circusd does it",
    "circus.sockets.CircusSockets.bind_and_listen_all": "raises `NotServed`: circusd does it",
    "circus.stats.main": "becomes the program circusd-stats",
    "circus.stats.client.main": "becomes the program circus-top",
    "circus.stream.file_stream.FileStream": "written by circusd; a derived class by the program",
    "circus.stream.file_stream.WatchedFileStream": "written by circusd; a derived class by the program",
    "circus.stream.file_stream.TimedRotatingFileStream": "written by circusd alone",
    "circus.stream.StdoutStream": "circusd's standard output, which is the program's",
    "circus.stream.FancyStdoutStream": "circusd's standard output, in colour",
    "circus.stream.QueueStream": "through a pipe into the program",
    "circus.util.debuglog": "logs nothing",
    "circus.util.tornado_sleep": "a task of asyncio",
    "circus.watcher.Watcher": "a description; methods that ask or change something ask circusd",
}


def original() -> dict[str, list[str] | None]:
    python = os.environ.get("CIRCUS_TEST_PYTHON")
    if not python:
        pytest.skip("CIRCUS_TEST_PYTHON does not name a Python that has circus 0.19.0 installed")
    script = Path(__file__).with_name("original_names.py")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run([python, str(script)], env=env, check=True, capture_output=True, text=True)
    names: dict[str, list[str] | None] = json.loads(found.stdout)
    return names


def state(module: str, name: str) -> str | None:
    """``served`` and how, or ``refused`` and why; nothing for a name that is neither."""
    full = f"{module}.{name}" if name else module
    reason = _refused.MODULES.get(module) or _refused.NAMES.get(module, {}).get(name)
    try:
        found = importlib.import_module(module)
        if "." not in name or reason is None:
            for part in name.split(".") if name else ():
                found = getattr(found, part)
    except ImportError as error:
        return f"refused: {reason}" if reason and "not served" in str(error) else None
    except AttributeError:
        return None
    if reason is not None:
        return f"refused: {reason}"
    return f"served: {HOW[full]}" if full in HOW else "served"


def rows() -> list[tuple[str, str]]:
    """Each name and its state. Names of a module that is refused as a whole are not listed one by one."""
    listed = []
    for module, names in sorted(original().items()):
        whole = state(module, "")
        if module in _refused.MODULES:
            listed.append((module, whole or ""))
            continue
        listed.extend((f"{module}.{name}", state(module, name) or "") for name in names or ())
    return listed


def test_no_name_is_forgotten() -> None:
    listed = rows()
    assert len(listed) > 250
    assert [name for name, found in listed if not found] == []


def test_the_table_is_in_step() -> None:
    lines = ["| name | state |", "| --- | --- |", *(f"| `{name}` | {found} |" for name, found in rows())]
    text = DOCUMENT.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    wanted = head + BEGIN + "\n\n" + "\n".join(lines) + "\n\n" + END + tail
    if os.environ.get("BLESS") == "1":
        DOCUMENT.write_text(wanted)
    assert text == wanted or os.environ.get("BLESS") == "1", "BLESS=1 pytest tests/test_names.py writes it anew"


def test_what_is_refused_says_the_way_out() -> None:
    with pytest.raises(ImportError, match=r"use circus\.client\.CircusClient"):
        importlib.import_module("circus.circusctl")
    with pytest.raises(ImportError, match="give the watcher the option virtualenv"):
        from circus.util import load_virtualenv  # noqa: F401
    from circus.exc import NotServed
    from circus.sockets import CircusSocket
    from circus.watcher import Watcher

    with pytest.raises(NotServed, match="use incr"):
        Watcher("w", "x").spawn_process()
    assert not hasattr(Watcher("w", "x"), "spawn_process")
    with pytest.raises(NotServed, match="circusd opens the managed sockets"):
        CircusSocket("s").fileno()
    with pytest.raises(NotServed, match="before_start"):
        Watcher("w", "x", prereload_fn=print)
