from __future__ import annotations

import pytest

from providers.wire.dialect import Dialect
from providers.wire.usage import Usage
from proxy.config import ModelConfig, ProviderConfig
from proxy.config.schema_models import Pricing
from proxy.core.types import Record
from proxy.pipeline.order import Order, Treatment
from proxy.pipeline.usage import cost_line, note_estimate, note_usage
from proxy.relay.transfer import Limits
from proxy.routing.registry import Registry

PRICED = ModelConfig(id="m", pricing=Pricing(input_per_1m=1, output_per_1m=10))


def order(dialect: Dialect = Dialect.CHAT, model: ModelConfig | None = PRICED) -> Order:
    config = ProviderConfig(id="p", kind="openai", endpoint="http://p", type="cloud")
    (provider,) = Registry([config]).providers
    limits = Limits(1, 1, 1, 1, None)
    return Order(
        provider, "POST", "/v1/x", (), dialect, Treatment.MODEL, limits, "gpt",
        model=model,
    )  # fmt: skip


def a_record() -> Record:
    return Record("req_1", "chat", 0.0)


def test_what_a_provider_counted_is_noted_with_its_cost() -> None:
    record = a_record()
    used = Usage(prompt=100, completion=20, cached=10, cache_write=5, reasoning=3)
    note_usage(record, order(), used)
    assert (record.prompt_tokens, record.completion_tokens) == (100, 20)
    assert (record.cached_tokens, record.cache_write_tokens) == (10, 5)
    assert (record.reasoning_tokens, record.usage_source) == (3, "upstream")
    assert record.cost_usd == pytest.approx(0.0003)
    assert cost_line(record) == b"x-proxy-cost-usd: 0.000300\r\n"


def test_an_unknown_price_is_no_cost() -> None:
    record = a_record()
    note_usage(record, order(model=None), Usage(prompt=1, completion=1))
    assert (record.cost_usd, cost_line(record)) == (None, b"")


@pytest.mark.parametrize(
    ("dialect", "events", "tokens"),
    [
        (Dialect.CHAT, 8, 7),
        (Dialect.MESSAGES, 8, 6),
        (Dialect.RESPONSES, 8, 4),
        (Dialect.OLLAMA, 8, 8),
        (Dialect.CHAT, 0, 0),
    ],
)
def test_an_event_is_taken_for_a_token(
    dialect: Dialect, events: int, tokens: int
) -> None:
    record = a_record()
    note_estimate(record, order(dialect), events, 401, None)
    assert (record.prompt_tokens, record.completion_tokens) == (100, tokens)
    assert record.usage_source == "estimate"
    assert record.cost_usd == pytest.approx((100 + 10 * tokens) / 1e6)


def test_what_the_provider_has_said_stays() -> None:
    record, first = a_record(), Usage(prompt=77, completion=1)
    note_estimate(record, order(Dialect.MESSAGES), 12, 4000, first)
    assert (record.prompt_tokens, record.completion_tokens) == (77, 10)
    counted = a_record()
    note_usage(counted, order(), Usage(prompt=77, completion=5))
    note_estimate(counted, order(), 12, 4000, Usage(prompt=77, completion=5))
    assert (counted.completion_tokens, counted.usage_source) == (5, "upstream")


def test_images_say_nothing_of_tokens() -> None:
    record = a_record()
    note_estimate(record, order(), 3, 5 << 20, None)
    assert (record.prompt_tokens, record.completion_tokens) == (None, 2)
