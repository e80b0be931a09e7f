"""The event loop that an arbiter runs in: asyncio's, with the few methods of Tornado's that programs call."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import signal
import socket
import warnings
from typing import Any, Callable

logger = logging.getLogger("circus")


class Loop:
    """An event loop of asyncio under the names of ``tornado.ioloop.IOLoop``."""

    def __init__(self, asyncio_loop: asyncio.AbstractEventLoop) -> None:
        self.asyncio_loop = asyncio_loop
        self._tasks: set[Any] = set()

    @classmethod
    def current(cls) -> Loop:
        """That of this thread; one that has none gets one."""
        try:
            return cls(asyncio.get_running_loop())
        except RuntimeError:
            pass
        loop: asyncio.AbstractEventLoop | None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                loop = asyncio.get_event_loop()
            except RuntimeError:
                loop = None
        if loop is None or loop.is_closed():
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
        return cls(loop)

    @classmethod
    def of(cls, loop: Any) -> Any:
        """The loop that a program has given: asyncio's, Tornado's, or one of this class."""
        return cls(loop) if isinstance(loop, asyncio.AbstractEventLoop) else loop

    def add_callback(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Has a function called in the loop, from any thread. A loop that is closed calls nothing any more."""
        try:
            self.asyncio_loop.call_soon_threadsafe(self._call, callback, args, kwargs)
        except RuntimeError:
            if not self.asyncio_loop.is_closed():
                raise

    def _call(self, callback: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            result = callback(*args, **kwargs)
            if inspect.isawaitable(result):
                task = asyncio.ensure_future(result, loop=self.asyncio_loop)
                # The loop itself keeps no task alive.
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except Exception:
            logger.exception("Exception in callback %r", callback)

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> asyncio.TimerHandle:
        """Has a function called after so many seconds. From the loop's own thread."""
        return self.asyncio_loop.call_later(delay, callback, *args)

    def run_sync(self, func: Callable[[], Any], timeout: float | None = None) -> Any:
        """Calls a function and waits for what it returns, if that can be awaited."""

        async def run() -> Any:
            result = func()
            return await asyncio.wait_for(result, timeout) if inspect.isawaitable(result) else result

        return self.asyncio_loop.run_until_complete(run())

    def start(self) -> None:
        """Runs until ``stop``."""
        self.asyncio_loop.run_forever()

    def stop(self) -> None:
        """Ends ``start``, from any thread."""
        self.add_callback(self.asyncio_loop.stop)

    def close(self) -> None:
        """Closes the loop, if it does not run."""
        if not self.asyncio_loop.is_running():
            self.asyncio_loop.close()


class SignalWaker:
    """Wakes a loop of the main thread up when a signal comes, so that Python calls the signal's handler.

    Without it a signal that comes in the moment before the loop begins to wait would be handled at the next event only.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._writing.setblocking(False)
        self._before = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        loop.add_reader(self._reading, self._drain)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._reading.recv(4096)

    def close(self) -> None:
        """Leaves everything as it was. From the main thread."""
        now = signal.set_wakeup_fd(self._before)
        if now != self._writing.fileno():
            # Something else has taken the place meanwhile.
            signal.set_wakeup_fd(now)
        if not self._loop.is_closed():
            self._loop.remove_reader(self._reading)
        self._reading.close()
        self._writing.close()
