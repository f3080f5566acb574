from __future__ import annotations

from proxy.observability.metrics import Metrics
from proxy.observability.state_gauges import StateGauges


def test_it_says_whether_the_state_is_there_and_what_was_done_without() -> None:
    metrics = Metrics()
    metrics.add(
        StateGauges(
            lambda: True, lambda: {"slots": 3, "rates": 0}, lambda: {"blobs": 5}
        )
    )
    text = metrics.exposition()[0].decode()
    assert "local_ai_state_up 0.0" in text
    assert 'local_ai_state_alone_total{kind="slots"} 3.0' in text
    assert 'local_ai_state_failed_total{kind="blobs"} 5.0' in text
    assert 'local_ai_state_alone_total{kind="rates"} 0.0' in text
