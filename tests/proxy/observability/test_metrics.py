from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_text

from proxy.core.types import Attempt, Record
from proxy.observability.gauges import Feeds, ProviderGauges
from proxy.observability.metrics import Metrics
from tests.parts.records import record_of


def record(**more: Any) -> Record:
    facts: dict[str, Any] = {
        "id": "req_1",
        "operation": "chat",
        "started_at": 100.0,
        "model": "qwen",
        "provider": "spark",
        "status": 200,
        "stream": True,
        "prompt_tokens": 12,
        "completion_tokens": 34,
        "usage_source": "upstream",
        "first_byte_at": 100.2,
        "ended_at": 101.5,
    }
    return record_of(**facts | more)


def metrics() -> Metrics:
    made = Metrics()
    made.know_models({"qwen", "llama"})
    return made


def samples(made: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    body, _ = made.exposition()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in read_text(body.decode())
        for sample in family.samples
    }


def value(made: Metrics, name: str, **labels: str) -> float | None:
    return samples(made).get((name, tuple(sorted(labels.items()))))


def test_counts_a_request_with_its_labels() -> None:
    made = metrics()
    made.observe(record())
    made.observe(record())
    labels = {"endpoint": "chat", "model": "qwen", "provider": "spark"}
    assert value(made, "local_ai_requests_total", **labels, status="200") == 2
    made.observe(record(status=499))
    assert value(made, "local_ai_requests_total", **labels, status="499") == 1


def test_times_a_request_and_its_first_token() -> None:
    made = metrics()
    made.observe(record())
    at = {"endpoint": "chat", "provider": "spark"}
    duration = value(made, "local_ai_request_duration_seconds_sum", **at)
    assert duration == pytest.approx(1.5)
    first = value(made, "local_ai_first_token_seconds_sum", **at)
    assert first == pytest.approx(0.2)


def test_a_whole_reply_has_no_first_token_time() -> None:
    made = metrics()
    made.observe(record(stream=False))
    at = {"endpoint": "chat", "provider": "spark"}
    assert value(made, "local_ai_first_token_seconds_count", **at) == 0
    assert value(made, "local_ai_request_duration_seconds_count", **at) == 1


def test_counts_tokens_by_kind_and_unknown_ones_not_at_all() -> None:
    made = metrics()
    made.observe(record(cached_tokens=5, reasoning_tokens=7))
    made.observe(record(prompt_tokens=None, completion_tokens=None))
    counts = {
        kind: value(
            made, "local_ai_tokens_total", kind=kind, model="qwen", provider="spark"
        )
        for kind in ("prompt", "completion", "cached", "reasoning")
    }
    assert counts == {"prompt": 12, "completion": 34, "cached": 5, "reasoning": 7}


def test_made_up_models_share_one_label() -> None:
    made = metrics()
    for number in range(500):
        made.observe(record(model=f"made-up-{number}", provider=None, status=404))
    labels = {
        labels for name, labels in samples(made) if name.endswith("requests_total")
    }
    assert labels == {
        (("endpoint", "chat"), ("model", "other"), ("provider", ""), ("status", "404"))
    }
    assert len(made._counts.known) == 1


def test_a_request_of_no_model_has_an_empty_label() -> None:
    made = metrics()
    made.observe(record(model=None, provider=None, operation="passthrough"))
    assert value(made, "local_ai_requests_total", endpoint="passthrough", model="",
                 provider="", status="200") == 1  # fmt: skip


def test_counts_broken_streams() -> None:
    made = metrics()
    assert value(made, "local_ai_broken_streams_total") == 0
    made.observe(record(code="upstream_stream_broken"))
    made.observe(record(code="upstream_error"))
    assert value(made, "local_ai_broken_streams_total") == 1


def test_counts_attempts_that_failed_and_who_took_over() -> None:
    made = metrics()
    failed = Attempt("spark", "q", 502, "upstream_error")
    made.observe(record(attempts=[failed, failed, Attempt("desk", "q", 200)]))
    made.observe(record(attempts=[failed], code="upstream_error", status=502))
    made.observe(record(attempts=[Attempt("desk", "q", 200)]))
    labels = {"provider": "spark", "code": "upstream_error"}
    assert value(made, "local_ai_failed_attempts_total", **labels) == 3
    labels = {"from_provider": "spark", "to_provider": "desk"}
    assert value(made, "local_ai_provider_failover_total", **labels) == 1
    named = [name for name, _ in samples(made) if name.endswith("failover_total")]
    assert len(named) == 1, "asking the same again is no failover"


