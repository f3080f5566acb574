"""Where finished calls are reported: ledger, metrics, log, live tail and traces.

Every lane that serves calls ends here. Written for speed (bench: CPU per request): it
waits for nothing, and raises nothing.
"""

from __future__ import annotations

import logging
from typing import Final

from proxy.accounting.ledger import Ledger
from proxy.accounting.tail import Tail
from proxy.core.types import Record
from proxy.observability.logs import RequestLog
from proxy.observability.metrics import Metrics
from proxy.observability.traces import Traces

_log: Final = logging.getLogger("local_ai.pipeline")


class Desk:
    """`report` each record once, when its call has ended."""

    __slots__ = ("_append", "_observe", "_tail", "_trace", "_write")

    def __init__(
        self,
        log: RequestLog,
        metrics: Metrics,
        ledger: Ledger | None = None,
        tail: Tail | None = None,
        traces: Traces | None = None,
    ) -> None:
        """`ledger` is None where no records are kept, `traces` where none are sent."""
        self._observe = metrics.observe
        self._write = log.write
        self._append = None if ledger is None else ledger.append
        self._tail = tail
        self._trace = None if traces is None else traces.note

    def report(self, record: Record) -> None:
        """Tell all who keep count. What one of them cannot take costs no call."""
        try:
            if self._append is not None:
                self._append(record)
            self._observe(record)
            self._write(record)
            if self._tail is not None and self._tail.is_watched:
                self._tail.note(record)
            if self._trace is not None:
                self._trace(record)
        except Exception:
            _log.exception("request %s could not be reported", record.id)
