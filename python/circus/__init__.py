"""Circus: a process and socket manager. This package starts the daemon circusd from Python, and talks to it."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from circus import _refused

if TYPE_CHECKING:
    from circus.arbiter import Arbiter

__all__ = ["ArbiterHandler", "__version__", "get_arbiter", "logger"]

# The version of Circus whose programs run on this package unchanged.
__version__ = "0.19.0"

logger = logging.getLogger("circus")

if _refused.FINDER not in sys.meta_path:
    sys.meta_path.append(_refused.FINDER)


class ArbiterHandler:
    """Makes arbiters: ``get_arbiter`` is the only one."""

    def __call__(
        self,
        watchers: Iterable[Mapping[str, Any]],
        controller: str | None = None,
        pubsub_endpoint: str | None = None,
        statsd: bool = False,
        stats_endpoint: str | None = None,
        statsd_close_outputs: bool = False,
        multicast_endpoint: str | None = None,
        env: Mapping[str, str] | None = None,
        name: str | None = None,
        context: Any = None,
        background: bool = False,
        stream_backend: str = "thread",
        httpd: bool = False,
        plugins: Iterable[Mapping[str, Any]] | None = None,
        debug: bool = False,
        proc_name: str = "circusd",
        loop: Any = None,
        check_delay: float = 1.0,
        **kw: Any,
    ) -> Arbiter:
        """An arbiter for these watchers, each a dictionary with ``cmd`` and any other option of ``Watcher``.

        With ``background`` its ``start()`` returns, and circusd runs until ``stop()``. ``env``, ``name``,
        ``stream_backend`` and ``context`` have no effect; the first two never had.
        """
        from circus.arbiter import Arbiter, ThreadedArbiter
        from circus.util import DEFAULT_ENDPOINT_DEALER, DEFAULT_ENDPOINT_STATS, DEFAULT_ENDPOINT_SUB
        from circus.watcher import Watcher

        if stats_endpoint is not None and not statsd:
            warnings.warn("stats_endpoint is given without statsd=True", DeprecationWarning, stacklevel=2)
            statsd = True
        if statsd and stats_endpoint is None:
            stats_endpoint = DEFAULT_ENDPOINT_STATS
        described = []
        for watcher in watchers:
            options = dict(watcher)
            first = os.fspath(options["cmd"]).split()
            options.setdefault("name", os.path.basename(first[0]) if first else "")
            described.append(Watcher.load_from_config(options))
        kind = ThreadedArbiter if background else Arbiter
        return kind(
            described,
            controller or DEFAULT_ENDPOINT_DEALER,
            pubsub_endpoint or DEFAULT_ENDPOINT_SUB,
            check_delay=check_delay,
            statsd=statsd,
            stats_endpoint=stats_endpoint,
            statsd_close_outputs=statsd_close_outputs,
            multicast_endpoint=multicast_endpoint,
            context=context,
            httpd=httpd,
            plugins=plugins,
            debug=debug,
            proc_name=proc_name,
            loop=loop,
            **kw,
        )


get_arbiter = ArbiterHandler()
