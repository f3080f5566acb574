from __future__ import annotations

import pytest

from proxy.limits.headers import duration, heading, rate_lines
from proxy.state.base import Level, Rate


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"), (-1.0, "0s"), (0.0004, "1ms"), (0.012, "12ms"), (0.9994, "1s"),
        (1.0, "1s"), (1.5, "1.5s"), (8.6401, "8.641s"), (59.9999, "1m0s"),
        (60.0, "1m0s"), (360.0, "6m0s"), (61.2, "1m2s"), (3600.0, "1h0m0s"),
        (86_399.5, "24h0m0s"),
    ],
)  # fmt: skip
def test_a_span_reads_as_clients_parse_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_tightest_allowance_is_told() -> None:
    wide = heading("requests", Rate(100.0, 60.0)), Level(80.0, 12.0, 0.0)
    tight = heading("requests", Rate(20.0, 1.0)), Level(3.9999999, 0.75, 0.0)
    headings, levels = zip(wide, tight, strict=True)
    assert rate_lines("requests", headings, levels) == (
        "x-ratelimit-limit-requests: 20\r\n"
        "x-ratelimit-remaining-requests: 4\r\n"
        "x-ratelimit-reset-requests: 750ms\r\n"
    )


def test_nothing_is_told_of_what_is_not_limited() -> None:
    assert rate_lines("tokens", (), ()) == ""
