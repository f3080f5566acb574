from __future__ import annotations

import pytest

from proxy.cache.fitness import is_fit
from proxy.cache.key import Asked
from tests.proxy.cache import replies


def fit(operation: str, body: bytes, *, status: int = 200, bounded: bool = False) -> bool:  # fmt: skip
    asked = Asked(b"k", operation, False, False, bounded)
    return is_fit(asked, status, is_stream=body.startswith((b"data", b"event")), body=body)  # fmt: skip


@pytest.mark.parametrize("operation", replies.WHOLES)
def test_whole_and_good_replies_are_kept(operation: str) -> None:
    assert fit(operation, replies.WHOLES[operation])
    assert fit(operation, replies.STREAMS[operation])
    assert not fit(operation, replies.WHOLES[operation], status=400)
    assert not fit(operation, b"")


@pytest.mark.parametrize("operation", replies.WHOLES)
def test_no_reply_that_was_cut_short_is_kept(operation: str) -> None:
    whole, stream = replies.WHOLES[operation], replies.STREAMS[operation]
    for end in range(1, len(whole)):
        assert not fit(operation, whole[:-end])
    events = stream.split(b"\n\n")[:-1]
    for count in range(len(events)):
        assert not fit(operation, b"".join(e + b"\n\n" for e in events[:count]))


@pytest.mark.parametrize("operation", replies.STREAMS)
def test_streams_with_other_line_ends_are_kept_too(operation: str) -> None:
    assert fit(operation, replies.STREAMS[operation].replace(b"\n", b"\r\n"))
    assert fit(operation, replies.STREAMS[operation] + b": keep-alive\n\n")


def test_an_embedding_is_kept_and_an_error_with_status_200_is_not() -> None:
    assert fit("embeddings", b'{"object":"list","data":[{"embedding":[0.1]}]}')
    for operation in ("embeddings", "chat", "messages"):
        assert not fit(operation, b'{"error":{"message":"no"}}')
        assert not fit(operation, b"[]")
        assert not fit(operation, b"text")


def test_a_stream_that_ends_with_an_error_is_not_kept() -> None:
    chunk = replies.chat_chunk({"content": "x"}, "stop")
    for error in ({"error": {"message": "no"}}, {"error": "no"}):
        assert not fit("chat", replies.sse(chunk, error, "[DONE]"))
        assert not fit("chat", replies.sse(chunk, error))
    failed = replies.response_stream("failed", error={"code": "x", "message": "no"})
    assert not fit("responses", failed)
    stop = {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}
    assert not fit("messages", replies.message_stream() + replies.sse(stop, named=True))


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("chat", replies.chat("length")),
        ("chat", replies.chat_stream("length")),
        ("completions", replies.completion("length")),
        ("messages", replies.message("max_tokens")),
        ("messages", replies.message_stream("max_tokens")),
        (
            "responses",
            replies.response(
                "incomplete", incomplete_details={"reason": "max_output_tokens"}
            ),
        ),
        (
            "responses",
            replies.response_stream(
                "incomplete", incomplete_details={"reason": "max_output_tokens"}
            ),
        ),
    ],
)
def test_a_reply_that_ended_at_a_bound_is_whole_only_if_the_caller_set_it(
    operation: str, body: bytes
) -> None:
    assert not fit(operation, body)
    assert fit(operation, body, bounded=True)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("chat", replies.chat(None)),
        ("chat", replies.chat("error")),
        ("chat", b'{"choices":[]}'),
        ("chat", replies.sse("[DONE]")),
        ("messages", replies.message("pause_turn")),
        ("messages", replies.message("model_context_window_exceeded")),
        ("responses", replies.response("in_progress")),
        ("responses", replies.response("queued")),
        (
            "responses",
            replies.response(
                "incomplete", incomplete_details={"reason": "content_filter"}
            ),
        ),
    ],
)
def test_what_is_no_end_is_never_kept(operation: str, body: bytes) -> None:
    assert not fit(operation, body, bounded=True)


@pytest.mark.parametrize(
    ("operation", "kind", "kept"),
    [
        ("messages", "server_tool_use", False),
        ("messages", "tool_use", True),
        ("responses", "web_search_call", False),
        ("responses", "code_interpreter_call", False),
        ("responses", "mcp_call", False),
        ("responses", "function_call", True),
        ("responses", "custom_tool_call", True),
    ],
)
def test_what_a_providers_own_tool_had_a_part_in_is_not_kept(
    operation: str, kind: str, kept: bool
) -> None:
    item = {"type": kind, "id": "x", "name": "f", "input": {}}
    if operation == "messages":
        body = replies.message("tool_use", content=[item])
    else:
        body = replies.response(output=[item])
    assert fit(operation, body) is kept


def test_text_about_such_tools_is_only_text() -> None:
    assert fit("chat", replies.chat(content='{"type": "web_search_call"}'))
