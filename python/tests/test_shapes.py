"""The ways in which programs start an arbiter and end it, and the surroundings that they do it in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from circus.client import CircusClient
from tests.conftest import PATIENCE, Endpoints, Launcher, is_alive, wait_until, worker


def get(launcher: Launcher, more: str = "", name: str = "w", options: str = "", endpoints: str = "") -> str:
    """An expression that makes an arbiter with two workers."""
    places = endpoints or "controller=CONTROL, pubsub_endpoint=EVENTS"
    watcher = f"dict(name={name!r}, cmd={worker(launcher, name)!r}, numprocesses=2, copy_env=True, {options})"
    return f"__import__('circus').get_arbiter([{watcher}], {places}, {more})"


def daemon_of(endpoints: Endpoints) -> int:
    with CircusClient(endpoint=endpoints.control) as client:
        return int(client.send_message("dstats")["info"]["pid"])


def all_gone(pids: list[int]) -> bool:
    return not any(map(is_alive, pids))


def circusds_of(directory: Path) -> list[int]:
    """Every circusd that was started by a program in this directory, by the directory that both were started in."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            if words[0] == b"circusd" and os.readlink(path / "cwd") == str(directory):
                found.append(int(path.name))
        except OSError:
            continue
    return found


def test_one_arbiter_after_the_other(launcher: Launcher) -> None:
    script = (
        "for number in range(4):\n"
        f"    arbiter = {get(launcher)}\n"
        "    future = arbiter.start(lambda _: (print(arbiter.numprocesses()), arbiter.stop()))\n"
        "    assert future.exception() is None, future.exception()\n"
        "again = arbiter.start(lambda _: (print(arbiter.numprocesses()), arbiter.stop()))\n"
        "print(again.exception(), len(os.listdir('/proc/self/fd')) < 30)\n"
    )
    assert launcher.run(script).splitlines() == ["2"] * 5 + ["None True"]


def test_two_arbiters_at_once(launcher: Launcher) -> None:
    other = "controller=CONTROL + '2', pubsub_endpoint=EVENTS + '2'"
    script = (
        f"one = {get(launcher, 'background=True')}\n"
        f"two = {get(launcher, 'background=True', name='x', endpoints=other)}\n"
        "one.start()\n"
        "two.start()\n"
        "print(one.statuses().keys(), two.statuses().keys())\n"
        "one.stop()\n"
        "print(one.running, two.running, two.numwatchers())\n"
        "two.stop()\n"
    )
    lines = launcher.run(script).splitlines()
    assert lines == ["dict_keys(['w']) dict_keys(['x'])", "False True 1"]


def test_two_arbiters_at_one_endpoint(launcher: Launcher) -> None:
    script = (
        f"one = {get(launcher, 'background=True')}\n"
        "one.start()\n"
        f"two = {get(launcher, 'background=True', name='x')}\n"
        "try:\n"
        "    two.start()\n"
        "except RuntimeError as error:\n"
        "    print('refused', 'listens there already' in str(error), one.numwatchers())\n"
        "one.stop()\n"
    )
    assert launcher.run(script).splitlines()[-1] == "refused True 1"


