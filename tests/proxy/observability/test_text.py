from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.observability.text import printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("größe 模型", "größe 模型"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b31m\x85", "\\x9b31m\\x85"),
        ("a\u2028b\u202ec", "a\\u2028b\\u202ec"),
        ("\ud800", "\\ud800"),
        ("\x00\x7f", "\\x00\\x7f"),
    ],
)
def test_escapes_what_is_not_printable(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_cuts_what_is_long() -> None:
    assert printable("x" * 100, limit=5) == "xxxxx…"


@given(st.text(), st.integers(min_value=1, max_value=40))
def test_is_one_short_line_of_valid_text(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit + 1
    shown.encode()
