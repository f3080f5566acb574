"""What of an upstream's head the caller gets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from proxy.core.types import Pair
from proxy.relay.head import ReplyHead, encode_fields

# RFC 9110 §7.6.1, and the framing that our own writer decides.
_HOP: Final = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization",
    "proxy-connection", "te", "transfer-encoding", "upgrade", "content-length",
})  # fmt: skip

# Promises and secrets of the upstream that hold between it and us only.
_PRIVATE: Final = frozenset({
    "set-cookie", "set-cookie2", "alt-svc", "strict-transport-security",
    "public-key-pins", "clear-site-data", "via",
})  # fmt: skip

# On model routes we answer in our own name.
_ITS_OWN: Final = frozenset({
    "server", "x-powered-by", "x-request-id", "request-id", "openai-organization",
    "openai-project", "anthropic-organization-id", "cf-ray", "cf-cache-status",
    "x-should-retry", "retry-after-ms",
})  # fmt: skip
_ITS_OWN_PREFIXES: Final = (
    "access-control-",
    "x-ratelimit-",
    "ratelimit",
    "anthropic-ratelimit-",
    "x-proxy-",
)

# What decides how a reply is read stands in its head (RFC 9110 §6.5.1).
_NO_TRAILER: Final = frozenset({
    "age", "cache-control", "content-encoding", "content-range", "content-type",
    "expires", "location", "trailer", "vary", "www-authenticate",
})  # fmt: skip


AS_MODEL: Final = "as a model's"
"""By what a head remembers the fields of a reply that is neither passed on as it is nor
a stream."""


def block_for_caller(
    head: ReplyHead, as_is: bool = False, events: bool = False
) -> bytes:
    """Encode what `for_caller` answers; of `events`, with a stream's own fields.

    Remembered with the head: servers send the same one again and again.
    """
    key = (as_is, events) if as_is or events else AS_MODEL
    block: bytes | None = head.memo.get(key)
    if block is None:
        pairs = for_caller(head.pairs, as_is=as_is)
        block = head.memo[key] = encode_fields(sse_fields(pairs) if events else pairs)
    return block


def sse_fields(pairs: Iterable[Pair]) -> list[Pair]:
    """A streamed reply's fields: never cached, never buffered by proxies."""
    fixed = ("cache-control", "x-accel-buffering", "content-encoding")
    kept = [pair for pair in pairs if pair[0] not in fixed]
    return [
        *kept,
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ]


def for_caller(pairs: Iterable[Pair], *, as_is: bool = False) -> list[Pair]:
    """Filter a reply's fields; `as_is` is pass-through, which keeps the most."""
    pairs = list(pairs)
    named = _named_by_connection(pairs)
    return [
        pair
        for pair in pairs
        if pair[0] not in named and not _is_dropped(pair[0], as_is)
    ]


def trailers_for_caller(trailers: Sequence[Pair], head: ReplyHead) -> tuple[Pair, ...]:
    """Filter the fields behind a reply's body."""
    if not trailers:
        return ()
    named = _named_by_connection(head.pairs)
    return tuple(
        pair
        for pair in for_caller(trailers, as_is=True)
        if pair[0] not in _NO_TRAILER and pair[0] not in named
    )


def _is_dropped(name: str, as_is: bool) -> bool:
    if name in _HOP or name in _PRIVATE or name.startswith("access-control-"):
        return True
    if as_is:
        return name in ("x-request-id", "request-id")
    return name in _ITS_OWN or name.startswith(_ITS_OWN_PREFIXES)


def _named_by_connection(pairs: Sequence[Pair]) -> frozenset[str]:
    """Fields that Connection declares to be for this hop only."""
    values = [value for name, value in pairs if name == "connection"]
    if not values:
        return frozenset()
    return frozenset(token.strip().lower() for token in ",".join(values).split(","))
