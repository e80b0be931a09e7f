"""A program of yours that brings its own circusd: look at start(), which returns an ordinary CircusClient.
Run it as `python3 examples/embed.py` after `cargo build --release`, with circus==0.19.0 from PyPI for the client."""
import os, subprocess, tempfile
from circus.client import CircusClient

HERE = os.path.dirname(os.path.abspath(__file__))
CIRCUSD = os.environ.get("CIRCUSD", os.path.join(HERE, "..", "target", "release", "circusd"))


def start(watchers, timeout=10):
    """Starts circusd with {name: {option: value}} and returns it with a client that is connected to it."""
    folder = tempfile.mkdtemp(prefix="circus-")
    endpoint = f"ipc://{folder}/control"
    lines = ["[circus]", f"endpoint = {endpoint}", f"pubsub_endpoint = ipc://{folder}/events"]
    for name, options in watchers.items():
        lines += [f"[watcher:{name}]"] + [f"{key} = {value}" for key, value in options.items()]
    with open(f"{folder}/circus.ini", "w") as ini:
        ini.write("\n".join(lines) + "\n")
    daemon = subprocess.Popen([CIRCUSD, "--log-level", "warning", f"{folder}/circus.ini"])
    return daemon, CircusClient(endpoint=endpoint, timeout=timeout)


if __name__ == "__main__":
    daemon, client = start({"sleeper": {"cmd": "/bin/sleep 60", "numprocesses": 3}})
    # The first request waits until circusd is there: a ZeroMQ client connects by itself.
    print(client.send_message("start", name="sleeper", waiting=True))
    print(client.send_message("list", name="sleeper")["pids"])
    print(client.send_message("incr", name="sleeper", nb=2, waiting=True)["numprocesses"])
    client.send_message("quit", waiting=True)
    print("circusd ended with", daemon.wait())
