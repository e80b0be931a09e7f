"""Prints the public names of an installed circus, as JSON: run by the Python that has the original."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil

import circus

CLASSES = (
    "arbiter.Arbiter arbiter.ThreadedArbiter watcher.Watcher sockets.CircusSocket sockets.CircusSockets "
    "client.CircusClient client.AsyncCircusClient consumer.CircusConsumer stats.client.StatsClient pidfile.Pidfile "
    "plugins.CircusPlugin"
).split()


def names(module: str) -> list[str] | None:
    try:
        loaded = importlib.import_module(module)
    except Exception:
        # It needs gevent or redis.
        return None
    own = {
        name
        for name, value in vars(loaded).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and getattr(value, "__module__", module) in (module, None)
    }
    for short in CLASSES:
        owner, _, klass = short.rpartition(".")
        if f"circus.{owner}" == module:
            members = vars(getattr(loaded, klass))
            own |= {f"{klass}.{name}" for name in members if not name.startswith("_")}
    return sorted(own)


modules = ["circus", *(m.name for m in pkgutil.walk_packages(circus.__path__, "circus.", onerror=lambda _: None))]
print(json.dumps({module: names(module) for module in modules if not module.startswith("circus.tests")}))
