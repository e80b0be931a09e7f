"""The commands of circusd, by the names of their classes in Circus 0.19.

They make messages for ``CircusClient.call``; circusd has the commands themselves. See ``circusctl help``.
"""

from __future__ import annotations

import sys
from types import ModuleType

from circus import _refused
from circus.commands.base import KNOWN_COMMANDS, Command, get_commands

__all__ = ["Command", "get_commands"]

# Class, command, words of its command line, how many are required, required properties.
_TABLE: tuple[tuple[str, str, str, int, str], ...] = (
    ("AddWatcher", "add", "name cmd", 2, "name cmd"),
    ("DecrProc", "decr", "name nb", 1, "name"),
    ("Daemontats", "dstats", "", 0, ""),
    ("Get", "get", "name keys", 2, "name keys"),
    ("GlobalOptions", "globaloptions", "option", 0, ""),
    ("IncrProc", "incr", "name nb", 1, "name"),
    ("IPythonShell", "ipython", "", 0, ""),
    ("Kill", "kill", "name pid", 1, "name"),
    ("List", "list", "name", 0, ""),
    ("Listen", "listen", "", 0, ""),
    ("ListSockets", "listsockets", "", 0, ""),
    ("NumProcesses", "numprocesses", "name", 0, ""),
    ("NumWatchers", "numwatchers", "", 0, ""),
    ("Options", "options", "name", 1, "name"),
    ("Quit", "quit", "", 0, ""),
    ("Reload", "reload", "name", 0, ""),
    ("ReloadConfig", "reloadconfig", "", 0, ""),
    ("Restart", "restart", "name", 0, ""),
    ("RmWatcher", "rm", "name", 1, "name"),
    ("Signal", "signal", "name pid signum", 2, "name signum"),
    ("Set", "set", "name options", 2, "name options"),
    ("Start", "start", "name", 0, ""),
    ("Stats", "stats", "name process", 0, ""),
    ("Status", "status", "name", 0, ""),
    ("Stop", "stop", "name", 0, ""),
)


def _make(name: str, command: str, words: str, required: int, properties: str) -> type[Command]:
    made = type(
        name,
        (Command,),
        {
            "__doc__": f"The command {command}.",
            "__module__": __name__,
            "name": command,
            "words": tuple(words.split()),
            "required": required,
            "properties": tuple(properties.split()),
        },
    )
    KNOWN_COMMANDS.append(made)
    return made


def _as_module(command: type[Command]) -> None:
    """The original has each command in a module of its own, from which programs import it."""
    name = f"{__name__}.{_MODULES.get(command.__name__, command.__name__.lower())}"
    module = sys.modules[name] = ModuleType(name, command.__doc__)
    setattr(module, command.__name__, command)
    module.__dict__["__getattr__"] = _refused.module_getattr(name)


_MODULES = {"Daemontats": "dstats", "Signal": "sendsignal"}

for _row in _TABLE:
    globals()[_row[0]] = _make(*_row)
    _as_module(globals()[_row[0]])
    __all__.append(_row[0])
