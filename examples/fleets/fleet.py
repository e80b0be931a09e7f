"""What the three fleets share: making a folder ready, a client of circusd, and waiting with a deadline."""

from __future__ import annotations

import argparse
import configparser
import json
import os
import select
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHARED = ("fleet.py", "trial", "broker_hooks.py")
NOT_COPIED = {"prepare", "README.md", "requirements.txt", "report.svg", "__pycache__"}


class Failed(Exception):
    """A condition did not come true. Its text says which."""


# --- Making ready ---------------------------------------------------------------------------------------------------


def make_ready(source: Path, folders: list[str], shared: tuple[str, ...] = SHARED) -> tuple[Path, Path]:
    """Copies a fleet into the folder that the command line names, with the placeholders of its files replaced.

    A file NAME.in becomes NAME: as long as it has placeholders, circusd cannot run it."""
    parser = argparse.ArgumentParser(description=f"Makes the fleet {source.name} ready in a folder.")
    parser.add_argument("folder", type=Path, help="where the fleet is to live; its path must have no spaces")
    parser.add_argument("--venv", type=Path, help="an environment of Python that has the packages of requirements.txt")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    venv = arguments.venv.absolute() if arguments.venv else folder / "venv"
    if any(character.isspace() for character in f"{folder}{venv}"):
        parser.error("the paths of the folder and of the environment must have no spaces")
    for name in folders:
        (folder / name).mkdir(parents=True, exist_ok=True)
    if not arguments.venv:
        install(venv, source / "requirements.txt")
    helper = shutil.which("circus-celery") or "circus-celery"
    replacements = {"@FLEET@": str(folder), "@VENV@": str(venv), "@HOMEDIR@": str(folder / "state")}
    replacements["@CIRCUS_CELERY@"] = helper
    if shared and helper == "circus-celery":
        print("there is no circus-celery in PATH: native.ini needs it (cargo install --path services/celery)")
    copy_tree(source, folder, replacements)
    for name in shared:
        copy_file(HERE / name, folder / name, replacements)
    return folder, venv


def install(venv: Path, requirements: Path) -> None:
    """An environment of Python with exactly these packages."""
    if not (venv / "bin/pip").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([venv / "bin/pip", "install", *quiet, "--no-deps", "-r", requirements], check=True)
    subprocess.run([venv / "bin/pip", "check"], check=True)


def make_rabbitmq_home(home: Path) -> None:
    """The folder that RabbitMQ's own user works in: data, log, and no plugins."""
    for name in ("mnesia", "log"):
        (home / name).mkdir(parents=True, exist_ok=True)
    (home / "enabled_plugins").write_text("[].\n")
    for path in [home, *home.rglob("*")]:
        shutil.chown(path, "rabbitmq", "rabbitmq")


def copy_tree(source: Path, folder: Path, replacements: dict[str, str]) -> None:
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_file() and not NOT_COPIED & set(relative.parts):
            name = relative.name.removesuffix(".in")
            copy_file(path, folder / relative.with_name(name), replacements)


def copy_file(source: Path, target: Path, replacements: dict[str, str]) -> None:
    text = source.read_text()
    for placeholder, value in replacements.items():
        text = text.replace(placeholder, value)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    shutil.copymode(source, target)


# --- Asking circusd -------------------------------------------------------------------------------------------------


