"""The exceptions of Circus, under the names that programs catch."""

from __future__ import annotations

__all__ = ["AlreadyExist", "ArgumentError", "CallError", "ConflictError", "MessageError", "NotServed"]


class AlreadyExist(Exception):
    """A watcher of this name exists."""


class MessageError(Exception):
    """A message of the control protocol is not valid."""


class CallError(Exception):
    """A call got no answer (``Timed out.``), or its answer cannot be read."""


class ArgumentError(Exception):
    """An argument, or the number of arguments, is not valid."""


class ConflictError(Exception):
    """Another command is running. circusd queues commands and never answers so; the name is kept for ``except``."""


class NotServed(AttributeError, TypeError, NotImplementedError):
    """Something that ran inside the Python daemon of Circus 0.19 and cannot run beside circusd.

    The message says what to use instead.
    """
