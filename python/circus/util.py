"""Small helpers that programs import from ``circus.util``."""

from __future__ import annotations

import asyncio
import concurrent.futures
import fcntl
import grp
import importlib
import json
import logging
import logging.config
import logging.handlers
import os
import pwd
import re
import signal
import sys
import traceback
from collections.abc import Awaitable, Mapping
from typing import Any, Callable, TypeVar
from urllib.parse import urlparse

from circus import _refused
from circus.exc import ConflictError

__all__ = [
    "DEFAULT_ENDPOINT_DEALER",
    "DEFAULT_ENDPOINT_MULTICAST",
    "DEFAULT_ENDPOINT_STATS",
    "DEFAULT_ENDPOINT_SUB",
    "FALSY_STRINGS",
    "IS_WINDOWS",
    "LOG_DATE_FMT",
    "LOG_DATE_SYSLOG_FMT",
    "LOG_FMT",
    "LOG_LEVELS",
    "MAXFD",
    "REDIRECT_TO",
    "TRUTHY_STRINGS",
    "ConflictError",
    "DictDiffer",
    "ObjectDict",
    "bytes2human",
    "check_future_exception_and_log",
    "close_on_exec",
    "configure_logger",
    "convert_opt",
    "debuglog",
    "dict_differ",
    "env_to_str",
    "get_connection",
    "get_default_gid",
    "get_python_version",
    "get_username_from_uid",
    "get_working_dir",
    "human2bytes",
    "parse_env_dict",
    "parse_env_str",
    "resolve_name",
    "to_bool",
    "to_bytes",
    "to_gid",
    "to_signum",
    "to_str",
    "to_uid",
    "tornado_sleep",
]

DEFAULT_ENDPOINT_DEALER = "tcp://127.0.0.1:5555"
DEFAULT_ENDPOINT_SUB = "tcp://127.0.0.1:5556"
DEFAULT_ENDPOINT_STATS = "tcp://127.0.0.1:5557"
DEFAULT_ENDPOINT_MULTICAST = "udp://237.219.251.97:12027"

IS_WINDOWS = False
MAXFD = 1024
REDIRECT_TO = os.devnull

LOG_LEVELS = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
LOG_FMT = "%(asctime)s %(name)s[%(process)d] [%(levelname)s] %(message)s"
LOG_DATE_FMT = "%Y-%m-%d %H:%M:%S"
LOG_DATE_SYSLOG_FMT = "%b %d %H:%M:%S"

TRUTHY_STRINGS = ("yes", "true", "on", "1")
FALSY_STRINGS = ("no", "false", "off", "0")

__getattr__ = _refused.module_getattr(__name__)


def to_bool(s: Any) -> bool:
    """The truth value that a text such as ``yes`` or ``off`` stands for."""
    if isinstance(s, bool):
        return s
    text = str(s).strip().lower()
    if text in TRUTHY_STRINGS:
        return True
    if text in FALSY_STRINGS:
        return False
    raise ValueError(f"{s!r} is not a boolean")


def to_str(s: Any, encoding: str = "utf8", errors: str = "replace") -> str:
    """Text, from text or bytes."""
    return s.decode(encoding, errors) if isinstance(s, bytes) else str(s)


def to_bytes(s: Any, encoding: str = "utf8") -> bytes:
    """Bytes, from text or bytes."""
    return s if isinstance(s, bytes) else str(s).encode(encoding)


_UNITS = "KMGTPEZY"
_UNIT_NAMES = {
    "": 0,
    **{unit: power for power, unit in enumerate("B" + _UNITS)},
    **{unit + "i": power for power, unit in enumerate("B" + _UNITS)},
    **{
        name: power
        for names in (
            ("byte", "kilo", "mega", "giga", "tera", "peta", "exa", "zetta", "iotta"),
            ("byte", "kibi", "mebi", "gibi", "tebi", "pebi", "exbi", "zebi", "yobi"),
        )
        for power, name in enumerate(names)
    },
    "k": 1,
}


def bytes2human(n: int) -> str:
    """A size for people: ``1536`` is ``1.50K``."""
    if not isinstance(n, int):
        raise TypeError(n)
    for power in range(len(_UNITS), 0, -1):
        if n >= 1 << 10 * power:
            return f"{n / (1 << 10 * power):.2f}{_UNITS[power - 1]}"
    return f"{n}B"


def human2bytes(s: str) -> int:
    """The number of bytes that a size such as ``2M`` or ``1.5 Gi`` means."""
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(\w*)\s*", s)
    if found is None or found.group(2) not in _UNIT_NAMES:
        raise ValueError(f"can't interpret {s!r}")
    return int(float(found.group(1)) * (1 << 10 * _UNIT_NAMES[found.group(2)]))