class Circus:
    """A client of circusd's control endpoint, which speaks to the original too."""

    def __init__(self, ini: Path) -> None:
        import zmq

        self.ini = ini
        self.endpoint = circus_options(ini)["endpoint"]
        self.context = zmq.Context.instance()

    @classmethod
    def of(cls, ini: Path) -> Circus:
        return cls(ini)

    def ask(self, command: str, deadline: float = 30, **properties: object) -> dict:
        """The reply to a command; `Failed` if it is none within `deadline` seconds, or no success. While the original
        is busy, it refuses a command: then it is asked again."""
        end = time.monotonic() + deadline
        while True:
            reply = self.ask_once(command, deadline, properties)
            if reply.get("status") != "error":
                return reply
            if "already running" not in str(reply.get("reason")) or time.monotonic() > end:
                raise Failed(f"circusd refused '{command}': {reply.get('reason')}")
            time.sleep(0.1)

    def ask_once(self, command: str, deadline: float, properties: dict) -> dict:
        import zmq

        socket = self.context.socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(self.endpoint)
        try:
            socket.send_json({"id": uuid.uuid4().hex, "command": command, "properties": properties})
            if not socket.poll(int(deadline * 1000)):
                raise Failed(f"circusd did not answer '{command}' within {deadline:g} s")
            return socket.recv_json()
        finally:
            socket.close()

    def watchers(self) -> list[str]:
        return self.ask("list")["watchers"]

    def pids(self, watcher: str) -> list[int]:
        return [pid for pid in self.ask("list", name=watcher)["pids"] if isinstance(pid, int)]

    def wanted(self, watcher: str) -> int:
        return self.ask("numprocesses", name=watcher)["numprocesses"]

    def short(self) -> list[str]:
        """The watchers that lack processes."""
        return [name for name in self.watchers() if len(self.pids(name)) < self.wanted(name)]

    def missing(self) -> list[str]:
        """The watchers that are not active with all of their processes, with the reason."""
        missing = []
        for name, status in self.ask("status")["statuses"].items():
            if status != "active":
                missing.append(f"{name} is {status}")
            elif len(self.pids(name)) < self.wanted(name):
                missing.append(f"{name} has {len(self.pids(name))} of {self.wanted(name)} processes")
        return missing


def circus_options(ini: Path) -> configparser.SectionProxy:
    """The section [circus] of a configuration file, with the values as they are written."""
    parser = configparser.RawConfigParser(strict=False)
    parser.read(ini)
    return parser["circus"]


# --- Waiting and looking --------------------------------------------------------------------------------------------


def wait_for(what: str, condition, deadline: float = 30, pause: float = 0.1):
    """The first true answer of `condition`; `Failed` with the last other answer when the deadline has passed."""
    end = time.monotonic() + deadline
    while True:
        try:
            answer, last = condition(), None
            if answer:
                return answer
        except (OSError, Failed, ValueError) as error:
            answer, last = None, error
        if time.monotonic() > end:
            because = f": {last or answer}" if last or answer is not None else ""
            raise Failed(f"{what}: not within {deadline:g} s{because}")
        time.sleep(pause)


def wait_until_active(circus: Circus, deadline: float = 30) -> None:
    end = time.monotonic() + deadline
    missing: list[str] = ["circusd does not answer"]
    while missing:
        try:
            missing = circus.missing()
        except Failed as error:
            missing = [str(error)]
        if missing and time.monotonic() > end:
            raise Failed(f"not every watcher was active within {deadline:g} s: {', '.join(missing)}")
        time.sleep(0.1)


def get(url: str, host: str | None = None, deadline: float = 5) -> tuple[int, str, dict]:
    """Status, text and headers of a page."""
    headers = {"Host": host} if host else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=deadline) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace"), dict(error.headers)


def wait_for_page(url: str, holds: str = "", host: str | None = None, deadline: float = 30) -> str:
    """The text of a page, as soon as it is answered with 200 and holds a text."""

    def fetched():
        status, text, _headers = get(url, host)
        if status != 200 or holds not in text:
            raise Failed(f"status {status}, {text[:80]!r}")
        return text or " "

    return wait_for(f"GET {url}", fetched, deadline)


def lines_of_json(path: Path) -> list[dict]:
    """The objects in a file of JSON lines; what is still being written is left out."""
    if not path.exists():
        return []
    text = path.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def tree(pid: int) -> set[int]:
    """A process and all that descend from it."""
    children = children_by_parent()
    found, look = set(), [pid]
    while look:
        one = look.pop()
        found.add(one)
        look += children.get(one, [])
    return found


def children_by_parent() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            parent = parent_of(int(entry))
            if parent is not None:
                children.setdefault(parent, []).append(int(entry))
    return children


