"""The commands of circusd, as far as a client has to know them: a name, and how a message is made of words."""

from __future__ import annotations

import time
from typing import Any

from circus import _refused
from circus.commands import errors
from circus.exc import ArgumentError, MessageError

__all__ = ["KNOWN_COMMANDS", "Command", "error", "get_commands", "ok"]

__getattr__ = _refused.module_getattr(__name__)


class Command:
    """A command. ``message("web", 2)`` makes the message that circusctl sends for ``incr web 2``."""

    name = ""
    # What the words of a command line are, in order; the first so many are required.
    words: tuple[str, ...] = ()
    required = 0
    # The properties without which circusd refuses the message.
    properties: tuple[str, ...] = ()

    def make_message(self, **props: Any) -> dict[str, Any]:
        """The message with these properties."""
        return {"command": props.pop("command", self.name), "properties": props}

    def message(self, *args: Any, **opts: Any) -> dict[str, Any]:
        """The message that these words and options mean."""
        if len(args) < self.required or len(args) > len(self.words):
            raise ArgumentError(
                f"invalid number of arguments for {self.name}: {' '.join(self.words) or 'none'} expected"
            )
        return self.make_message(**dict(zip(self.words, args)), **opts)

    def validate(self, props: dict[str, Any]) -> None:
        """Raises ``MessageError`` if a property is missing."""
        for name in self.properties:
            if name not in props:
                raise MessageError(f"message invalid {name!r} is missing")

    def console_error(self, msg: dict[str, Any]) -> str:
        """An error as circusctl shows it."""
        return f"error: {msg.get('reason')}"

    def console_msg(self, msg: dict[str, Any]) -> str:
        """An answer as circusctl shows it where there is nothing else to show."""
        return "ok" if msg.get("status") == "ok" else self.console_error(msg)

    def copy(self) -> Command:
        """Another of the same."""
        return type(self)()


KNOWN_COMMANDS: list[type[Command]] = []


def get_commands() -> dict[str, Command]:
    """Every command by its name."""
    return {command.name: command() for command in KNOWN_COMMANDS}


def ok(props: dict[str, Any] | None = None) -> dict[str, Any]:
    """An answer."""
    return {"status": "ok", "time": time.time(), **(props or {})}


def error(reason: str = "unknown", tb: str | None = None, errno: int = errors.NOT_SPECIFIED) -> dict[str, Any]:
    """An answer that refuses."""
    return {"status": "error", "reason": reason, "tb": tb, "time": time.time(), "errno": errno}
