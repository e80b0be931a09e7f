"""Programs that start an arbiter, in the shapes that there are, each in a process of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from circus.client import CircusClient
from circus.pidfile import Pidfile
from tests.conftest import PATIENCE, Launcher, is_alive, wait_until, worker

GET = (
    "from circus import get_arbiter\n"
    "arbiter = get_arbiter([{watcher}], controller=CONTROL, pubsub_endpoint=EVENTS, {more})\n"
)


def arbiter(launcher: Launcher, count: int = 2, more: str = "", options: str = "") -> str:
    command = worker(launcher, "w")
    watcher = f"dict(name='w', cmd={command!r}, numprocesses={count}, copy_env=True, {options})"
    return GET.format(watcher=watcher, more=more)


def all_gone(pids: list[int]) -> bool:
    return not any(map(is_alive, pids))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_in_a_process_of_its_own_until_a_signal(launcher: Launcher, number: signal.Signals) -> None:
    script = (
        "signal.signal(signal.SIGTERM, mine := lambda *_: None)\n"
        + arbiter(launcher)
        + "future = arbiter.start(lambda started: print('started', started.exception()))\n"
        "print(future.exception(), future.result(), arbiter.running, signal.getsignal(signal.SIGTERM) is mine)\n"
        "arbiter.stop()\n"
    )
    process = launcher.start(script)
    pids = launcher.pids("w", 2)
    process.send_signal(number)
    output, _ = process.communicate(timeout=PATIENCE)
    assert output.splitlines() == ["started None", "None False False True"], output
    assert process.returncode == 0
    assert all_gone(pids)


@pytest.mark.parametrize("how", ["signal", "stop", "background", "killed"])
def test_workers_have_their_time_to_end(launcher: Launcher, how: str) -> None:
    slow = launcher.directory / "slow.sh"
    slow.write_text(
        f"trap 'sleep 0.5; : > {launcher.directory}/ended.$$; exit 0' TERM\n: > {launcher.directory}/w.$$\n"
        "while :; do sleep 0.05; done\n"
    )
    more = "background=True" if how == "background" else ""
    script = GET.format(watcher=f"dict(name='w', cmd='sh {slow}', copy_env=True)", more=more)
    end = "while not [n for n in os.listdir(DIRECTORY) if n.startswith('w.')]: time.sleep(0.02)\narbiter.stop()\n"
    if how == "stop":
        body = "".join(f"    {line}\n" for line in end.splitlines())
        script += f"def work():\n{body}threading.Thread(target=work).start()\narbiter.start()\n"
    else:
        script += "arbiter.start()\n" + (end if how == "background" else "")
    process = launcher.start(script)
    pids = launcher.pids("w")
    if how == "signal":
        process.terminate()
    if how == "killed":
        process.kill()
    process.wait(PATIENCE)
    assert launcher.pids("ended") == pids


def test_until_a_client_says_quit(launcher: Launcher) -> None:
    process = launcher.start(arbiter(launcher) + "print(arbiter.start().exception())\n")
    pids = launcher.pids("w", 2)
    with CircusClient(endpoint=launcher.endpoints.control) as client:
        assert client.send_message("numprocesses", name="w")["numprocesses"] == 2
        assert client.send_message("quit", waiting=True)["status"] == "ok"
    assert process.communicate(timeout=PATIENCE)[0] == "None\n"
    assert all_gone(pids)


def test_a_hangup_reloads(launcher: Launcher) -> None:
    process = launcher.start(arbiter(launcher, 1) + "arbiter.start()\n")
    first = launcher.pids("w", 1)
    process.send_signal(signal.SIGHUP)
    launcher.pids("w", 2)
    wait_until(lambda: all_gone(first), "the end of the old worker")
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_in_a_thread_with_a_new_event_loop(launcher: Launcher) -> None:
    script = (
        "import asyncio\n"
        "def work():\n"
        "    global arbiter\n"
        "    asyncio.set_event_loop(asyncio.new_event_loop())\n    "
        + arbiter(launcher, more="background=False").replace("\n", "\n    ")
        + "print('ended', arbiter.start(lambda _: started.set()).exception())\n"
        "started = threading.Event()\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "started.wait()\n"
        "print(arbiter.statuses(), len(arbiter.get_watcher('W').pids), arbiter.running)\n"
        "arbiter.stop().result()\n"
        "thread.join()\n"
    )
    assert launcher.run(script).splitlines() == ["{'w': 'active'} 2 True", "ended None"]


def test_in_the_background(launcher: Launcher) -> None:
    script = arbiter(launcher, more="background=True") + (
        "arbiter.start()\n"
        "print(arbiter.running, arbiter.call('numwatchers')['numwatchers'])\n"
        "arbiter.stop()\n"
        "print(arbiter.running, arbiter.is_alive())\n"
    )
    assert launcher.run(script).splitlines() == ["True 1", "False False"]


def test_a_program_whose_last_line_starts_the_background_runs_on_and_leaves_nothing(launcher: Launcher) -> None:
    process = launcher.start(arbiter(launcher, more="background=True") + "arbiter.start()\n")
    pids = launcher.pids("w", 2)
    assert process.poll() is None
    process.kill()
    wait_until(lambda: all_gone(pids), "the end of the workers")


def test_with_a_loop_of_asyncio_that_runs(launcher: Launcher) -> None:
    script = (
        "import asyncio\n"
        "async def main():\n    "
        + arbiter(launcher, more="loop=asyncio.get_running_loop()").replace("\n", "\n    ")
        + "print(await arbiter.start())\n"
        "    more = arbiter.add_watcher('more', 'sleep 600', numprocesses=2)\n"
        "    await more.start()\n"
        "    print(sorted(arbiter.statuses()), len(more), arbiter.numprocesses())\n"
        "    await more.set_numprocesses(1)\n"
        "    await arbiter.rm_watcher('more')\n"
        "    print(arbiter.numwatchers())\n"
        "    await arbiter.stop()\n"
        "    print('goes on')\n"
        "asyncio.run(main())\n"
    )
    assert launcher.run(script).splitlines() == ["False", "['more', 'w'] 2 4", "1", "goes on"]


def test_with_a_loop_of_tornado(launcher: Launcher) -> None:
    pytest.importorskip("tornado")
    script = (
        "from tornado import gen, ioloop\n"
        "loop = ioloop.IOLoop()\n" + arbiter(launcher, more="loop=loop") + "@gen.coroutine\n"
        "def main():\n"
        "    yield arbiter.start()\n"
        "    yield arbiter.get_watcher('w').incr()\n"
        "    print(arbiter.numprocesses())\n"
        "    yield arbiter.stop()\n"
        "loop.run_sync(main)\n"
    )
    assert launcher.run(script).splitlines() == ["3"]


def test_a_running_loop_is_not_blocked_in_silence(launcher: Launcher) -> None:
    script = (
        "import asyncio\n"
        "async def main():\n    " + arbiter(launcher).replace("\n", "\n    ") + "print(arbiter.start().exception())\n"
        "asyncio.run(main())\n"
    )
    assert "give the arbiter the loop (loop=), or have it run in a thread" in launcher.run(script)


def test_in_a_process_that_is_daemonized_circusd_takes_its_place(launcher: Launcher) -> None:
    pidfile = launcher.directory / "pid"
    script = (
        "from circus.circusd import daemonize\n"
        "from circus.pidfile import Pidfile\n"
        "daemonize()\n"
        + arbiter(
            launcher,
            more=f"pidfile={str(pidfile)!r}, logoutput=DIRECTORY + '/log', loglevel='info', statsd=True, "
            f"stats_endpoint={launcher.endpoints.stats!r}",
        )
        + "Pidfile(arbiter.pidfile).create(os.getpid())\n"
        "arbiter.start()\n"
    )
    process = launcher.start(script)
    pids = launcher.pids("w", 2)
    assert process.wait(PATIENCE) == 0
    daemon = int(pidfile.read_text())
    words = Path(f"/proc/{daemon}/cmdline").read_bytes().split(b"\0")
    assert words[0] == b"circusd"
    with CircusClient(endpoint=launcher.endpoints.control) as client:
        assert client.send_message("dstats")["info"]["pid"] == daemon
        assert "circusd-stats" in client.send_message("list")["watchers"]
        client.send_message("quit")
    wait_until(lambda: not pidfile.exists(), "the end of the pidfile")
    wait_until(lambda: all_gone([daemon, *pids]), "the end of the daemon")
    assert f"Starting master on pid {daemon}" in (launcher.directory / "log").read_text()


def test_in_a_process_that_is_daemonized_it_can_stay_a_child(launcher: Launcher) -> None:
    script = (
        "from circus.circusd import daemonize\n"
        "daemonize()\n" + arbiter(launcher, 1) + "arbiter.start()\n"
        "open(DIRECTORY + '/after', 'w').close()\n"
    )
    launcher.start(script, CIRCUS_EMBED="child")
    launcher.pids("w")
    with CircusClient(endpoint=launcher.endpoints.control) as client:
        client.send_message("quit")
    wait_until((launcher.directory / "after").exists, "the code behind start()")


def test_when_the_program_is_killed_nothing_is_left(launcher: Launcher) -> None:
    process = launcher.start(arbiter(launcher) + "arbiter.start()\n")
    pids = launcher.pids("w", 2)
    with CircusClient(endpoint=launcher.endpoints.control) as client:
        daemon = client.send_message("dstats")["info"]["pid"]
    assert daemon != process.pid
    process.kill()
    wait_until(lambda: all_gone([daemon, *pids]), "the end of circusd and its workers")


def test_when_circusd_is_killed_start_raises_and_nothing_is_left(launcher: Launcher) -> None:
    process = launcher.start(arbiter(launcher) + "print(arbiter.start().exception())\n")
    pids = launcher.pids("w", 2)
    with CircusClient(endpoint=launcher.endpoints.control) as client:
        os.kill(client.send_message("dstats")["info"]["pid"], signal.SIGKILL)
    assert process.communicate(timeout=PATIENCE)[0] == "circusd was ended by SIGKILL\n"
    wait_until(lambda: all_gone(pids), "the end of the workers")


def test_why_circusd_does_not_start_is_raised(launcher: Launcher) -> None:
    script = GET.format(watcher="dict(cmd='sleep 9', uid='no one at all', max_retry=1)", more="umask=0o1000")
    script += "print(repr(arbiter.start().exception()))\n"
    assert "umask: 1000 is out of range" in launcher.run(script)


def test_the_background_raises_why_it_does_not_start(launcher: Launcher) -> None:
    script = GET.format(watcher="dict(cmd='sleep 9')", more="background=True, umask=0o1000")
    script += "try:\n    arbiter.start()\nexcept RuntimeError as error:\n    print('raised', error)\n"
    assert "raised descriptor" in launcher.run(script)


def test_arguments_and_variables_are_what_they_are(launcher: Launcher) -> None:
    text = " two\nlines; 50% $HOME ((circus)) \t"
    show = launcher.directory / "show.py"
    show.write_text("import json, os, sys\nprint(json.dumps([sys.argv[1:], dict(os.environ)]), flush=True)\n")
    script = f"""
