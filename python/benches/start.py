"""From ``get_arbiter(...).start()`` to all workers running, and the memory of what then supervises them: the original
beside this package, in one run, by turns.

    python benches/start.py ORIGINAL OURS [--workers N] [--rounds N]

ORIGINAL and OURS are the Pythons of environments that have circus 0.19.0 and this package installed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

PROGRAM = """
import json, os, sys, threading, time
begun = time.monotonic()
from circus import get_arbiter
workers, directory, daemonized = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "daemonized"
if daemonized:
    from circus.circusd import daemonize
    daemonize()
arbiter = get_arbiter([dict(name="w", cmd="sleep 600", numprocesses=workers)],
                      controller=f"ipc://{directory}/c", pubsub_endpoint=f"ipc://{directory}/p")
start = time.monotonic()
def started(_):
    with open(directory + "/result.part", "w") as file:
        json.dump([time.monotonic() - start, time.monotonic() - begun, os.getpid()], file)
    os.rename(directory + "/result.part", directory + "/result")
arbiter.start(None if daemonized else started)
"""


def wait_for(condition: Any, seconds: float = 60.0) -> Any:
    import time

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.005)
    raise TimeoutError(condition)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def pss(pid: int) -> int:
    """The memory of a process in kB, with its share of what it shares."""
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found.group(1)) if found else 0


def supervisors(directory: str) -> list[int]:
    """Every process that has the directory in its command line, and what it has started besides workers."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if os.getpid() == int(entry.name) or words[0] == b"sleep":
                continue
            ancestors = [int(entry.name), parent(int(entry.name))]
            lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in ancestors if pid > 1]
        except OSError:
            continue
        if any(directory.encode() in line for line in lines):
            found.append(int(entry.name))
    return found


def attended(python: str, workers: int) -> tuple[float, float, float]:
    """Seconds of the start, seconds with the imports, memory in MB: circusd or the original within its program."""
    with tempfile.TemporaryDirectory() as directory:
        process = subprocess.Popen([python, "-c", PROGRAM, str(workers), directory, "attended"], cwd="/")
        try:
            result = Path(directory) / "result"
            wait_for(result.exists)
            start, whole, _ = json.loads(result.read_text())
            memory = sum(map(pss, supervisors(directory))) / 1024
        finally:
            process.terminate()
            process.wait()
        return start, whole, memory


def daemonized(python: str, workers: int) -> float:
    """Memory in MB, in a process that daemonize() has made."""
    from circus.client import CircusClient
    from circus.exc import CallError

    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([python, "-c", PROGRAM, str(workers), directory, "daemonized"], check=True, cwd="/")
        with CircusClient(endpoint=f"ipc://{directory}/c", timeout=1.0) as client:

            def count() -> bool:
                try:
                    return bool(client.send_message("numprocesses").get("numprocesses") == workers)
                except CallError:
                    return False

            wait_for(count)
            pid = client.send_message("dstats")["info"]["pid"]
            memory = pss(pid) / 1024
            client.send_message("quit")
            wait_for(lambda: not Path(f"/proc/{pid}").exists())
        return memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("original")
    parser.add_argument("ours")
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    figures: dict[str, list[tuple[float, ...]]] = {"original": [], "ours": []}
    for _ in range(args.rounds):
        for name, python in (("original", args.original), ("ours", args.ours)):
            figures[name].append((*attended(python, args.workers), daemonized(python, args.workers)))
    rows = (
        ("`start()` to all workers running", "ms", 1000),
        ("the same with the import of circus", "ms", 1000),
        ("memory of what supervises (PSS)", "MB", 1),
        ("memory in a process of `daemonize()` (PSS)", "MB", 1),
    )
    print(f"{args.workers} workers, the median of {args.rounds} rounds by turns\n")
    print("| what | circus 0.19.0 | here | ratio |\n| --- | --- | --- | --- |")
    for column, (what, unit, factor) in enumerate(rows):
        theirs, ours = (statistics.median(row[column] for row in figures[name]) for name in ("original", "ours"))
        print(f"| {what} | {theirs * factor:.1f} {unit} | {ours * factor:.1f} {unit} | {ours / theirs:.2f} |")


if __name__ == "__main__":
    main()
