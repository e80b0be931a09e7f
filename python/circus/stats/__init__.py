"""Statistics of circusd: see ``circus.stats.client``. They are published by the program circusd-stats."""

from __future__ import annotations

from circus import _refused
from circus._programs import run

__getattr__ = _refused.module_getattr(__name__)


def main() -> None:
    """Becomes the program circusd-stats, with the arguments of this one."""
    run("circusd-stats")
