"""The row of a provider that sends faster than its caller reads."""

from __future__ import annotations

from tests.faults.row import CHUNKED, JSON, Row, Way, comes, row
from tests.parts.faulty import Peer, Script
from tests.parts.http_text import LAST_CHUNK, Message, chunk, event_stream_head, head
from tests.parts.scripts import DONE

PIECE = b"data: {" + b'"x":1,' * 10_000 + b'"x":1}\n\n'
PIECES = 3_300  # 200 MB


def floods(start: bytes, end: bytes) -> Script:
    async def play(peer: Peer, request: Message) -> None:
        await peer.send(start)
        for _ in range(PIECES):
            await peer.send(chunk(PIECE))
        await peer.send(end)

    return play


ENDS = {Way.WHOLE: b"", Way.STREAM: DONE}
FLOOD: Row = row(
    "floods a caller who reads late with 200 MB; at most 48 MiB are under way",
    (
        floods(head(200, JSON, CHUNKED), LAST_CHUNK),
        floods(event_stream_head(), chunk(DONE) + LAST_CHUNK),
    ),
    comes(b""),
)
