"""Where finished calls are reported: ledger, metrics, log, live tail and traces.

Every lane that serves calls ends here. Written for speed (bench: CPU per request): it
waits for nothing, and raises nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
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

    __slots__ = (
        "_ledger",
        "_observe",
        "_soon",
        "_tail",
        "_trace",
        "_waiting",
        "_write",
    )

    def __init__(
        self,
        log: RequestLog,
        metrics: Metrics,
        ledger: Ledger | None = None,
        tail: Tail | None = None,
        traces: Traces | None = None,
        soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        """`ledger` is None where no records are kept, `traces` where none are sent;
        `soon` calls back at the end of the loop's turn.
        """
        self._soon = soon
        self._waiting: list[Callable[[], None]] = []
        self._observe = metrics.observe
        self._write = log.write
        self._ledger = ledger
        self._tail = tail
        self._trace = None if traces is None else traces.note

    @property
    def waiting(self) -> int:
        """How many replies leave at the end of this turn."""
        return len(self._waiting)

    def report(self, record: Record, then: Callable[[], None] | None = None) -> None:
        """Tell all who keep count. What one of them cannot take costs no call.

        `then` is called once the ledger has the record, which may be at the end of the
        loop's turn: those of one turn go there in one write.
        """
        try:
            if self._ledger is None:
                pass
            elif then is None or self._soon is None:
                self._ledger.append(record)
            else:
                if not self._waiting:
                    self._soon(self._flush)
                self._waiting.append(then)
                then = None
                self._ledger.note(record)
            # Bound to names first: to call what an attribute holds is slower (3.11).
            observe, write = self._observe, self._write
            observe(record)
            write(record)
            if self._tail is not None and self._tail.is_watched:
                self._tail.note(record)
            if self._trace is not None:
                self._trace(record)
        except Exception:
            _log.exception("request %s could not be reported", record.id)
        if then is not None:
            then()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        assert self._ledger is not None
        self._ledger.flush()
        for then in waiting:
            try:
                then()
            except Exception:
                _log.exception("a reply could not be given")
