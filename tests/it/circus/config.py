"""What the original makes of INI files: a line of JSON for each file of the command line.

{"circus": {...}, "watchers": {NAME: options}, "sockets": {NAME: {...}}}, or {"refused": true}.
"""
import json, os, signal, sys, warnings
from circus.config import get_config
from circus.sockets import CircusSocket
from circus.watcher import Watcher

warnings.simplefilter("ignore")
CIRCUS = ["check_delay", "endpoint", "pubsub_endpoint", "warmup_delay", "pidfile", "loglevel", "logoutput", "umask", "debug", "statsd"]


def plain(value):
    """What a reply shows of a value."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items() if key != "__name__"}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, signal.Signals) else value


def understood(path):
    config = get_config(path)
    watchers = {}
    for watcher in config["watchers"]:
        if watcher.get("name") and watcher.get("cmd") is not None:
            watchers[watcher["name"]] = plain(dict(Watcher.load_from_config(dict(watcher)).options()))
    sockets = {}
    for section in config["sockets"]:
        # A host is looked up, and a unix socket bound, only later.
        socket = CircusSocket.load_from_config(dict(section))
        sockets[socket.name] = {
            "host": None if socket.is_unix else section.get("host", "localhost"),
            "port": None if socket.is_unix else int(section.get("port", 8080)),
            "path": socket.path,
            "backlog": socket.backlog,
            "so_reuseport": socket.so_reuseport,
            "replace": socket.replace,
        }
        # Closed by number: socket.close() removes a file, which may be in use.
        os.close(socket.detach())
    return {"circus": {key: config[key] for key in CIRCUS}, "watchers": watchers, "sockets": sockets}


for path in sys.argv[1:]:
    os.chdir(os.path.dirname(path))
    try:
        result = understood(path)
    except Exception:
        result = {"refused": True}
    print(json.dumps(result))
