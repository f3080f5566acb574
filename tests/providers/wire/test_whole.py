from pathlib import Path

import pytest

from providers.wire.dialect import Dialect
from providers.wire.usage import Usage
from providers.wire.whole import LIMIT_BYTES, read_error, read_response_id, read_usage

STREAMS = Path(__file__).parents[2] / "streams"


@pytest.mark.parametrize(
    ("dialect", "name", "usage"),
    [
        (Dialect.CHAT, "llamacpp_chat.json", Usage(21, 4, cached=20)),
        (Dialect.CHAT, "llamacpp_embeddings.json", Usage(7)),
        (Dialect.RESPONSES, "llamacpp_responses.json", Usage(21, 4, cached=20)),
        (Dialect.MESSAGES, "llamacpp_messages.json", Usage(21, 4, cached=20)),
    ],
)
def test_recorded_replies(dialect: Dialect, name: str, usage: Usage) -> None:
    body = (STREAMS / name).read_bytes()
    assert read_usage(dialect, body) == usage
    assert read_error(body) is None


def test_ollama_counts_at_the_top() -> None:
    body = b'{"message":{"content":"x"},"done":true,"prompt_eval_count":5}'
    assert read_usage(Dialect.OLLAMA, body) == Usage(5)
    assert read_usage(Dialect.OLLAMA, b'{"models":[]}') is None


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"<html>", b'{"usage":null}', b'{"usage":{}}', b'{"usage":',
     b'{"usage":[1]}', b"[" * 100_000, b'{"a":' * 100_000],
)  # fmt: skip
def test_no_count_is_no_usage(dialect: Dialect, body: bytes) -> None:
    assert read_usage(dialect, body) is None


def test_half_a_surrogate_pair_hides_nothing() -> None:
    body = b'{"choices":[{"text":"\\ud83d"}],"usage":{"prompt_tokens":4}}'
    assert read_usage(Dialect.CHAT, body) == Usage(4)


def test_a_body_beyond_the_limit_is_not_read() -> None:
    body = (
        b'{"pad":"' + b"x" * LIMIT_BYTES + b'","error":"e","usage":{"prompt_tokens":4}}'
    )
    assert read_usage(Dialect.CHAT, body) is None
    assert read_error(body) is None
    assert read_response_id(body) is None


def test_a_response_has_an_id() -> None:
    body = (STREAMS / "llamacpp_responses.json").read_bytes()
    assert read_response_id(body) == "resp_RRGkrTeImvsBdaJhePOKdTu7z4kVJHGT"
    assert read_response_id(b'{"object":"chat.completion","id":"x"}') is None
    assert read_response_id(b'{"object":"response","id":7}') is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"code":502,"message":"gone"}}', "gone"),
        (b'{"error":"text","choices":[]}', "text"),
        (b'[{"error":{"code":400,"message":"bad","status":"X"}}]', "bad"),
        (b'{"type":"error","error":{"type":"x","message":"m"}}', "m"),
    ],
)
def test_an_error_in_disguise(body: bytes, message: str) -> None:
    assert read_error(body) == message


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices":[{"message":{"content":"\\"error\\""}}],"error":null}',
        b'{"choices":[{}],"error":{"message":"warning"}}',
        b'{"content":[{"text":"x"}],"x":{"error":1}}',
        b'{"object":"response","status":"failed","error":{"message":"m"},"output":[]}',
        b'{"a":1}',
        b'[{"error":1},{"error":2}]',
        b'["error"',
    ],
)
def test_an_answer_is_no_error(body: bytes) -> None:
    assert read_error(body) is None
