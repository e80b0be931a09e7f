"""Answers that may be awaited, yielded in a coroutine of Tornado, or asked for their result."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Generator
from typing import Any, Callable, TypeVar

T = TypeVar("T")


class Reply(concurrent.futures.Future):  # type: ignore[type-arg]
    """A future that a thread may wait for (``result()``) and a coroutine may await."""

    def __class_getitem__(cls, _item: Any) -> Any:
        return cls

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
