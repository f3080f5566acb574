"""What a reply's head says of its body."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from providers.wire.dialect import Framing
from proxy.relay.head import ReplyHead

_FRAMINGS: Final[Mapping[str, Framing]] = MappingProxyType(
    {
        "text/event-stream": Framing.SSE,
        "application/x-ndjson": Framing.NDJSON,
        "application/jsonl": Framing.NDJSON,
    }
)


class Kind(Struct, frozen=True):
    """`is_coded`: it is compressed. `is_answer`: the head of a usual whole answer,
    with status 200, of JSON as it is; `is_stream`: of a usual stream, of SSE as it is.
    """

    framing: Framing
    is_json: bool
    is_coded: bool
    is_answer: bool
    is_stream: bool


def kind_of(head: ReplyHead) -> Kind:
    """Read it once: servers send the same head again and again."""
    known: Kind | None = head.memo.get("kind")
    if known is None:
        media_type = (head.get("content-type") or "").partition(";")[0].strip().lower()
        framing = _FRAMINGS.get(media_type, Framing.PLAIN)
        is_json = "json" in media_type
        is_coded = (head.get("content-encoding") or "identity") != "identity"
        is_good = head.status == 200 and not is_coded
        known = head.memo["kind"] = Kind(
            framing,
            is_json,
            is_coded,
            is_good and is_json and framing is Framing.PLAIN,
            is_good and framing is Framing.SSE,
        )
    return known