def to_signum(signum: int | str) -> int:
    """The number of a signal that is given as ``15``, ``"15"``, ``TERM``, ``SIGTERM`` or ``SIGRTMIN+1``."""
    try:
        return int(signum)
    except ValueError:
        pass
    found = re.fullmatch(r"(\w+?)(?:\+(\d+))?", str(signum).strip())
    if found is None:
        raise ValueError(f"signal invalid: {signum!r}")
    name = found.group(1).upper()
    name = name if name.startswith("SIG") else "SIG" + name
    return int(getattr(signal, name)) + int(found.group(2) or 0)


def to_uid(name: int | str) -> int:
    """The number of a user, given by name or number."""
    try:
        return pwd.getpwuid(int(name)).pw_uid
    except (ValueError, OverflowError):
        pass
    except KeyError:
        raise ValueError(f"{name!r} isn't a valid user id") from None
    try:
        return pwd.getpwnam(str(name)).pw_uid
    except KeyError:
        raise ValueError(f"{name!r} isn't a valid user name") from None


def to_gid(name: int | str) -> int:
    """The number of a group, given by name or number."""
    try:
        return grp.getgrgid(int(name)).gr_gid
    except (ValueError, OverflowError):
        pass
    except KeyError:
        raise ValueError(f"No such group: {name!r}") from None
    try:
        return grp.getgrnam(str(name)).gr_gid
    except KeyError:
        raise ValueError(f"No such group: {name!r}") from None


def get_username_from_uid(uid: int | str) -> str:
    """The name of a user."""
    return pwd.getpwuid(int(uid)).pw_name


def get_default_gid(uid: int | str) -> int:
    """The primary group of a user."""
    return pwd.getpwuid(int(uid)).pw_gid


def get_working_dir() -> str:
    """The working directory, under the name that ``$PWD`` gives it where that is the same directory."""
    here = os.getcwd()
    named = os.environ.get("PWD")
    try:
        return named if named and os.path.samefile(named, here) else here
    except OSError:
        return here


def parse_env_dict(env: Mapping[str, str]) -> dict[str, str]:
    """An environment with ``$NAME`` replaced by this process's value, and outer spaces taken away."""

    def value(found: re.Match[str]) -> str:
        return os.environ.get(found.group(1), "")

    return {key.strip(): re.sub(r"\$([A-Z]+[A-Z0-9_]*)", value, text).strip() for key, text in env.items()}


def parse_env_str(env_str: str) -> dict[str, str]:
    """An environment from ``A=1,B=2``."""
    return parse_env_dict(dict(item.split("=", 1) for item in env_str.split(",")))


def env_to_str(env: Mapping[str, str] | None) -> str:
    """An environment as ``A=1,B=2``."""
    return ",".join(f"{key}={value}" for key, value in sorted((env or {}).items()))


def convert_opt(key: str, val: Any) -> str:
    """The value of an option as circusctl shows it."""
    if key == "env":
        return env_to_str(val)
    return "" if val is None else str(val)


def close_on_exec(fd: int) -> None:
    """Has a descriptor closed at exec."""
    fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.fcntl(fd, fcntl.F_GETFD) | fcntl.FD_CLOEXEC)


def get_python_version() -> tuple[int, int, int]:
    """The version of this Python: major, minor, micro."""
    return sys.version_info[:3]


_Function = TypeVar("_Function", bound=Callable[..., Any])


def debuglog(func: _Function) -> _Function:
    """Returns the function as it is: with DEBUG set, Circus 0.19 logged its calls."""
    return func


class ObjectDict(dict):  # type: ignore[type-arg]
    """A dictionary whose items are attributes too."""

    def __getattr__(self, item: str) -> Any:
        try:
            return self[item]
        except KeyError:
            raise AttributeError(item) from None


class DictDiffer:
    """What has changed from one dictionary to another."""

    def __init__(self, current_dict: Mapping[Any, Any], past_dict: Mapping[Any, Any]) -> None:
        self.current_dict, self.past_dict = current_dict, past_dict
        self.set_current, self.set_past = set(current_dict), set(past_dict)
        self.intersect = self.set_current & self.set_past

    def added(self) -> set[Any]:
        return self.set_current - self.set_past

    def removed(self) -> set[Any]:
        return self.set_past - self.set_current

    def changed(self) -> set[Any]:
        return {key for key in self.intersect if self.past_dict[key] != self.current_dict[key]}

    def unchanged(self) -> set[Any]:
        return self.intersect - self.changed()


