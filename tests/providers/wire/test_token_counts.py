"""Counting tokens at Gemini for callers of Anthropic's count_tokens."""

from __future__ import annotations

import pytest

from providers.wire.token_counts import read_gemini, write_gemini, write_messages


def test_the_whole_request_is_counted() -> None:
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    assert write_gemini(body, "gemini-3.8-flash") == {
        "generateContentRequest": {"model": "models/gemini-3.8-flash", **body}
    }
    tuned = write_gemini({}, "tunedModels/x")["generateContentRequest"]
    assert tuned == {"model": "tunedModels/x"}


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"totalTokens":11,"cachedContentTokenCount":4}', 11),
        (b'{"totalTokens":0}', 0),
        (b'{"totalTokens":-1}', None),
        (b'{"totalTokens":true}', None),
        (b'{"totalTokens":"11"}', None),
        (b"{}", None),
        (b"[]", None),
        (b"nothing", None),
    ],
)
def test_an_answer_is_read_or_there_is_none(body: bytes, tokens: int | None) -> None:
    assert read_gemini(body) == tokens


def test_the_caller_gets_anthropics_shape() -> None:
    assert write_messages(11) == {"input_tokens": 11}
