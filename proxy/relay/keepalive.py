"""The caller's side while nothing comes from upstream.

A stream that has waited long enough without a status commits 200 and gets
comments, so that no proxy or client in between gives up. Lives as long as the
call, over all its attempts; costs nothing per chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from proxy.core.call import Reply
from proxy.core.types import Pair

COMMENT: Final = b": keep-alive\n\n"


class KeepAlive:
    """`comments` may be written only while the reply stands between two events."""

    def __init__(
        self,
        reply: Reply,
        interval_s: float,
        now: float,
        head: Callable[[], Sequence[Pair]] | None,
    ) -> None:
        """`head` makes the committed head; None: never before the upstream's."""
        self._reply = reply
        self._interval = interval_s
        self._head = head
        self._since = now
        self._bytes = 0

    def tick(self, now: float) -> None:
        reply = self._reply
        if reply.bytes_out != self._bytes:
            self._bytes = reply.bytes_out
            self._since = now
        if now - self._since < self._interval:
            return
        if reply.paused or reply.gone or reply.ended:
            return
        if not reply.started:
            if self._head is None:
                return
            reply.start(200, self._head(), None)
        reply.write(COMMENT)
        self._bytes = reply.bytes_out
        self._since = now