def test_counts_which_door_was_used() -> None:
    made = metrics()
    made.fast_path(taken=True, reason="ordinary").count += 1
    made.fast_path(taken=True, reason="ordinary").count += 1
    made.fast_path(taken=False, reason="expect").count += 1
    name = "local_ai_fast_path_total"
    assert value(made, name, taken="true", reason="ordinary") == 2
    assert value(made, name, taken="false", reason="expect") == 1


def test_gauges_are_read_when_somebody_looks() -> None:
    made = metrics()
    assert value(made, "local_ai_active_requests") == 0
    active = 3
    made.feed(
        Feeds(
            active=lambda: active,
            providers=lambda: [
                ProviderGauges("spark", 2, True, 4, 3, 1, 5),
                ProviderGauges("desk"),
            ],
            connections=lambda: [("spark", "idle", 4), ("spark", "busy", 2)],
            queue=lambda: (7, 1.5),
        )
    )
    assert value(made, "local_ai_active_requests") == 3
    active = 0
    assert value(made, "local_ai_active_requests") == 0
    assert value(made, "local_ai_provider_active_requests", provider="spark") == 2
    assert value(made, "local_ai_provider_health", provider="spark") == 1
    assert value(made, "local_ai_provider_health", provider="desk") == 0
    of_spark = {
        name: value(made, f"local_ai_provider_{name}", provider="spark")
        for name in ("slots", "queue_length", "circuits_open", "cooldowns")
    }
    assert of_spark == {
        "slots": 4, "queue_length": 3, "circuits_open": 1, "cooldowns": 5,
    }  # fmt: skip
    assert value(made, "local_ai_provider_slots", provider="desk") is None, "no limit"
    assert value(made, "local_ai_provider_queue_length", provider="desk") == 0
    assert value(made, "local_ai_queue_length") == 7
    assert value(made, "local_ai_queue_oldest_seconds") == 1.5
    name = "local_ai_upstream_connections"
    assert value(made, name, provider="spark", state="idle") == 4
    assert value(made, name, provider="spark", state="busy") == 2


def test_instances_share_nothing() -> None:
    first, second = metrics(), metrics()
    first.observe(record())
    assert not any(name == "local_ai_requests_total" for name, _ in samples(second))


@pytest.mark.parametrize(
    "accept", [None, "*/*", "text/plain;version=0.0.4", "text/plain;version=odd"]
)
def test_answers_text_by_default(accept: str | None) -> None:
    body, content_type = metrics().exposition(accept)
    assert content_type.startswith("text/plain; version=0.0.4")
    assert any(True for _ in read_text(body.decode()))


@pytest.mark.parametrize(
    "accept",
    ["application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
     "application/openmetrics-text; version=odd"],
)  # fmt: skip
def test_answers_openmetrics_when_asked(accept: str) -> None:
    made = metrics()
    made.observe(record())
    body, content_type = made.exposition(accept)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    families = {family.name for family in read_openmetrics(body.decode())}
    assert {"local_ai_requests", "local_ai_active_requests"} <= families


def test_records_of_one_kind_are_counted_as_ever() -> None:
    plain, remembering = metrics(), metrics()
    memo: dict[object, Any] = {}
    for n in range(1, 4):
        facts: dict[str, Any] = {
            "stream": False,
            "ended_at": 100.0 + n,
            "prompt_tokens": n,
            "completion_tokens": 10 * n,
            "cost_usd": 0.5 * (n - 1),
            "overhead_s": 0.0007 * n,
            "attempts": [Attempt("spark", "q", 200)],
        }
        plain.observe(record(**facts))
        remembering.observe(record(**facts, memo=memo))
    assert memo
    assert samples(remembering) == samples(plain)


def test_a_name_that_is_known_no_more_is_no_label_of_remembered_records() -> None:
    made = metrics()
    facts: dict[str, Any] = {"stream": False, "cost_usd": 0.0, "memo": {}}
    facts |= {"overhead_s": 0.0}
    made.observe(record(**facts))
    made.know_models({"llama"})
    made.observe(record(**facts))
    for model in ("qwen", "other"):
        labels = {"model": model, "provider": "spark", "endpoint": "chat"}
        assert value(made, "local_ai_requests_total", status="200", **labels) == 1
