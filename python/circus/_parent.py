"""In the process that runs Python hooks for circusd: hooks that are functions of the program that started the arbiter.

circusd knows such a hook as ``circus._parent:KEY_ADDRESS``. It is called here and asks the program, through a socket in
Linux's abstract namespace.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Callable


class HookFailed(Exception):
    """The function has raised an exception; the text is the exception's."""


def name(key: int, address: bytes) -> str:
    """The name that circusd knows a hook by."""
    return f"{__name__}:hook_{key}_{address.hex()}"


def _set(watcher: Any, changes: dict[str, Any]) -> None:
    """Sets on circusd's watcher what the function has set on the program's."""
    for name, value in changes.pop("env", {}).items():
        if value is None:
            watcher.env.pop(name, None)
        else:
            watcher.env[name] = value
    for key, value in changes.items():
        setattr(watcher, key, value)


def __getattr__(attribute: str) -> Callable[..., Any]:
    kind, _, rest = attribute.partition("_")
    key, _, address = rest.partition("_")
    if kind != "hook" or not key.isdigit() or not address:
        raise AttributeError(attribute)
    where = bytes.fromhex(address)

    def hook(watcher: Any, arbiter: Any, hook_name: str, **kwargs: Any) -> Any:
        request = {"key": int(key), "watcher": watcher.name, "hook": hook_name, "kwargs": kwargs}
        with socket.socket(socket.AF_UNIX) as way:
            way.connect(b"\0" + where)
            with way.makefile("rw", encoding="utf-8") as lines:
                lines.write(json.dumps(request, default=str) + "\n")
                lines.flush()
                answer = json.loads(lines.readline() or '{"error": "the program that has the hook has ended"}')
        if "error" in answer:
            raise HookFailed(answer["error"])
        if isinstance(kwargs.get("stats"), dict):
            kwargs["stats"].clear()
            kwargs["stats"].update(answer["stats"])
        _set(watcher, answer["set"])
        return answer["answer"]

    return hook
