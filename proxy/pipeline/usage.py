"""What a reply says it used, written into the record, with what it cost."""

from __future__ import annotations

from providers.wire.usage import Usage
from proxy.accounting.prices import cost_usd
from proxy.core.types import Record
from proxy.pipeline.order import Order

_FREE = b"x-proxy-cost-usd: 0.000000\r\n"


def note_usage(record: Record, order: Order, usage: Usage | None) -> None:
    """Note what a provider has counted; None where it has not said."""
    if usage is None:
        return
    record.prompt_tokens = usage.prompt
    record.completion_tokens = usage.completion
    if usage.cached is not None:
        record.cached_tokens = usage.cached
    if usage.cache_write is not None:
        record.cache_write_tokens = usage.cache_write
    if usage.reasoning is not None:
        record.reasoning_tokens = usage.reasoning
    record.usage_source = "upstream"
    if order.is_free and usage.cost_usd is None and usage.prompt is not None:
        record.cost_usd = 0.0
    else:
        provider = order.provider
        listed = provider.prices.get(order.upstream_model or "")
        record.cost_usd = cost_usd(provider.config, order.model, usage, listed)


def cost_line(record: Record) -> bytes:
    """The header line that tells what a reply cost; nothing where that is unknown."""
    cost = record.cost_usd
    if cost is None:
        return b""
    return b"x-proxy-cost-usd: %.6f\r\n" % cost if cost else _FREE
