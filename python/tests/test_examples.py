"""What the examples of the original do, in the shape that they do it."""

from __future__ import annotations

import json
import signal
import socket

from circus.client import CircusClient
from tests.conftest import PATIENCE, Launcher, is_alive, wait_until

FLY = """
import os, signal, sys, time

class Fly:
    def __init__(self, wid):
        self.wid, self.alive = wid, True
        for number in (signal.SIGQUIT, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_quit)

    def handle_quit(self, *args):
        self.alive = False

    def run(self):
        print(f"hello, fly #{self.wid} (pid: {os.getpid()}) is alive", flush=True)
        open(f"fly{self.wid}.{os.getpid()}", "w").close()
        while self.alive:
            time.sleep(0.05)

Fly(sys.argv[1]).run()
"""


def test_programs_by_the_api_in_try_and_finally(launcher: Launcher) -> None:
    (launcher.directory / "dummy_fly.py").write_text(FLY)
    script = (
        "os.chdir(DIRECTORY)\n"
        "myprogram = {'cmd': sys.executable, 'args': '-u dummy_fly.py $(circus.wid)', 'numprocesses': 3}\n"
        "from circus import get_arbiter\n"
        "arbiter = get_arbiter([myprogram], controller=CONTROL, pubsub_endpoint=EVENTS, debug=True)\n"
        "try:\n"
        "    arbiter.start()\n"
        "finally:\n"
        "    arbiter.stop()\n"
    )
    process = launcher.start(script)
    pids = [pid for wid in (1, 2, 3) for pid in launcher.pids(f"fly{wid}")]
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert sorted(line for line in output.splitlines() if line.startswith("hello")) == sorted(
        f"hello, fly #{wid} (pid: {pid}) is alive" for wid, pid in zip((1, 2, 3), pids)
    )
    assert not any(map(is_alive, pids))


def test_many_watchers_are_added_by_a_client(launcher: Launcher) -> None:
    script = "from circus import get_arbiter\nget_arbiter([], controller=CONTROL, pubsub_endpoint=EVENTS).start()\n"
    process = launcher.start(script)
    with CircusClient(endpoint=launcher.endpoints.control, timeout=PATIENCE) as client:
        for number in range(10):
            answer = client.call(
                {
                    "command": "add",
                    "properties": {
                        "cmd": f"sh -c 'echo {number}; exec sleep 600'",
                        "name": f"dummy{number}",
                        "options": {
                            "copy_env": True,
                            "stdout_stream": {
                                "class": "FileStream",
                                "filename": str(launcher.directory / f"{number}.log"),
                            },
                            "stderr_stream": {"class": "FileStream", "filename": str(launcher.directory / "err.log")},
                        },
                        "start": True,
                    },
                }
            )
            assert answer["status"] == "ok", answer
        assert client.send_message("numwatchers")["numwatchers"] == 10
    for number in range(10):
        log = launcher.directory / f"{number}.log"
        wait_until(lambda log=log: log.exists() and log.read_text(), "the output")  # type: ignore[misc]
        assert log.read_text() == f"{number}\n"
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_a_server_on_a_descriptor_of_circus(launcher: Launcher) -> None:
    (launcher.directory / "server.py").write_text(
        "import os, socket, sys\n"
        "sock = socket.fromfd(int(sys.argv[1]), socket.AF_INET, socket.SOCK_STREAM)\n"
        "sock.setblocking(1)\n"
        "while True:\n"
        "    conn, addr = sock.accept()\n"
        "    conn.sendall(b'Hello Circus by %d' % os.getpid())\n"
        "    conn.close()\n"
    )
    script = (
        "from circus import get_arbiter\n"
        "from circus.sockets import CircusSocket\n"
        "sock = CircusSocket('foo', host='localhost', port=0)\n"
        "arbiter = get_arbiter([{'cmd': sys.executable, 'args': [DIRECTORY + '/server.py', '$(circus.sockets.foo)'],\n"
        "    'use_sockets': True, 'numprocesses': 3}], sockets=[sock], controller=CONTROL, pubsub_endpoint=EVENTS)\n"
        "arbiter.start(lambda _: print(sock.host, sock.port, flush=True))\n"
    )
    process = launcher.start(script)
    assert process.stdout is not None
    host, port = process.stdout.readline().split()
    assert host == "127.0.0.1"
    with CircusClient(endpoint=launcher.endpoints.control) as client:
        pids = client.send_message("list", name=client.send_message("list")["watchers"][0])["pids"]
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        said = connection.makefile().read()
    assert said in [f"Hello Circus by {pid}" for pid in pids]
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_a_plugin_of_the_originals_own(launcher: Launcher) -> None:
    """The watchdog: workers say over UDP that they live, and one that has fallen silent is ended."""
    (launcher.directory / "silent.py").write_text(
        "import os, socket, sys, time\n"
        "open(f'{os.path.dirname(__file__)}/w.{os.getpid()}', 'w').close()\n"
        "sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "sock.sendto(f'{os.getpid()};{time.time()}'.encode(), ('127.0.0.1', int(sys.argv[1])))\n"
        "time.sleep(600)\n"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    plugin = {
        "use": "circus.plugins.watchdog.WatchDog",
        "loop_rate": 0.2,
        "watchers_regex": "^w$",
        "ip": "127.0.0.1",
        "port": port,
        "max_count": 1,
    }
    script = (
        "from circus import get_arbiter\n"
        f"plugin = {json.dumps(plugin)}\n"
        f"get_arbiter([dict(name='w', cmd=sys.executable, args=[DIRECTORY + '/silent.py', '{port}'])],\n"
        "    plugins=[plugin], controller=CONTROL, pubsub_endpoint=EVENTS).start()\n"
    )
    process = launcher.start(script)
    first = launcher.pids("w")
    launcher.pids("w", 2)
    wait_until(lambda: not is_alive(first[0]), "the end of the silent one")
    process.terminate()
    assert process.wait(PATIENCE) == 0
