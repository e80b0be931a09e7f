"""What programs import from ``circus.circusd``: going to the background. The daemon itself is the program circusd."""

from __future__ import annotations

import os
import resource
import sys
from os import closerange

from circus import _refused
from circus._programs import run
from circus.util import LOG_LEVELS, MAXFD, REDIRECT_TO

__all__ = ["LOG_LEVELS", "MAXFD", "REDIRECT_TO", "closerange", "daemonize", "get_maxfd", "main"]

__getattr__ = _refused.module_getattr(__name__)

# The process that daemonize() has made, which is there for the arbiter alone.
_daemonized: int | None = None


def get_maxfd() -> int:
    """One more than the highest descriptor that there can be; MAXFD where there is no limit."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return MAXFD if limit == resource.RLIM_INFINITY else limit


def daemonize() -> None:
    """Goes to the background: forks twice, and only the grandchild returns.

    It has a session of its own, which it does not lead, standard input, output and error are /dev/null, and every other
    descriptor is closed.

    An arbiter that is then started from the main thread becomes circusd: see ``circus.arbiter.Arbiter.start``.
    """
    global _daemonized
    if any(name.split(".")[0] == "gevent" for name in sys.modules):
        raise ValueError("Cannot daemonize if gevent is loaded")
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    closerange(0, get_maxfd())
    os.open(REDIRECT_TO, os.O_RDWR)
    os.dup2(0, 1)
    os.dup2(0, 2)
    _daemonized = os.getpid()


def is_daemonized() -> bool:
    """Whether this process is one that daemonize() has made."""
    return _daemonized == os.getpid()


def main() -> None:
    """Becomes the program circusd, with the arguments of this one."""
    run("circusd")
