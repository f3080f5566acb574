"""Which watch belongs to which stream."""

from __future__ import annotations

from providers.wire.chat import ChatWatch
from providers.wire.dialect import Dialect, Framing
from providers.wire.messages import MessagesWatch
from providers.wire.ollama import OllamaWatch
from providers.wire.responses import ResponsesWatch
from providers.wire.watch import Notes, Watch


class PassWatch(Notes):
    """For bodies whose end HTTP alone tells: sees nothing, is always complete."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(terminated=False)

    def see(self, events: bytes) -> bytes:
        return events


def watch_for(
    dialect: Dialect, framing: Framing, *, withhold_usage: bool, terminated: bool
) -> Watch:
    """Make a fresh watch for one reply.

    `withhold_usage`: we asked for the usage event, the caller did not (chat).
    `terminated`: the upstream closes with its dialect's terminator; without it,
    every end that HTTP calls an end is one.
    """
    match dialect, framing:
        case Dialect.CHAT, Framing.SSE:
            return ChatWatch(withhold_usage=withhold_usage, terminated=terminated)
        case Dialect.RESPONSES, Framing.SSE:
            return ResponsesWatch(terminated=terminated)
        case Dialect.MESSAGES, Framing.SSE:
            return MessagesWatch(terminated=terminated)
        case Dialect.OLLAMA, Framing.NDJSON:
            return OllamaWatch(terminated=terminated)
    return PassWatch()
