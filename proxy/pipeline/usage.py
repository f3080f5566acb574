"""What a reply says it used, written into the record, with what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from providers.wire.dialect import Dialect
from providers.wire.usage import Usage
from proxy.accounting.prices import cost_usd
from proxy.core.types import Record
from proxy.limits.estimate import BYTES_PER_TOKEN
from proxy.pipeline.order import Order

# A request larger than this holds images or files: its size tells nothing.
_MOST_TEXT: Final = 1 << 20
# Events that come before the first token of an answer.
_PREAMBLES: Final[Mapping[Dialect, int]] = {
    Dialect.CHAT: 1, Dialect.MESSAGES: 2, Dialect.RESPONSES: 4, Dialect.OLLAMA: 0,
}  # fmt: skip
FREE: Final = b"x-proxy-cost-usd: 0.000000\r\n"


def note_usage(record: Record, order: Order, usage: Usage | None) -> None:
    """Note what a provider has counted; None where it has not said."""
    if usage is None:
        return
    record.prompt_tokens = usage.prompt
    record.completion_tokens = usage.completion
    record.usage_source = "upstream"
    if usage.cached is not None or usage.cache_write is not None:
        _note_caching(record, usage)
    if usage.reasoning is not None:
        record.reasoning_tokens = usage.reasoning
        record.memo = None
    if order.is_free and usage.cost_usd is None and usage.prompt is not None:
        record.cost_usd = 0.0
    else:
        provider = order.provider
        listed = provider.prices.get(order.upstream_model or "")
        cost = record.cost_usd = cost_usd(provider.config, order.model, usage, listed)
        if cost is None or usage.prompt is None:
            record.memo = None
    if usage.completion is None:
        record.memo = None


def _note_caching(record: Record, usage: Usage) -> None:
    if usage.cached is not None:
        record.cached_tokens = usage.cached
    if usage.cache_write is not None:
        record.cache_write_tokens = usage.cache_write
    record.memo = None


def note_estimate(
    record: Record, order: Order, events: int, size: int, usage: Usage | None
) -> None:
    """Note what a stream has used that ended before its provider had counted.

    An event of the answer is taken for a token, and so are four of the request's `size`
    in bytes. What the provider has said stays.
    """
    if usage is not None and usage.completion and not _counts_late(order):
        return
    tokens = max(0, events - _PREAMBLES.get(order.dialect, 1))
    prompt = None if usage is None else usage.prompt
    if prompt is None and size <= _MOST_TEXT:
        prompt = size // BYTES_PER_TOKEN
    said = None if usage is None else usage.completion
    note_usage(record, order, Usage(prompt=prompt, completion=max(tokens, said or 0)))
    record.usage_source = "estimate"


def _counts_late(order: Order) -> bool:
    """Its first event says how long the prompt is, and that one token was written."""
    return order.dialect is Dialect.MESSAGES


def cost_line(record: Record) -> bytes:
    """The header line that tells what a reply cost; nothing where that is unknown."""
    cost = record.cost_usd
    if cost is None:
        return b""
    return b"x-proxy-cost-usd: %.6f\r\n" % cost if cost else FREE
