"""Which requests ask the same: tenant, operation, model and the body's meaning.

Left out of the body is what changes the answer's form or is said about the caller. Two
texts of one JSON value ask the same; sampling does not matter here, for whoever turned
the cache on wants repeats answered.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from proxy.core.types import Headers

OPERATIONS: Final = frozenset({
    "chat", "completions", "responses", "messages", "embeddings", "rerank",
    "moderations",
})  # fmt: skip
"""Those whose replies are kept: JSON in, JSON out, and nothing done on the way."""

_STREAMED: Final = frozenset({"chat", "completions", "responses", "messages"})
_VERSION: Final = b"1"
_LEFT_OUT: Final = ("model", "stream", "stream_options", "user", "metadata")
# The answer depends on what is not in the body, or somebody acts on the way to it.
_NOT_REPEATABLE: Final = (
    "background", "conversation", "plugins", "previous_response_id",
    "web_search_options",
)  # fmt: skip
_BOUNDS: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_NOTHING: Final[tuple[object, ...]] = (None, False, [], {})
_directive: Final = re.compile(r"(?:^|[,\s])(no-cache|no-store)(?=$|[,;\s=])").findall


class Asked(Struct, frozen=True):
    """A request that may be answered from the cache.

    `reads` and `stores` are what its cache-control allows; `is_bounded` that the
    caller itself said how long the answer may become.
    """

    key: bytes
    operation: str
    stream: bool
    include_usage: bool
    is_bounded: bool
    reads: bool = True
    stores: bool = True


def read_asked(
    tenant: str, operation: str, model: str, body: bytes, headers: Headers
) -> Asked | None:
    """Answer what is asked; None for what is never kept.

    `model` is the id that the asked name stands for; `body` is one JSON object.
    """
    if operation not in OPERATIONS:
        return None
    try:
        # It keeps integers of any size apart, which orjson reads as floats.
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None  # half a surrogate pair, for instance: the upstream is the judge
    if any(found.get(name) not in _NOTHING for name in _NOT_REPEATABLE):
        return None
    options = found.get("stream_options")
    said = _directive((headers.get("cache-control") or "").lower())
    return Asked(
        key=_key(tenant, operation, model, found, headers),
        operation=operation,
        stream=operation in _STREAMED and found.get("stream") is True,
        include_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        is_bounded=any(found.get(name) is not None for name in _BOUNDS),
        reads=not said,
        stores="no-store" not in said,
    )


def _key(
    tenant: str,
    operation: str,
    model: str,
    found: Mapping[str, Any],
    headers: Headers,
) -> bytes:
    meant = {name: found[name] for name in found if name not in _LEFT_OUT}
    parts = (
        _VERSION,
        tenant.encode("utf-8", "surrogatepass"),
        operation.encode(),
        model.encode("utf-8", "surrogatepass"),
        _shaping(headers),
        msgspec.json.encode(meant, order="deterministic"),
    )
    digest = hashlib.sha256()
    for part in parts:
        # Its length first: no two lists of parts run together alike.
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


def _shaping(headers: Headers) -> bytes:
    """The fields that change what a body means, such as anthropic-beta."""
    pairs = [p for p in headers.pairs if p[0].endswith(("-beta", "-version"))]
    return repr(sorted(pairs)).encode("utf-8", "surrogatepass")
