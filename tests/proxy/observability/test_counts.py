from __future__ import annotations

from typing import Any

import pytest

from proxy.core.types import Attempt
from proxy.observability.counts import Counts
from tests.parts.records import record_of

STREAM: dict[str, Any] = {
    "id": "req_1", "operation": "chat", "started_at": 100.0, "stream": True,
    "first_byte_at": 100.2, "ended_at": 101.5,
}  # fmt: skip


def observed(*records: dict[str, Any]) -> dict[str, float]:
    """What is told of these, by the names of its samples."""
    counts = Counts()
    for facts in records:
        counts.series("chat", "qwen", "box", 200).observe(record_of(**STREAM | facts))
    return {
        sample.name + sample.labels.get("le", ""): sample.value
        for family in counts.collect()
        for sample in family.samples
    }


def test_the_mean_time_between_events_is_observed_once_a_stream() -> None:
    told = observed({"events": 14}, {"events": 27})
    assert told["local_ai_inter_chunk_seconds_count"] == 2
    gaps_s = told["local_ai_inter_chunk_seconds_sum"]
    assert gaps_s == pytest.approx(1.3 / 13 + 1.3 / 26)
    assert told["local_ai_inter_chunk_seconds_bucket0.03"] == 0
    assert told["local_ai_inter_chunk_seconds_bucket0.075"] == 1


@pytest.mark.parametrize(
    "facts",
    [
        {"events": 1},
        {"events": 0},
        {"events": 9, "stream": False},
        {"events": 9, "code": "upstream_stream_broken"},
        {"events": 9, "first_byte_at": None},
    ],
)
def test_what_is_no_good_stream_of_several_events_has_none(
    facts: dict[str, Any],
) -> None:
    assert observed(facts)["local_ai_inter_chunk_seconds_count"] == 0


def test_the_overhead_of_what_was_sent_is_observed() -> None:
    told = observed({"overhead_s": 0.0004}, {"overhead_s": None})
    assert told["local_ai_overhead_seconds_count"] == 1
    assert told["local_ai_overhead_seconds_sum"] == pytest.approx(0.0004)
    assert told["local_ai_overhead_seconds_bucket0.00025"] == 0
    assert told["local_ai_overhead_seconds_bucket0.0005"] == 1


def test_attempts_that_failed_are_counted_though_another_made_it_good() -> None:
    counts = Counts()
    record = record_of(**STREAM)
    record.attempts = [Attempt("a", None, 503, "model_loading"), Attempt("b", None)]
    counts.note_failures(record)
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for family in counts.collect()
        for sample in family.samples
    }
    assert told["local_ai_failed_attempts_total", "a", "model_loading"] == 1
    assert told["local_ai_provider_failover_total", "a", "b"] == 1


def test_times_do_not_pile_up_until_somebody_asks() -> None:
    counts = Counts()
    series = counts.series("chat", "qwen", "box", 200)
    for _ in range(1000):
        series.observe(record_of(**STREAM))
    (duration,) = counts._durations.values()
    assert len(duration._waiting) < 100
    assert duration.buckets()[-1] == ("+Inf", 1000)
    assert duration.total == 1500.0