def test_in_a_child_that_was_forked(launcher: Launcher) -> None:
    script = (
        f"first = {get(launcher, 'background=True')}\n"
        "first.start()\n"
        "first.stop()\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        f"    arbiter = {get(launcher)}\n"
        "    future = arbiter.start(lambda _: (print(arbiter.numprocesses(), flush=True), arbiter.stop()))\n"
        "    os._exit(3 if future.exception() is None else 4)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    assert launcher.run(script, PYTHONWARNINGS="ignore").splitlines() == ["2", "3"]


def test_a_forked_child_that_lives_longer_holds_nothing_up(launcher: Launcher) -> None:
    script = (
        f"arbiter = {get(launcher, 'background=True', options='stdout_stream=dict(stream=print)')}\n"
        "arbiter.start()\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    time.sleep(600)\n"
        "began = time.monotonic()\n"
        "arbiter.stop()\n"
        "print(time.monotonic() - began < 5)\n"
        "os.kill(pid, signal.SIGKILL)\n"
    )
    assert launcher.run(script, PYTHONWARNINGS="ignore").splitlines() == ["True"]


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_under_multiprocessing(launcher: Launcher, method: str) -> None:
    script = (
        "import multiprocessing\n"
        "def work(queue):\n"
        f"    arbiter = {get(launcher)}\n"
        "    future = arbiter.start(lambda _: (queue.put(arbiter.numprocesses()), arbiter.stop()))\n"
        "    queue.put(repr(future.exception()))\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    queue = context.Queue()\n"
        "    process = context.Process(target=work, args=(queue,))\n"
        "    process.start()\n"
        "    print(queue.get(), queue.get())\n"
        "    process.join()\n"
    )
    assert launcher.run(script).splitlines() == ["2 None"]


def test_a_process_of_multiprocessing_is_terminated(launcher: Launcher) -> None:
    script = (
        "import multiprocessing\n"
        "def work():\n"
        f"    {get(launcher)}.start()\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context('spawn').Process(target=work)\n"
        "    process.start()\n"
        "    while len([n for n in os.listdir(DIRECTORY) if n.startswith('w.')]) < 2: time.sleep(0.02)\n"
        "    process.terminate()\n"
        "    process.join()\n"
        "    print(process.exitcode)\n"
    )
    assert launcher.run(script).splitlines() == ["0"]
    assert all_gone(launcher.pids("w", 2))


def test_many_programs_at_the_same_time(tmp_path_factory: pytest.TempPathFactory) -> None:
    launchers = []
    for _ in range(6):
        directory = tmp_path_factory.mktemp("many")
        launchers.append(Launcher(directory, Endpoints(directory)))
    try:
        processes = [
            each.start(
                f"arbiter = {get(each)}\n"
                "print(arbiter.start(lambda _: (print(arbiter.numprocesses()), arbiter.stop())).exception())\n"
            )
            for each in launchers
        ]
        outputs = [process.communicate(timeout=2 * PATIENCE)[0] for process in processes]
    finally:
        for each in launchers:
            each.close()
    assert outputs == ["2\nNone\n"] * 6


def test_paths_are_those_of_the_directory_at_the_start(launcher: Launcher) -> None:
    """The program changes its directory before it starts the arbiter, and after it."""
    (launcher.directory / "bin").mkdir()
    (launcher.directory / "elsewhere").mkdir()
    script = launcher.directory / "bin/show.sh"
    script.write_text("#!/bin/sh\npwd\nexec sleep 600\n")
    script.chmod(0o755)
    program = (
        "os.chdir(DIRECTORY)\n"
        "from circus import get_arbiter\n"
        "arbiter = get_arbiter([dict(name='w', cmd='./show.sh', working_dir='bin',\n"
        "    stdout_stream=dict(filename='out.log'))],\n"
        "    controller='ipc://c', pubsub_endpoint='ipc://p', background=True)\n"
        "arbiter.start()\n"
        "while not os.path.exists('out.log') or not os.path.getsize('out.log'): time.sleep(0.02)\n"
        "print(open('out.log').read().strip() == DIRECTORY + '/bin', os.path.exists('c'))\n"
        "print(arbiter.numprocesses())\n"
        "arbiter.stop()\n"
    )
    assert launcher.run(program).splitlines() == ["True True", "1"]


def test_names_and_paths_in_any_language(launcher: Launcher) -> None:
    directory = launcher.directory / "Ü ñ 漢字"
    directory.mkdir()
    show = directory / "zeig é.sh"
    show.write_text(f'#!/bin/sh\necho "$1 $NAME"\n: > "{launcher.directory}/w.$$"\nexec sleep 600\n')
    show.chmod(0o755)
    script = (
        "from circus.arbiter import Arbiter\n"
        "from circus.watcher import Watcher\n"
        f"path = {str(show)!r}\n"
        "watcher = Watcher('größe', cmd=path.replace(' ', '\\\\ '), args=['ß 漢'], env={'NAME': 'é'},\n"
        f"    working_dir={str(directory)!r}, stdout_stream=dict(filename={str(directory / 'aus ü.log')!r}))\n"
        "arbiter = Arbiter([watcher], CONTROL, EVENTS)\n"
        "def look():\n"
        "    while not os.path.exists(os.path.dirname(path) + '/aus ü.log'): time.sleep(0.02)\n"
        "    while not (text := open(os.path.dirname(path) + '/aus ü.log').read()): time.sleep(0.02)\n"
        "    print(text == 'ß 漢 é\\n', list(arbiter.statuses()), arbiter.get_watcher('größe').status())\n"
        "    arbiter.stop()\n"
        "arbiter.start(lambda _: threading.Thread(target=look).start())\n"
    )
    assert launcher.run(script, PYTHONIOENCODING="utf-8", LC_ALL="C.UTF-8").splitlines() == ["True ['größe'] active"]


@pytest.mark.parametrize("kept", [[], ["PATH"]])
def test_with_almost_no_environment(launcher: Launcher, kept: list[str]) -> None:
    """No HOME, no locale, and TMPDIR is a place where nothing can be written."""
    needed = ["CIRCUS_PROGRAMS", "PYTHONPATH", *kept]
    env = {name: os.environ[name] for name in needed}
    script = f"arbiter = {get(launcher)}\n"
    script += "print(arbiter.start(lambda _: (print(arbiter.numprocesses()), arbiter.stop())).exception())\n"
    launcher.write(script)
    done = subprocess.run(
        [sys.executable, str(launcher.path)],
        env={**env, "TMPDIR": "/proc/no/such"},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("2\nNone\n", 0), done.stderr


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_with_standard_descriptors_closed(launcher: Launcher, closed: tuple[int, ...]) -> None:
    script = (
        f"arbiter = {get(launcher)}\n"
        "def started(_):\n"
        "    with open(DIRECTORY + '/said', 'w') as file: file.write(str(arbiter.numprocesses()))\n"
        "    arbiter.stop()\n"
        "error = arbiter.start(started).exception()\n"
        "os._exit(0 if error is None else 9)\n"
    )
    launcher.write(script)
    close = " ".join(f"{number}>&-" for number in closed)
    words = ["sh", "-c", f'exec "$0" "$1" {close}', sys.executable, str(launcher.path)]
    assert subprocess.run(words, timeout=2 * PATIENCE, check=False).returncode == 0
    assert (launcher.directory / "said").read_text() == "2"


def test_in_a_directory_that_is_gone(launcher: Launcher) -> None:
    script = (
        "os.mkdir(DIRECTORY + '/gone')\n"
        "os.chdir(DIRECTORY + '/gone')\n"
        "os.rmdir(DIRECTORY + '/gone')\n"
        "from circus.watcher import Watcher\n"
        "from circus.arbiter import Arbiter\n"
        "arbiter = Arbiter([Watcher('w', 'sleep 600', working_dir='/')], CONTROL, EVENTS)\n"
        "print(arbiter.start(lambda _: (print(arbiter.numprocesses()), arbiter.stop())).exception())\n"
    )
    assert launcher.run(script).splitlines() == ["1", "None"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_program_that_ends_while_it_starts_leaves_nothing(launcher: Launcher, number: signal.Signals) -> None:
    """Some moments of the start, from before circusd runs to after its workers do."""
    script = f"os.chdir(DIRECTORY)\nprint('here', flush=True)\narbiter = {get(launcher)}\narbiter.start()\n"
    for moment in range(8):
        process = launcher.start(script)
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        # The moment is what differs from round to round; nothing depends on how long it takes.
        time.sleep(0.03 * moment)
        process.send_signal(number)
        process.wait(PATIENCE)
        wait_until(lambda: not circusds_of(launcher.directory), "the end of circusd")
        started = [int(path.name.rpartition(".")[2]) for path in launcher.directory.glob("w.*")]
        wait_until(partial(all_gone, started), "the end of the workers")


def test_the_default_action_of_sigterm_ends_a_program_with_an_arbiter_in_the_background(launcher: Launcher) -> None:
    process = launcher.start(f"arbiter = {get(launcher, 'background=True')}\narbiter.start()\ntime.sleep(600)\n")
    pids = [*launcher.pids("w", 2), daemon_of(launcher.endpoints)]
    process.terminate()
    assert process.wait(PATIENCE) == -signal.SIGTERM
    wait_until(lambda: all_gone(pids), "the end of circusd and its workers")


def test_ctrl_c_reaches_a_program_with_an_arbiter_in_the_background(launcher: Launcher) -> None:
    script = (
        f"arbiter = {get(launcher, 'background=True')}\n"
        "arbiter.start()\n"
        "try:\n"
        "    print('here', flush=True)\n"
        "    time.sleep(600)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', arbiter.running)\n"
        "    arbiter.stop()\n"
        "print(arbiter.running)\n"
    )
    process = launcher.start(script)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    pids = launcher.pids("w", 2)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=PATIENCE)[0].splitlines() == ["interrupted True", "False"]
    assert all_gone(pids)


def test_stop_in_a_signal_handler_of_the_programs_own(launcher: Launcher) -> None:
    script = (
        f"arbiter = {get(launcher)}\n"
        "signal.signal(signal.SIGUSR1, lambda *_: arbiter.stop())\n"
        "print(arbiter.start().exception(), signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    )
    process = launcher.start(script)
    launcher.pids("w", 2)
    process.send_signal(signal.SIGUSR1)
    assert process.communicate(timeout=PATIENCE)[0] == "None True\n"


def test_stop_from_several_threads_at_once(launcher: Launcher) -> None:
    script = (
        f"arbiter = {get(launcher, 'background=True')}\n"
        "arbiter.start()\n"
        "threads = [threading.Thread(target=lambda: arbiter.stop().result(30)) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(arbiter.running, arbiter.is_alive())\n"
    )
    assert launcher.run(script).splitlines() == ["False False"]


def test_in_a_thread_that_dies_with_the_program(launcher: Launcher) -> None:
    script = (
        f"thread = threading.Thread(target=lambda: {get(launcher)}.start(), daemon=True)\n"
        "thread.start()\n"
        "while len([n for n in os.listdir(DIRECTORY) if n.startswith('w.')]) < 2: time.sleep(0.02)\n"
    )
    launcher.run(script)
    pids = launcher.pids("w", 2)
    wait_until(lambda: all_gone(pids), "the end of the workers")


def test_stop_at_the_exit_of_the_interpreter(launcher: Launcher) -> None:
    script = (
        "import asyncio, atexit\n"
        "loop = asyncio.new_event_loop()\n"
        f"arbiter = {get(launcher, 'loop=loop')}\n"
        "atexit.register(lambda: print('at exit', arbiter.stop().done()))\n"
        "async def main():\n"
        "    await arbiter.start()\n"
        "    print(arbiter.numprocesses())\n"
        "loop.run_until_complete(main())\n"
    )
    assert launcher.run(script).splitlines() == ["2", "at exit False"]
    pids = launcher.pids("w", 2)
    wait_until(lambda: all_gone(pids), "the end of the workers")


def test_in_an_executor_of_asyncio(launcher: Launcher) -> None:
    script = (
        "import asyncio\n"
        "async def main():\n"
        f"    arbiter = {get(launcher)}\n"
        "    started = threading.Event()\n"
        "    run = asyncio.get_running_loop().run_in_executor(None, arbiter.start, lambda _: started.set())\n"
        "    while not started.is_set(): await asyncio.sleep(0.02)\n"
        "    print(arbiter.numprocesses())\n"
        "    arbiter.stop()\n"
        "    print((await run).exception())\n"
        "asyncio.run(main())\n"
    )
    assert launcher.run(script).splitlines() == ["2", "None"]


def test_with_a_loop_of_tornado_that_is_started_later(launcher: Launcher) -> None:
    pytest.importorskip("tornado")
    script = (
        "from tornado import gen, ioloop\n"
        "loop = ioloop.IOLoop()\n"
        f"arbiter = {get(launcher, 'loop=loop')}\n"
        "@gen.coroutine\n"
        "def started(future):\n"
        "    more = arbiter.add_watcher('more', 'sleep', args=(600,))\n"
        "    yield more.start()\n"
        "    print(sorted(arbiter.statuses().items()), future.exception())\n"
        "    yield arbiter.stop()\n"
        "    loop.stop()\n"
        "arbiter.start().add_done_callback(lambda future: loop.add_callback(started, future))\n"
        "arbiter.start_io_loop()\n"
    )
    assert launcher.run(script).splitlines() == ["[('more', 'active'), ('w', 'active')] None"]


def test_children_and_signals_are_as_they_are_for_any_program(launcher: Launcher) -> None:
    """A program that ignores SIGCHLD and SIGTERM and has signals blocked passes none of that on."""
    script = (
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1])\n"
        f"arbiter = {get(launcher, 'background=True')}\n"
        "arbiter.start()\n"
        "while not (pids := arbiter.get_watcher('w').pids)[1:]: time.sleep(0.02)\n"
        "os.kill(pids[0], signal.SIGTERM)\n"
        "while pids[0] in (now := arbiter.get_watcher('w').pids) or len(now) < 2: time.sleep(0.02)\n"
        "arbiter.stop()\n"
        "print('ended', arbiter.running)\n"
    )
    assert launcher.run(script).splitlines()[-1] == "ended False"


def test_what_clients_change_is_seen_in_the_program(launcher: Launcher) -> None:
    process = launcher.start(
        f"arbiter = {get(launcher, 'background=True')}\n"
        "arbiter.start()\n"
        "watcher = arbiter.get_watcher('w')\n"
        "print(watcher.numprocesses, flush=True)\n"
        "input()\n"
        "print(watcher.numprocesses, len(watcher.processes), len(watcher), arbiter.numwatchers())\n"
        "print(sorted(process.wid for process in watcher.processes.values()))\n"
        "arbiter.stop()\n"
        "print(watcher.numprocesses, watcher.processes)\n",
        stdin=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "2\n"
    with CircusClient(endpoint=launcher.endpoints.control) as client:
        client.send_message("incr", name="w", nb=2, waiting=True)
        client.send_message("add", name="more", cmd="sleep", args=["600"], start=True)
    output, _ = process.communicate("\n", timeout=PATIENCE)
    assert output.splitlines() == ["4 4 4 2", "[1, 2, 3, 4]", "2 {}"]


def test_a_watcher_with_functions_is_added_while_the_arbiter_runs(launcher: Launcher) -> None:
    script = (
        "import queue\n"
        "from circus.stream import QueueStream\n"
        f"arbiter = {get(launcher, 'background=True')}\n"
        "arbiter.start()\n"
        "stream = QueueStream()\n"
        "def before(watcher, **_):\n"
        "    watcher.env['TOLD'] = 'by a hook'\n"
        "more = arbiter.add_watcher('more', 'sh -c \"echo $TOLD $OWN; exec sleep 600\"', env={'OWN': 'x'},\n"
        "    hooks={'before_start': (before, False)}, stdout_stream={'stream': stream}, shell=False)\n"
        "print(more.status())\n"
        "more.start()\n"
        "print(stream.get(timeout=20)['data'], more.status(), arbiter.numwatchers())\n"
        "arbiter.rm_watcher('more')\n"
        "print(arbiter.numwatchers())\n"
        "arbiter.stop()\n"
    )
    assert launcher.run(script).splitlines() == ["stopped", "b'by a hook x\\n' active 2", "1"]