import json, queue
from circus.arbiter import Arbiter
from circus.stream import QueueStream
from circus.watcher import Watcher
text, stream = {text!r}, QueueStream()
os.environ["LEAVES"] = "here"
watcher = Watcher("Show it", sys.executable, ["{show}", text, ""], copy_env=True, env={{"TEXT": text}},
                  stdout_stream={{"stream": stream}}, respawn=False, working_dir=DIRECTORY)
watcher.env["LATER"] = "yes"
del watcher.env["LEAVES"]
arbiter = Arbiter([watcher], CONTROL, EVENTS)
def started(_):
    data = stream.get(timeout=20)
    args, env = json.loads(data["data"])
    print(args == [text, ""], env["TEXT"] == text, env["LATER"], "LEAVES" in env, data["name"], data["pid"] > 1)
    arbiter.stop()
arbiter.start(started)
"""
    assert launcher.run(script).splitlines() == ["True True yes False stdout True"]


def test_hooks_are_functions_of_the_program(launcher: Launcher) -> None:
    (launcher.directory / "named.py").write_text(
        "def hook(watcher, arbiter, hook_name, **kwargs):\n    print(hook_name)\n"
    )
    script = (
        "seen = []\n"
        "def before(watcher, arbiter, hook_name, **kwargs):\n"
        "    seen.append((hook_name, watcher.name, arbiter is globals()['arbiter'], os.getpid()))\n"
        "    return True\n"
        "def after(watcher, arbiter, hook_name, pid, **kwargs):\n"
        "    seen.append((hook_name, pid > 1))\n"
        "def stats(watcher, arbiter, hook_name, pid, stats, **kwargs):\n"
        "    stats['extra'] = 7\n"
        "failed = threading.Event()\n"
        "def fails(**kwargs):\n"
        "    failed.set()\n"
        "    raise ValueError('on purpose')\n"
        + arbiter(
            launcher,
            1,
            options="hooks=dict(before_start=(before, False), after_spawn=(after, False), after_start=(fails, True), "
            "extended_stats=(stats, False), before_stop=('named.hook', False))",
        )
        + "def started(_):\n"
        "    def look():\n"
        "        failed.wait(30)\n"
        "        watcher = arbiter.get_watcher('w')\n"
        "        print([info['extra'] for info in watcher.info(extended=True).values()])\n"
        "        arbiter.stop()\n"
        "    threading.Thread(target=look).start()\n"
        "arbiter.start(started)\n"
        "print(seen[0] == ('before_start', 'w', True, os.getpid()), seen[1:])\n"
    )
    output = launcher.run(script)
    # The log says between them what became of the hook that fails.
    printed = ["[7]", "before_stop", "True [('after_spawn', True)]"]
    assert [line for line in output.splitlines() if line in printed] == printed
    assert "on purpose" in output


def test_a_hook_that_says_no_stops_the_start(launcher: Launcher) -> None:
    script = arbiter(launcher, 1, options="hooks=dict(before_start=(lambda **_: False, False))") + (
        "def started(_):\n    print(arbiter.statuses())\n    arbiter.stop()\narbiter.start(started)\n"
    )
    assert "{'w': 'stopped'}" in launcher.run(script).splitlines()


def test_what_circusd_logs_reaches_the_logger_of_the_program(launcher: Launcher) -> None:
    script = (
        "import logging\n"
        "logging.basicConfig(level=logging.INFO, stream=sys.stdout, format='%(name)s %(levelname)s %(message)s')\n"
        + GET.format(watcher="dict(name='bad', cmd='/no/such/program', max_retry=1)", more="")
        + "arbiter.start(lambda _: arbiter.stop())\n"
    )
    output = launcher.run(script)
    assert "circus INFO Arbiter now waiting for commands" in output
    assert "circus WARNING error in 'bad': " in output


def test_an_essential_watcher_ends_the_arbiter(launcher: Launcher) -> None:
    watcher = "dict(name='main', cmd='sh -c \"exit 3\"', respawn=False, essential=True)"
    side = f"dict(name='w', cmd={worker(launcher, 'w')!r}, copy_env=True)"
    script = GET.format(watcher=f"{side}, {watcher}", more="exit_on='failure'")
    script += "print(repr(arbiter.start().exception()))\n"
    assert launcher.run(script).splitlines()[-1] == "RuntimeError('No active process found for watcher.')"
    assert all_gone(launcher.pids("w"))


def test_sockets_are_opened_by_circusd_and_their_ports_are_learned(launcher: Launcher) -> None:
    script = '''
import socket
from circus.arbiter import Arbiter
from circus.sockets import CircusSocket
from circus.watcher import Watcher
web = CircusSocket(name="_My_Web", host="127.0.0.1", port=0, backlog=5)
unix = CircusSocket(name="unix", path=DIRECTORY + "/u")
serve = """
import socket, sys, time
listening = socket.socket(fileno=int(sys.argv[1]))
listening.setblocking(True)
listening.accept()[0].sendall(sys.argv[2].encode())
time.sleep(600)
"""
words = ["-c", serve, "$(circus.sockets._My_Web)", "wid $(CIRCUS.WID)"]
watcher = Watcher("w", sys.executable, words, copy_env=True, use_sockets=True)
arbiter = Arbiter([watcher], CONTROL, EVENTS, sockets=[web, unix])
def started(_):
    with socket.create_connection(("127.0.0.1", web.port)) as s:
        print(s.makefile().read(), os.path.exists(DIRECTORY + "/u"), arbiter.get_socket("unix") is unix)
    arbiter.stop()
arbiter.start(started)
print(os.path.exists(DIRECTORY + "/u"))
'''
    assert launcher.run(script).splitlines() == ["wid 1 True True", "False"]


def test_stop_of_a_subclass_is_called_once(launcher: Launcher) -> None:
    script = (
        "from circus.arbiter import Arbiter\n"
        "class Mine(Arbiter):\n"
        "    def stop(self):\n"
        "        print('stop')\n"
        "        return super().stop()\n" + arbiter(launcher, 1) + "arbiter.__class__ = Mine\n"
        "arbiter.start()\n"
        "print('after')\n"
    )
    process = launcher.start(script)
    launcher.pids("w")
    with CircusClient(endpoint=launcher.endpoints.control) as client:
        client.send_message("quit")
    assert process.communicate(timeout=PATIENCE)[0] == "stop\nafter\n"


def test_a_configuration_file(launcher: Launcher) -> None:
    ini = launcher.directory / "circus.ini"
    ini.write_text(
        f"[circus]\nendpoint = {launcher.endpoints.control}\npubsub_endpoint = {launcher.endpoints.events}\n"
        f"[watcher:w]\ncmd = {worker(launcher, 'w')}\ncopy_env = yes\n"
    )
    script = (
        "from circus.arbiter import Arbiter\n"
        f"arbiter = Arbiter.load_from_config({str(ini)!r})\n"
        "def started(_):\n"
        "    print(arbiter.endpoint == CONTROL, arbiter.numprocesses())\n"
        "    print([(watcher.name, watcher.numprocesses) for watcher in arbiter.iter_watchers()])\n"
        "    arbiter.reload_from_config()\n"
        "    arbiter.stop()\n"
        "arbiter.start(started)\n"
    )
    assert "True 1\n[('w', 1)]\n" in launcher.run(script)


def test_the_pidfile_is_the_programs_own(launcher: Launcher) -> None:
    path = launcher.directory / "pid"
    script = (
        "from circus.pidfile import Pidfile\n"
        + arbiter(launcher, 1, more=f"pidfile={str(path)!r}")
        + "Pidfile(arbiter.pidfile).create(os.getpid())\narbiter.start()\n"
    )
    process = launcher.start(script)
    launcher.pids("w")
    assert Pidfile(str(path)).validate() == process.pid
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_a_hook_that_cannot_be_loaded_is_an_error_of_the_program(launcher: Launcher) -> None:
    script = "from circus.watcher import Watcher\nWatcher('w', 'x', hooks={'before_start': ('no.such.hook', False)})\n"
    process = launcher.start(script)
    assert "ModuleNotFoundError: No module named 'no'" in process.communicate(timeout=PATIENCE)[0]


def test_what_a_hook_sets_is_what_the_workers_get(launcher: Launcher) -> None:
    """As in the original's examples: a hook in a module that sets a variable, and hooks that look at processes."""
    (launcher.directory / "lib").mkdir()
    (launcher.directory / "lib/demo.py").write_text(
        "def set_var(watcher, arbiter, hook_name):\n"
        "    watcher.env['myvar'] = str(int(watcher.env.get('myvar', 0)) + 1)\n"
        "    watcher.env.pop('OTHER', None)\n"
        "    watcher.args = 'show.sh two words'\n"
        "    return True\n"
    )
    script = (
        "import queue\n"
        "from circus.stream import QueueStream\n"
        "seen, stream = queue.Queue(), QueueStream()\n"
        "def children_started(watcher, arbiter, hook_name, pid, **kwargs):\n"
        "    process = watcher.processes[pid]\n"
        "    seen.put((process.wid, process.is_alive(), process.started > 0, watcher.numprocesses))\n"
        + GET.format(
            watcher="dict(name='w', cmd='sh', args=['show.sh'], working_dir=DIRECTORY, numprocesses=2, copy_env=True,"
            "env=dict(OTHER='x', PYTHONPATH=DIRECTORY + '/lib'), stdout_stream=stream,"
            "hooks=dict(before_start=('demo.set_var', False), after_spawn=(children_started, False)))",
            more="background=True",
        )
        + "arbiter.start()\n"
        "print(sorted([seen.get(timeout=20), seen.get(timeout=20)]))\n"
        "print(stream.get(timeout=20)['data'])\n"
        "while arbiter.statuses() != {'w': 'active'}: time.sleep(0.02)\n"
        "arbiter.get_watcher('w').restart()\n"
        "print(sorted([seen.get(timeout=20), seen.get(timeout=20)]))\n"
        "print(sorted({stream.get(timeout=20)['data'] for _ in range(3)}))\n"
        "arbiter.stop()\n"
    )
    (launcher.directory / "show.sh").write_text('echo "$myvar $OTHER. $2"\nexec sleep 600\n')
    # The log says between them of which worker the hook had not answered when the watcher stopped.
    assert [line for line in launcher.run(script).splitlines() if line[0] in "[b"] == [
        "[(1, True, True, 2), (2, True, True, 2)]",
        "b'1 . words\\n'",
        "[(1, True, True, 2), (2, True, True, 2)]",
        "[b'1 . words\\n', b'2 . words\\n']",
    ]


