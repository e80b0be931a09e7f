"""Answers that may be awaited, yielded in a coroutine of Tornado, or asked for their result."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Generator
from typing import Any, Callable, TypeVar

logger = logging.getLogger("circus")

T = TypeVar("T")


class Reply(concurrent.futures.Future):  # type: ignore[type-arg]
    """A future that a thread may wait for (``result()``) and a coroutine may await.

    An exception is logged if it was not asked for by the time that the future is forgotten.
    """

    _untold = False

    def __class_getitem__(cls, _item: Any) -> Any:
        return cls

    def set_exception(self, exception: BaseException | None) -> None:
        self._untold = exception is not None
        super().set_exception(exception)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._untold = False
        return super().exception(timeout)

    def result(self, timeout: float | None = None) -> Any:
        self._untold = False
        return super().result(timeout)

    def add_done_callback(self, fn: Callable[..., object]) -> None:
        self._untold = False
        super().add_done_callback(fn)

    def __del__(self) -> None:
        if self._untold:
            logger.error("%s", self._exception)

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.wrap_future(self).__await__()

    @classmethod
    def of(cls, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Reply:
        """Calls a function now; its result, or the exception that it raises, is the reply's."""
        reply = cls()
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            reply.set_exception(error)
        else:
            reply.set_result(result)
        return reply
