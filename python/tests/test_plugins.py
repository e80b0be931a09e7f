"""Plugins and hooks that are Python, under the real circusd: the bridges, and the base class."""

from __future__ import annotations

import os
import signal

import pytest

from circus.client import CircusClient
from circus.plugins import CircusPlugin, get_plugin_cmd
from tests.conftest import PATIENCE, Launcher, is_alive, wait_until, worker

PLUGIN = """
import json, os, threading, time
from circus.plugins import CircusPlugin

class Mine(CircusPlugin):
    name = "mine"

    def handle_init(self):
        open(self.config["directory"] + f"/plugin.{os.getpid()}", "w").close()
        self.thread = threading.Thread(target=self.ask)
        self.thread.start()

    def ask(self):
        found = sorted(self.call("list")["watchers"])
        with open(self.config["directory"] + "/asked", "w") as file:
            json.dump([found, self.config, os.getcwd()], file)

    def handle_recv(self, data):
        watcher, event, message = self.split_data(data)
        with open(self.config["directory"] + "/events", "a") as file:
            file.write(f"{watcher} {event} {sorted(self.load_message(message))}\\n")

    def handle_stop(self):
        open(self.config["directory"] + "/stopped", "w").close()
        if self.config.get("hangs"):
            time.sleep(600)
"""


def start(launcher: Launcher, more: str = "") -> str:
    (launcher.directory / "my_plugin.py").write_text(PLUGIN)
    plugin = f"dict(use='my_plugin.Mine', directory=DIRECTORY, working_dir=DIRECTORY, number=3, text='a:b ; c', {more})"
    return (
        "from circus import get_arbiter\n"
        f"arbiter = get_arbiter([dict(name='dotted.name', cmd={worker(launcher, 'w')!r}, copy_env=True)],\n"
        f"    controller=CONTROL, pubsub_endpoint=EVENTS, plugins=[{plugin}])\n"
        "arbiter.start()\n"
    )


def test_a_plugin_class_of_the_programs_own(launcher: Launcher) -> None:
    import json

    process = launcher.start(start(launcher))
    pids = launcher.pids("w") + launcher.pids("plugin")
    asked = launcher.directory / "asked"
    wait_until(lambda: asked.exists() and asked.read_text().endswith("]"), "what the plugin has asked")
    watchers, config, cwd = json.loads(asked.read_text())
    assert watchers == ["dotted.name", "plugin:my_plugin.mine"]
    assert {key: config[key] for key in ("number", "text", "name")} == {
        "number": "3",
        "text": "a:b ; c",
        "name": "plugin:my_plugin.Mine",
    }
    assert cwd == str(launcher.directory)
    os.kill(pids[0], signal.SIGKILL)
    events = launcher.directory / "events"
    wait_until(
        lambda: events.exists() and "dotted.name reap ['exit_code', 'process_pid', 'time']" in events.read_text()
    )
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert (launcher.directory / "stopped").exists()
    assert not any(map(is_alive, pids))


def test_a_plugin_that_hangs_at_its_end_is_cut_off(launcher: Launcher) -> None:
    process = launcher.start(start(launcher, more="hangs=1, graceful_timeout=600"))
    pids = launcher.pids("plugin")
    process.terminate()
    assert process.wait(PATIENCE) == 0, "well before graceful_timeout and the sleep"
    assert not any(map(is_alive, pids))


def test_a_restart_of_everything_by_a_plugin_restarts_the_plugin_too(launcher: Launcher) -> None:
    process = launcher.start(start(launcher))
    first = launcher.pids("w") + launcher.pids("plugin")
    with CircusClient(endpoint=launcher.endpoints.control) as client:
        client.send_message("restart", name="*")
    launcher.pids("w", 2)
    launcher.pids("plugin", 2)
    wait_until(lambda: not any(map(is_alive, first)), "the end of the first")
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_the_command_line_of_a_plugin_runs_it() -> None:
    command = get_plugin_cmd({"use": "circus.plugins.CircusPlugin", "a": "it's"}, "ipc:///c", "ipc:///p", 5.0, None)
    assert command.endswith(
        "--endpoint ipc:///c --pubsub ipc:///p --check-delay 5.0 --config 'a:it'\"'\"'s' circus.plugins.CircusPlugin"
    )


def test_an_inactive_plugin_does_not_start() -> None:
    plugin = CircusPlugin("ipc:///c", "ipc:///p", 5.0, active="no")
    with pytest.raises(ValueError, match="inactive"):
        plugin.start()
    plugin.loop.close()


def test_a_named_hook_runs_in_the_bridge_when_circusd_reads_a_file(launcher: Launcher) -> None:
    (launcher.directory / "my_hooks.py").write_text(
        "import os\n"
        "def before(watcher, arbiter, hook_name, **kwargs):\n"
        "    open(os.path.dirname(__file__) + '/hook.' + str(os.getpid()), 'w').close()\n"
        "    watcher.env['SET'] = 'by the hook'\n"
    )
    show = launcher.directory / "shown"
    ini = launcher.directory / "circus.ini"
    ini.write_text(
        f"[circus]\nendpoint = {launcher.endpoints.control}\npubsub_endpoint = {launcher.endpoints.events}\n"
        f"[watcher:w]\ncmd = sh -c 'echo $SET > {show}; exec sleep 600'\ncopy_env = yes\n"
        f"hooks.before_start = my_hooks.before\n[env:w]\nPYTHONPATH = {launcher.directory}\n"
    )
    process = launcher.start(f"from circus.arbiter import Arbiter\nArbiter.load_from_config({str(ini)!r}).start()\n")
    assert launcher.pids("hook") != [process.pid]
    wait_until(lambda: show.exists() and show.read_text() == "by the hook\n", "the variable that the hook has set")
    process.terminate()
    assert process.wait(PATIENCE) == 0
