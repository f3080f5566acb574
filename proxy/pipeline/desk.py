"""Where finished calls are reported: ledger, metrics, log, live tail and traces.

Every lane that serves calls ends here. Written for speed (bench: CPU per request): it
waits for nothing, and raises nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
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
        # Only the ledger is worth waiting for.
        self._soon = None if ledger is None else soon
        self._waiting: list[tuple[Record, Callable[[], None]]] = []
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
        soon = self._soon
        if soon is not None and then is not None:
            waiting = self._waiting
            if not waiting:
                soon(self._flush)
            waiting.append((record, then))
            return
        self._tell((record,))
        if then is not None:
            then()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._tell([record for record, _ in waiting])
        for _, then in waiting:
            try:
                then()
            except Exception:
                _log.exception("a reply could not be given")

    def _tell(self, records: Sequence[Record]) -> None:
        if self._ledger is not None:
            _together(self._ledger.append, records)
        _each(self._observe, records)
        _together(self._write, records)
        if self._tail is not None and self._tail.is_watched:
            _each(self._tail.note, records)
        if self._trace is not None:
            _each(self._trace, records)


def _each(take: Callable[[Record], None], records: Sequence[Record]) -> None:
    for record in records:
        try:
            take(record)
        except Exception:
            _log.exception("request %s could not be reported", record.id)


def _together(take: Callable[..., None], records: Sequence[Record]) -> None:
    """Hand over all or none; one by one where that fails: none is lost by another."""
    try:
        take(*records)
    except Exception:
        if len(records) == 1:
            _log.exception("request %s could not be reported", records[0].id)
        else:
            _each(take, records)
