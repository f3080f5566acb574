from __future__ import annotations

from proxy.observability.spreads import Spread, histogram


def test_buckets_are_cumulative_and_the_last_holds_all() -> None:
    spread = Spread((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        spread.observe(value)
    assert spread.buckets() == [("0.1", 2), ("1.0", 3), ("+Inf", 4)]
    assert spread.total == 7.65


def test_what_was_counted_meanwhile_is_counted_once() -> None:
    spread = Spread((0.1, 1.0))
    for value in (7.0, 1.0, 0.05):
        spread.observe(value)
        spread.count()
        spread.count()
    spread.observe(0.5)
    assert spread.buckets() == [("0.1", 1), ("1.0", 3), ("+Inf", 4)]
    assert spread.total == 8.55


def test_a_histogram_has_a_row_for_each_place() -> None:
    spread = Spread((1.0,))
    spread.observe(0.25)
    family = histogram("x_seconds", "Times.", {("chat", "box"): spread})
    told = {(s.name, s.labels.get("le")): s.value for s in family.samples}
    assert told == {
        ("x_seconds_bucket", "1.0"): 1,
        ("x_seconds_bucket", "+Inf"): 1,
        ("x_seconds_count", None): 1,
        ("x_seconds_sum", None): 0.25,
    }