def parent_of(pid: int) -> int | None:
    """The parent of a process that lives; a zombie lives no more."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state == "Z" else int(parent)


def workers_of(circus: Circus, watcher: str) -> set[int]:
    """The processes of a watcher, and all that descend from them."""
    return set().union(*(tree(pid) for pid in circus.pids(watcher)))


def check_queues(app, queues: tuple[str, ...]) -> None:
    """Every queue is consumed. A worker of Celery answers a ping also where it consumes nothing."""

    def consumed():
        answers = app.control.inspect(timeout=2).active_queues() or {}
        return {queue["name"] for of_worker in answers.values() for queue in of_worker} >= set(queues)

    wait_for("a worker for each queue", consumed, 30)
    print(f"queues: {', '.join(queues)} are consumed")


# --- Tasks that are counted -----------------------------------------------------------------------------------------


def do_counted(state: str, run: str, number: int, seconds: float) -> None:
    """What a counted task does: it takes some time, and records that it began and ended."""
    with open(f"{state}/counted.jsonl", "a", buffering=1) as record:
        record.write(json.dumps({"run": run, "number": number, "kind": "begin"}) + "\n")
        time.sleep(seconds)
        record.write(json.dumps({"run": run, "number": number, "kind": "end"}) + "\n")


def judge_counted(counted: Path, run: str, expected: int, may_repeat: bool) -> str:
    """Says how often the tasks of a run were begun and ended; `Failed` unless each was once, or at least once."""
    begun: dict[int, int] = {}
    ended: dict[int, int] = {}
    for line in lines_of_json(counted):
        if line["run"] == run:
            table = begun if line["kind"] == "begin" else ended
            table[line["number"]] = table.get(line["number"], 0) + 1
    lost = [number for number in range(expected) if number not in ended]
    twice = [number for number in range(expected) if begun.get(number, 0) > 1]
    if twice and not lost and may_repeat:
        return f"{expected} tasks: none was lost, {len(twice)} ran twice, as Celery does without a drain"
    if lost or twice:
        raise Failed(f"of {expected} tasks {len(lost)} were lost {lost[:9]} and {len(twice)} ran twice {twice[:9]}")
    return f"{expected} tasks: each ran once to its end"


# How many counted tasks a second are sent after the first lot: fewer than any queue can take.
PACE = 15


def count_tasks(app, send, counted: Path, arguments: argparse.Namespace, deadline: float = 120) -> str:
    """Sends counted tasks with `send(run, number)`, waits until none is under way, and judges. A lot of them comes at
    once, then, with --until-eof, some each second until standard input ends."""
    run, number = uuid.uuid4().hex, arguments.number
    for one in range(number):
        send(run, one)
    print(f"{number} tasks are sent", flush=True)
    while arguments.until_eof and not select.select([sys.stdin], [], [], 1 / PACE)[0]:
        send(run, number)
        number += 1

    def ended():
        kinds = [line["number"] for line in lines_of_json(counted) if line["run"] == run and line["kind"] == "end"]
        if len(set(kinds)) < number:
            raise Failed(f"{len(set(kinds))} of {number}")
        return True

    failed = None
    try:
        wait_for("the end of all tasks", ended, deadline)
        wait_for("an idle fleet", lambda: not under_way(app, run), 30)
    except Failed as error:
        failed = error
    try:
        said = judge_counted(counted, run, number, arguments.may_repeat)
    except Failed as error:
        raise Failed(f"{error}; {failed}" if failed else str(error)) from error
    if failed:
        raise Failed(f"{failed}; {said}")
    return said


def under_way(app, run: str) -> int:
    """How many tasks of a run the workers hold: those that run and those that they have taken from the broker."""
    inspect = app.control.inspect(timeout=1)
    held = [inspect.active() or {}, inspect.reserved() or {}]
    return sum(run in str(task["args"]) for table in held for tasks in table.values() for task in tasks)


# --- The program `check` --------------------------------------------------------------------------------------------


def run_check(whole, quick, load) -> None:
    """The command line of a fleet's `check`: whole, quick or load N."""
    parser = argparse.ArgumentParser(description="Proves that the fleet works.")
    parser.add_argument("mode", nargs="?", default="whole", choices=["whole", "quick", "load"])
    parser.add_argument("number", nargs="?", type=int, default=200, help="how many tasks `load` sends")
    parser.add_argument("--until-eof", action="store_true", help="load: send more until standard input ends")
    parser.add_argument("--may-repeat", action="store_true", help="load: a task may run twice, but none may be lost")
    parser.add_argument("--ini", type=Path, default=default_ini(), help="the file that circusd runs")
    arguments = parser.parse_args()
    circus = Circus.of(arguments.ini)
    begun = time.monotonic()
    try:
        if arguments.mode == "load":
            print(load(arguments))
        else:
            {"whole": whole, "quick": quick}[arguments.mode](circus)
    except Failed as error:
        sys.exit(f"FAILED: {error}")
    print(f"ok: {arguments.mode} in {time.monotonic() - begun:.1f} s")


def default_ini() -> Path:
    """The file that runs under both: it is called after the fleet."""
    (ini,) = [path for path in HERE.glob("*.ini") if path.name != "native.ini"]
    return ini
