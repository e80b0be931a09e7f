"""The small helpers."""

from __future__ import annotations

import logging
import os
import signal
from concurrent.futures import Future
from pathlib import Path

import pytest

from circus import exc, util
from circus._future import Reply
from circus.pidfile import Pidfile


def test_sizes() -> None:
    assert [util.bytes2human(n) for n in (0, 1023, 1536, 3 << 20)] == ["0B", "1023B", "1.50K", "3.00M"]
    assert [util.human2bytes(s) for s in ("10", "1K", "1k", "1.5 Ki", "2M", "1 mega", "5B")] == [
        10,
        1024,
        1024,
        1536,
        2 << 20,
        1 << 20,
        5,
    ]
    with pytest.raises(ValueError, match="can't interpret"):
        util.human2bytes("1X")


def test_booleans_and_signals() -> None:
    assert [util.to_bool(s) for s in ("yes", " On ", True, "0", "off", False)] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    with pytest.raises(ValueError, match="not a boolean"):
        util.to_bool("maybe")
    assert [util.to_signum(s) for s in (9, "9", "KILL", "sigterm", "SIGRTMIN+2")] == [9, 9, 9, 15, signal.SIGRTMIN + 2]


def test_accounts() -> None:
    assert (util.to_uid("root"), util.to_uid(0), util.to_gid("root")) == (0, 0, 0)
    assert (util.get_username_from_uid(0), util.get_default_gid(0)) == ("root", 0)
    with pytest.raises(ValueError, match="no such user"):
        util.to_uid("no such user")
    with pytest.raises(ValueError, match="no such group"):
        util.to_gid("no such group")


def test_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "here")
    assert util.parse_env_str("A=1,B= $PLACE ") == {"A": "1", "B": "here"}
    assert util.env_to_str({"B": "2", "A": "1"}) == "A=1,B=2"
    assert (util.convert_opt("env", {"A": "1"}), util.convert_opt("x", None)) == ("A=1", "")


def test_names_of_objects() -> None:
    assert util.resolve_name("os.path.join") is os.path.join
    assert util.resolve_name("circus.util:to_bool") is util.to_bool
    assert util.resolve_name("circus.pidfile.Pidfile.create") is Pidfile.create
    assert util.resolve_name("no.such.thing", silent=True) is None
    with pytest.raises(ImportError):
        util.resolve_name("no.such.thing")


_QUIET = {"version": 1, "disable_existing_loggers": False, "root": {"level": "ERROR"}}


def test_logging_to_a_file_and_from_a_dictionary(tmp_path: Path) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        util.configure_logger(logging.getLogger("circus"), "DEBUG", str(tmp_path / "log"))
        logging.getLogger("circus").debug("a line")
        text = (tmp_path / "log").read_text()
        assert text.endswith(f" circus[{os.getpid()}] [DEBUG] a line\n")
        util.configure_logger(logging.getLogger("circus"), loggerconfig=_QUIET)
        assert root.level == logging.ERROR
        with pytest.raises(ValueError, match="none of the files"):
            util.configure_logger(logging.getLogger("circus"), loggerconfig="x.toml")
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:], root.level = before, level


def test_an_exception_of_a_future_is_told(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = Future[int](), Reply()
    good.set_result(1)
    error = RuntimeError("no luck")
    bad.set_exception(error)
    assert util.check_future_exception_and_log(good) is None
    assert util.check_future_exception_and_log("no future") is None
    assert util.check_future_exception_and_log(bad) is error
    assert "exception no luck caught" in caplog.text


def test_pidfile(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    pidfile = Pidfile(str(path))
    assert pidfile.validate() is None
    pidfile.create(os.getpid())
    pidfile.create(os.getpid())
    assert (path.read_text(), path.stat().st_mode & 0o777) == (f"{os.getpid()}\n", 0o644)
    with pytest.raises(RuntimeError, match="is stale, current pid 1"):
        path.write_text("1\n")
        pidfile.create(os.getpid())
    pidfile.unlink()
    assert path.exists(), "it names another process"
    path.write_text("nonsense")
    pidfile.create(os.getpid())
    pidfile.rename(str(tmp_path / "other"))
    assert not path.exists()
    pidfile.unlink()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="doesn't exist"):
        Pidfile(str(tmp_path / "no/pid")).create(1)


def test_exceptions_are_those_that_programs_catch() -> None:
    assert issubclass(exc.NotServed, TypeError)
    assert util.ConflictError is exc.ConflictError