def dict_differ(dict1: Mapping[Any, Any], dict2: Mapping[Any, Any]) -> bool:
    """Whether two dictionaries differ in what both have, or ``dict1`` has keys that ``dict2`` lacks."""
    differ = DictDiffer(dict1, dict2)
    return bool(differ.added() or differ.removed() or differ.changed())


def resolve_name(import_name: str, silent: bool = False, reload: bool = False) -> Any:
    """The object that a dotted name means: ``package.module``, ``package.module.name`` or ``package.module:name``."""
    try:
        if ":" in import_name:
            module_name, path = import_name.split(":", 1)
        else:
            module_name, _, path = import_name.rpartition(".")
            if not module_name:
                module_name, path = import_name, ""
        try:
            found = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            # A class in a module: package.module.Class.method.
            outer, _, inner = module_name.rpartition(".")
            if ":" in import_name or not outer or error.name != module_name:
                raise
            found, path = importlib.import_module(outer), f"{inner}.{path}"
        if reload:
            found = importlib.reload(found)
        for part in filter(None, path.split(".")):
            if not hasattr(found, part) and hasattr(found, "__path__"):
                importlib.import_module(f"{found.__name__}.{part}")
            found = getattr(found, part)
        return found
    except (ImportError, AttributeError):
        if silent:
            return None
        raise


def _handler(output: str) -> tuple[logging.Handler, str]:
    if output in ("-", "stdout"):
        return logging.StreamHandler(), LOG_DATE_FMT
    if not output.startswith("syslog://"):
        return logging.handlers.WatchedFileHandler(output), LOG_DATE_FMT
    url = urlparse(output)
    names = logging.handlers.SysLogHandler.facility_names
    address: Any = (url.hostname, url.port or 514) if url.netloc else url.path
    handler = logging.handlers.SysLogHandler(address=address, facility=names.get(url.query, names["user"]))
    return handler, LOG_DATE_SYSLOG_FMT


def _load_config(path: str) -> Any:
    with open(path, encoding="utf-8") as file:
        if path.lower().endswith(".json"):
            return json.load(file)
        try:
            import yaml  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            raise ImportError(f"{path} is YAML, and PyYAML is not installed: pip install PyYAML") from None
        return yaml.safe_load(file)


def configure_logger(
    logger: logging.Logger,
    level: str = "INFO",
    output: str = "-",
    loggerconfig: str | Mapping[str, Any] | None = None,
    name: str | None = None,
) -> None:
    """Has Python's root logger write as circusd's log looks.

    ``output`` is ``-`` (standard error), a file, or ``syslog://host:port?facility``. ``loggerconfig`` is a file of
    Python's logging module (.ini, .json, .yaml), or the dictionary that such a file holds.
    """
    if isinstance(loggerconfig, Mapping):
        logging.config.dictConfig(dict(loggerconfig))
    elif loggerconfig is None or loggerconfig.strip().lower() == "default":
        handler, date = _handler(output)
        handler.setFormatter(logging.Formatter(fmt=LOG_FMT, datefmt=date))
        root = logging.getLogger()
        root.setLevel(LOG_LEVELS.get(level.lower(), logging.INFO))
        root.handlers = [handler]
    elif loggerconfig.lower().endswith(".ini"):
        logging.config.fileConfig(os.path.abspath(loggerconfig), disable_existing_loggers=True)
    elif loggerconfig.lower().endswith((".json", ".yaml")):
        logging.config.dictConfig(_load_config(os.path.abspath(loggerconfig)))
    else:
        raise ValueError(f"{loggerconfig!r} is none of the files of Python's logging module: *.ini, *.json, *.yaml")


def check_future_exception_and_log(future: Any) -> BaseException | None:
    """The exception of a future, which is logged; nothing for anything else."""
    if not isinstance(future, (concurrent.futures.Future, asyncio.Future)):
        return None
    exception = future.exception()
    if exception is None:
        return None
    logging.getLogger("circus").error("exception %s caught", exception)
    traceback.print_tb(exception.__traceback__)
    return exception


def get_connection(socket: Any, endpoint: str, ssh_server: str | None = None, ssh_keyfile: str | None = None) -> None:
    """Connects a ZeroMQ socket, through an SSH server where one is given (with pyzmq's own means)."""
    if ssh_server is None:
        socket.connect(endpoint)
        return
    from zmq import ssh

    ssh.tunnel_connection(socket, endpoint, ssh_server, keyfile=ssh_keyfile)


def tornado_sleep(duration: float) -> Awaitable[None]:
    """Something to await (or, in a coroutine of Tornado, to yield) that takes so many seconds."""
    return asyncio.ensure_future(asyncio.sleep(duration))
