"""Nothing is served here; what is asked for says why."""

from __future__ import annotations

from circus import _refused

__getattr__ = _refused.module_getattr(__name__)
