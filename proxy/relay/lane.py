"""The short way of a stream: from the upstream's transport to the caller's.

Most chunks of a stream are one read, one chunk of HTTP, one event, one line of JSON with
nothing in it that is to be noted. Such a chunk goes on as it came, by one call, and is
counted (bench: CPU per chunk; where many streams flow, all that is touched is cold when
a chunk comes). Everything else takes the whole way: connection, decoder, mode, reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from proxy.core.outbox import SMALL, Outbox
from proxy.relay.framing import as_one_chunk

_EVENT_END: Final = b"}\n\n\r\n"  # of a chunk that is an event of JSON


class Stream(Protocol):
    """The whole way, as far as a lane needs it (relay.connection)."""

    @property
    def is_between(self) -> bool:
        """True where the very beginning of a chunk comes next."""
        ...

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> bool | None: ...

    def connection_lost(self, exc: Exception | None) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


class Holder(Protocol):
    """Who keeps unfinished events (relay.modes)."""

    @property
    def nothing_held(self) -> bool: ...

    def is_plain(self, frame: bytes) -> bool: ...


class Lane(asyncio.Protocol):
    """The upstream's protocol while a stream flows, in place of its connection.

    The caller's reply opens and shuts it. `events` and `size_bytes` count what has
    passed here.
    """

    __slots__ = (
        "_holder",
        "_is_free",
        "_is_open",
        "_marks",
        "_outbox",
        "_send",
        "_stream",
        "events",
        "size_bytes",
    )

    _outbox: Outbox
    _send: Callable[[bytes], None]
    _stream: Stream

    def __init__(self, holder: Holder, marks: tuple[bytes, bytes]) -> None:
        """`marks`: an event that is to be looked at has one of them."""
        self._holder: Holder | None = holder
        self._marks = marks
        self._is_open = False
        self._is_free = False  # nothing stands between the next chunk and the caller
        self.events = 0
        self.size_bytes = 0

    # -- at the caller's end ------------------------------------------------------

    def open(self, send: Callable[[bytes], None], outbox: Outbox) -> None:
        """Let chunks go to `send`, those of one turn by the `outbox`."""
        self._send, self._outbox, self._is_open = send, outbox, True

    def shut(self) -> None:
        """Let nothing pass any more."""
        self._is_free = self._is_open = False
        self._holder = None  # it may hold us: no cycle stays

    # -- at the upstream's end ----------------------------------------------------

    def enter(self, stream: Stream) -> None:
        """Stand in for `stream` from the next read on."""
        self._stream = stream

    def data_received(self, data: bytes) -> None:
        length = len(data)
        if self._is_free and length <= SMALL and data.endswith(_EVENT_END):
            begin, size = as_one_chunk(length)
            # One line: nothing before this event can be hidden in it.
            if data.startswith(begin) and data.find(b"\n", len(begin)) == length - 4:
                first, second = self._marks
                rfind = data.rfind
                is_marked = rfind(first) >= 0 or rfind(second) >= 0
                holder = self._holder
                if not is_marked or (holder is not None and holder.is_plain(data)):
                    self.events += 1
                    self.size_bytes += size
                    # (A slot that is called by its name is looked up the long way.)
                    outbox, send = self._outbox, self._send
                    waiting = outbox.waiting
                    if not waiting:
                        if outbox.alone:
                            outbox.alone -= 1
                            send(data)
                            return
                        outbox.open()
                    waiting.append((send, data))
                    return
        stream, self._is_free = self._stream, False
        stream.data_received(data)
        holder = self._holder
        self._is_free = (
            self._is_open
            and stream.is_between
            and holder is not None
            and holder.nothing_held
        )

    def eof_received(self) -> bool | None:
        return self._stream.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stream.connection_lost(exc)

    def pause_writing(self) -> None:
        self._stream.pause_writing()

    def resume_writing(self) -> None:
        self._stream.resume_writing()
