from __future__ import annotations

import orjson
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read

from proxy.observability.exposition import dump, merge, render
from proxy.observability.gauges import Feeds, ProviderGauges
from proxy.observability.metrics import Metrics
from tests.parts.records import record_of


def process(
    requests: int, *, well: bool, active: int, oldest_s: float, model: str = "tiny"
) -> object:
    """What one process says, as others hear it."""
    metrics = Metrics()
    metrics.know_models({"tiny", "large"})
    gauges = [ProviderGauges("gpu", active, well, slots=4)]
    metrics.feed(Feeds(providers=lambda: gauges, queue=lambda: (1, oldest_s)))
    for _ in range(requests):
        facts = {
            "id": "req",
            "operation": "chat",
            "model": model,
            "provider": "gpu",
            "status": 200,
        }
        metrics.observe(record_of(**facts, started_at=0.0, ended_at=0.3))
    return orjson.loads(orjson.dumps(dump(metrics.registry)))


def values(*dumps: object) -> dict[str, float]:
    body, _ = render(merge(dumps), None)  # type: ignore[arg-type]
    return {
        f"{one.name}{''.join(sorted(one.labels.values()))}": one.value
        for family in read(body.decode())
        for one in family.samples
    }


def test_what_is_counted_adds_up() -> None:
    one = process(2, well=True, active=1, oldest_s=1)
    other = process(3, well=True, active=2, oldest_s=1)
    stranger = process(1, well=True, active=0, oldest_s=1, model="large")
    all_ = values(one, other, stranger)
    assert all_["local_ai_requests_total200chatgputiny"] == 5
    assert all_["local_ai_requests_total200chatgpularge"] == 1
    assert all_["local_ai_request_duration_seconds_countchatgpu"] == 6
    assert all_["local_ai_request_duration_seconds_bucket0.25chatgpu"] == 0
    assert all_["local_ai_request_duration_seconds_bucket0.5chatgpu"] == 6
    assert all_["local_ai_provider_active_requestsgpu"] == 3
    assert all_["local_ai_queue_length"] == 3
    assert all_["local_ai_workers"] == 3


def test_of_what_each_says_for_itself_one_is_right() -> None:
    one = process(0, well=False, active=0, oldest_s=1.5)
    other = process(0, well=True, active=0, oldest_s=0.5)
    all_ = values(one, other)
    assert all_["local_ai_provider_healthgpu"] == 1
    assert all_["local_ai_provider_slotsgpu"] == 4
    assert all_["local_ai_queue_oldest_seconds"] == 1.5


def test_it_reads_as_that_of_one_process_in_both_formats() -> None:
    one = process(2, well=True, active=1, oldest_s=1)
    plain, kind = render(merge([one]), None)  # type: ignore[list-item]
    assert kind.startswith("text/plain")
    assert list(read(plain.decode()))
    modern, kind = render(merge([one, one]), "application/openmetrics-text")  # type: ignore[list-item]
    assert kind.startswith("application/openmetrics-text")
    assert list(read_openmetrics(modern.decode()))