@pytest.mark.parametrize(("hook", "count"), [("after_start", 1), ("after_spawn", 2)])
def test_the_callback_comes_when_the_hooks_of_the_start_have_answered(
    launcher: Launcher, hook: str, count: int
) -> None:
    """The hook of the start is asked once, that of the spawn accepts each new process."""
    script = (
        "answered = []\n"
        "def after(**_):\n"
        "    while not os.path.exists(DIRECTORY + '/go'): time.sleep(0.02)\n"
        "    answered.append(1)\n"
        + arbiter(launcher, count, options=f"hooks=dict({hook}=(after, False))")
        + "def started(_):\n"
        "    print(answered, arbiter.statuses())\n"
        "    arbiter.stop()\n"
        "arbiter.start(started)\n"
    )
    process = launcher.start(script)
    launcher.pids("w")
    with CircusClient(endpoint=launcher.endpoints.control) as client:
        wait_until(lambda: client.send_message("status", name="w")["status"] == "starting", "the hook")
    (launcher.directory / "go").touch()
    assert process.communicate(timeout=PATIENCE)[0] == f"{[1] * count} {{'w': 'active'}}\n"


def test_output_reaches_a_stream_of_the_program_byte_for_byte(launcher: Launcher) -> None:
    """A prompt without an end of line comes at once, and nothing is added when the worker ends."""
    (launcher.directory / "talk.sh").write_text(
        "printf 'name? '; read -r line < go; printf 'end\\n\\0@ [1] | x\\nno end'\n"
    )
    os.mkfifo(launcher.directory / "go")
    script = (
        "from circus.stream import FileStream, QueueStream\n"
        "class Marked(FileStream):\n"
        "    def __call__(self, data):\n"
        "        super().__call__({**data, 'data': b'<' + data['data'] + b'>'})\n"
        "stream = QueueStream()\n"
        + GET.format(
            watcher="dict(cmd='sh talk.sh', working_dir=DIRECTORY, respawn=False, stdout_stream=stream), "
            "dict(cmd='echo one', respawn=False, stdout_stream=dict(stream=Marked(DIRECTORY + '/marked')))",
            more="background=True",
        )
        + "arbiter.start()\n"
        "print(stream.get(timeout=20)['data'])\n"
        "open(DIRECTORY + '/go', 'w').close()\n"
        "text = b''\n"
        "while not text.endswith(b'no end'): text += stream.get(timeout=20)['data']\n"
        "print(text)\n"
        "while not os.path.exists(DIRECTORY + '/marked'): time.sleep(0.02)\n"
        "arbiter.stop()\n"
        "print(open(DIRECTORY + '/marked').read() == '<one\\n>', stream.empty())\n"
    )
    assert launcher.run(script).splitlines() == ["b'name? '", "b'end\\n\\x00@ [1] | x\\nno end'", "True True"]


def test_why_the_arbiter_has_ended_is_logged_where_it_is_not_asked_for(launcher: Launcher) -> None:
    assert "umask: 1000 is out of range" in launcher.run(
        GET.format(watcher="dict(cmd='sleep 9')", more="umask=0o1000") + "arbiter.start()\n"
    )


def test_a_stop_in_the_moment_of_the_start_is_not_lost(launcher: Launcher) -> None:
    script = (
        "import circus.arbiter\n"
        "real = circus.arbiter.Child\n"
        "def child(*args):\n"
        "    made = real(*args)\n"
        "    arbiter.stop()\n"
        "    return made\n"
        "circus.arbiter.Child = child\n" + arbiter(launcher) + "print(arbiter.start().exception())\n"
    )
    assert launcher.run(script) == "None\n"
