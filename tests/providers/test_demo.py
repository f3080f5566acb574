"""The demo server: HTTP framing, dialects, faults."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.demo import MAX_BODY_BYTES, MAX_HEAD_BYTES, Responder, Step
from providers.demo_answer import DemoError, embeddings
from providers.demo_replies import error_body, models

HELLO = [{"role": "user", "content": "hello there"}]


def post(path: str, value: Any, *fields: str) -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    head = [f"POST {path} HTTP/1.1", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*head, "", ""]).encode() + body


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", *fields, "", ""]).encode()


def wire(steps: list[Step]) -> bytes:
    return b"".join(step.data for step in steps)


def parse(raw: bytes) -> tuple[int, dict[str, str], bytes, bytes]:
    """Status, fields, body and what follows the first reply."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    fields = dict(text.split(": ", 1) for text in lines)
    if fields.get("transfer-encoding") != "chunked":
        length = int(fields["content-length"])
        return int(line.split()[1]), fields, rest[:length], rest[length:]
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        count = int(size, 16)
        chunk, rest = rest[:count], rest[count + 2 :]
        if not count:
            return int(line.split()[1]), fields, body, rest
        body += chunk


def answer(request: bytes) -> tuple[int, Any]:
    status, _, body, rest = parse(wire(Responder().feed(request)))
    assert rest == b""
    return status, json.loads(body)


def events(path: str, **members: Any) -> list[dict[str, Any]]:
    request = post(path, {"model": "demo", "stream": True, **members})
    status, fields, body, rest = parse(wire(Responder().feed(request)))
    assert (status, rest) == (200, b"")
    assert fields["content-type"] == "text/event-stream"
    assert body.endswith(b"\n\n")
    lines = [line for line in body.split(b"\n") if line.startswith(b"data: ")]
    return [{} if line == b"data: [DONE]" else json.loads(line[6:]) for line in lines]


# --- framing

PIPELINE = (
    get("/v1/models")
    + post("/v1/chat/completions", {"model": "demo", "messages": HELLO, "stream": True, "max_tokens": 2})
    + post("/v1/embeddings", {"model": "demo-embed", "input": "é"})
    + get("/nowhere", "Connection: close")
)  # fmt: skip


def test_every_split_of_the_same_requests_gets_the_same_reply() -> None:
    whole = wire(Responder().feed(PIPELINE))
    for cut in range(len(PIPELINE) + 1):
        responder = Responder()
        steps = responder.feed(PIPELINE[:cut]) + responder.feed(PIPELINE[cut:])
        assert wire(steps) == whole
        assert steps[-1].close


def test_byte_by_byte_is_the_same_too() -> None:
    responder = Responder()
    steps = [
        s for i in range(len(PIPELINE)) for s in responder.feed(PIPELINE[i : i + 1])
    ]
    assert wire(steps) == wire(Responder().feed(PIPELINE))


def test_replies_come_in_the_order_of_the_requests() -> None:
    rest, statuses = wire(Responder().feed(PIPELINE)), []
    while rest:
        status, _, _, rest = parse(rest)
        statuses.append(status)
    assert statuses == [200, 200, 200, 404]


def test_after_hanging_up_nothing_is_answered() -> None:
    responder = Responder()
    assert responder.feed(get("/health", "connection: close"))[-1].close
    assert responder.feed(get("/health")) == []


def test_a_connection_is_kept_unless_somebody_says_otherwise() -> None:
    assert not any(step.close for step in Responder().feed(get("/health")))
    old = b"GET /health HTTP/1.0\r\n\r\n"
    assert Responder().feed(old)[-1].close


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /health HTTP/2\r\n\r\n", 400),
        (get("/health", "no colon"), 400),
        (get("/health", "name : value"), 400),
        (get("/health", "Content-Length: -1"), 400),
        (get("/health", "Content-Length: 1e3"), 400),
        (get("/health", "Transfer-Encoding: chunked"), 411),
        (get("/health", f"Content-Length: {MAX_BODY_BYTES + 1}"), 413),
        (get("/health", "Content-Length: " + "9" * 5000), 413),
        (b"GET /" + b"x" * MAX_HEAD_BYTES, 431),
    ],
)
def test_what_is_not_http_is_refused_and_hung_up_on(
    request_: bytes, status: int
) -> None:
    steps = Responder().feed(request_)
    assert parse(wire(steps))[0] == status
    assert steps[-1].close


@given(st.binary(max_size=200))
def test_no_bytes_upset_it(data: bytes) -> None:
    responder = Responder()
    for step in responder.feed(data + b"\r\n\r\n"):
        assert step.delay_s >= 0


@given(st.dictionaries(
    st.sampled_from(["messages", "prompt", "input", "tools", "tool_choice", "stream",
                     "max_tokens", "response_format", "dimensions", "text", "system"]),
    st.none() | st.integers() | st.text(max_size=5) | st.lists(st.none() | st.integers(), max_size=2)
    | st.dictionaries(st.sampled_from(["type", "name", "content"]), st.text(max_size=3), max_size=2),
))  # fmt: skip
def test_no_members_upset_it(members: dict[str, Any]) -> None:
    for path in (
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/embeddings",
        "/v1/messages/count_tokens",
    ):
        request = post(path, {**members, "model": "demo"})
        assert parse(wire(Responder().feed(request)))[0] in (200, 400)


# --- routes


def test_it_lists_its_models() -> None:
    status, listed = answer(get("/v1/models"))
    assert status == 200
    assert [entry["id"] for entry in listed["data"]] == ["demo", "demo-embed"]
    assert listed == models()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/v1/nowhere"), 404),
        (get("/v1/chat/completions"), 405),
        (post("/v1/models", {}), 405),
        (post("/v1/chat/completions", b"{"), 400),
        (post("/v1/chat/completions", []), 400),
        (post("/v1/chat/completions", {"model": "demo"}), 400),
        (post("/v1/chat/completions", {"model": "gpt", "messages": HELLO}), 404),
        (post("/v1/chat/completions", {"model": ["demo"], "messages": HELLO}), 404),
        (post("/v1/completions", {"model": "demo"}), 400),
        (post("/v1/responses", {"model": "demo"}), 400),
        (post("/v1/embeddings", {"model": "demo-embed"}), 400),
        (post("/v1/embeddings", {"model": "demo-embed", "input": []}), 400),
    ],
)
def test_a_wrong_request_is_told_so_and_the_connection_lives(
    request_: bytes, status: int
) -> None:
    steps = Responder().feed(request_)
    found, _, body, _ = parse(wire(steps))
    assert found == status
    assert json.loads(body)["error"]["message"]
    assert not any(step.close for step in steps)


def test_errors_speak_the_dialect_of_the_path() -> None:
    _, openai = answer(post("/v1/chat/completions", {"model": "x"}))
    assert openai["error"]["code"] == "model_not_found"
    _, anthropic = answer(post("/v1/messages", {"model": "x"}))
    assert anthropic["type"] == "error"
    assert json.loads(error_body("/v1/messages", 500, "m", None))["error"] == {
        "type": "api_error",
        "message": "m",
    }


# --- dialects


def test_a_chat_is_the_same_whole_and_streamed() -> None:
    members: dict[str, Any] = {"model": "demo", "messages": HELLO}
    _, whole = answer(post("/v1/chat/completions", members))
    chunks = events("/v1/chat/completions", messages=HELLO)
    deltas = [c["choices"][0]["delta"] for c in chunks[:-1]]
    text = "".join(delta.get("content", "") for delta in deltas)
    assert text == whole["choices"][0]["message"]["content"]
    assert chunks[-1] == {}
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert (
        whole["usage"]["total_tokens"]
        == whole["usage"]["prompt_tokens"] + len(deltas) - 2
    )


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("/v1/chat/completions", {"messages": HELLO}),
        ("/v1/completions", {"prompt": "x y"}),
    ],
)
def test_usage_is_in_the_last_chunk_if_and_only_if_asked(
    path: str, members: dict[str, Any]
) -> None:
    assert not any("usage" in event for event in events(path, **members))
    asked = events(path, **members, stream_options={"include_usage": True})
    assert ["usage" in event for event in asked].count(True) == 1
    assert asked[-2]["choices"] == []
    assert asked[-2]["usage"]["prompt_tokens"] == 2


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("/v1/chat/completions", {"messages": HELLO, "max_tokens": 3}),
        ("/v1/chat/completions", {"messages": HELLO, "max_completion_tokens": 3}),
        ("/v1/completions", {"prompt": "x", "max_tokens": 3}),
    ],
)
def test_the_limit_on_tokens_holds(path: str, members: dict[str, Any]) -> None:
    _, whole = answer(post(path, {"model": "demo", **members}))
    assert whole["usage"]["completion_tokens"] == 3
    assert whole["choices"][0]["finish_reason"] == "length"


def test_json_is_json_when_asked_for() -> None:
    members = {
        "model": "demo",
        "messages": HELLO,
        "response_format": {"type": "json_object"},
    }
    _, whole = answer(post("/v1/chat/completions", members))
    assert json.loads(whole["choices"][0]["message"]["content"])


TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}


def test_a_demanded_tool_is_called_in_fragments() -> None:
    chunks = events(
        "/v1/chat/completions", messages=HELLO, tools=[TOOL], tool_choice="required"
    )
    calls = [
        call
        for chunk in chunks[:-1]
        for call in chunk["choices"][0]["delta"].get("tool_calls", [])
    ]
    assert calls[0]["function"]["name"] == "look"
    assert "".join(call["function"]["arguments"] for call in calls) == "{}"
    assert ["name" in call["function"] for call in calls].count(True) == 1
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    "choice",
    [None, "auto", "none", {"type": "function", "function": {"name": "other"}}],
)
def test_a_tool_that_is_merely_offered_is_not_called(choice: Any) -> None:
    members = {
        "model": "demo",
        "messages": HELLO,
        "tools": [TOOL],
        "tool_choice": choice,
    }
    _, whole = answer(post("/v1/chat/completions", members))
    assert whole["choices"][0]["finish_reason"] == "stop"


def test_messages_stream_in_anthropics_order() -> None:
    kinds = [e["type"] for e in events("/v1/messages", messages=HELLO, max_tokens=2)]
    assert kinds == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_responses_stream_numbered_and_end_completed() -> None:
    stream = events("/v1/responses", input="hi")
    assert [event["sequence_number"] for event in stream] == list(range(len(stream)))
    assert stream[0]["type"] == "response.created"
    assert stream[0]["response"]["output"] == []
    assert stream[-1]["type"] == "response.completed"
    cut = events("/v1/responses", input="hi", max_output_tokens=2)
    assert cut[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert cut[0]["response"]["incomplete_details"] is None


def test_tokens_are_counted_where_text_is() -> None:
    blocks = [{"role": "user", "content": [{"type": "text", "text": "one two"}]}]
    members = {"model": "demo", "messages": blocks, "system": "three"}
    assert answer(post("/v1/messages/count_tokens", members)) == (
        200,
        {"input_tokens": 3},
    )


def test_vectors_are_repeatable_and_come_in_both_encodings() -> None:
    members = {"model": "demo-embed", "input": ["a", "b"], "dimensions": 8}
    _, floats = answer(post("/v1/embeddings", members))
    _, packed = answer(post("/v1/embeddings", members | {"encoding_format": "base64"}))
    for plain, coded in zip(floats["data"], packed["data"], strict=True):
        values = struct.unpack("<8f", base64.b64decode(coded["embedding"]))
        assert values == pytest.approx(plain["embedding"])
    assert floats["data"][0]["embedding"] != floats["data"][1]["embedding"]


@pytest.mark.parametrize(
    ("value", "count"), [("a", 1), (["a", "b"], 2), ([1, 2], 1), ([[1, 2], [3]], 2)]
)
def test_every_form_of_input_is_embedded(value: Any, count: int) -> None:
    assert len(embeddings({"input": value})["data"]) == count


@pytest.mark.parametrize("size", [0, -1, 4097, True, "8", None])
def test_an_impossible_size_is_refused(size: Any) -> None:
    with pytest.raises(DemoError, match="dimensions"):
        embeddings({"input": "a", "dimensions": size})


# --- faults by name


@pytest.mark.parametrize("stream", [True, False])
def test_demo_error_fails(stream: bool) -> None:
    members = {"model": "demo-error", "messages": HELLO, "stream": stream}
    status, body = answer(post("/v1/chat/completions", members))
    assert (status, body["error"]["type"]) == (500, "server_error")


def test_demo_broken_cuts_its_stream_off_after_some_events() -> None:
    members = {"model": "demo-broken", "messages": HELLO, "stream": True}
    steps = Responder().feed(post("/v1/chat/completions", members))
    raw = wire(steps)
    assert steps[-1] == Step(close=True)
    assert raw.count(b"data: ") == 4
    assert b"[DONE]" not in raw
    assert not raw.endswith(b"0\r\n\r\n")


def test_demo_broken_cuts_a_whole_reply_short() -> None:
    members = {"model": "demo-broken", "messages": HELLO}
    steps = Responder().feed(post("/v1/chat/completions", members))
    head, _, body = wire(steps).partition(b"\r\n\r\n")
    assert steps[-1].close
    assert f"content-length: {len(body)}".encode() not in head


def test_demo_slow_takes_its_time() -> None:
    def pause_s(model: str) -> float:
        members = {"model": model, "messages": HELLO, "stream": True}
        steps = Responder().feed(post("/v1/chat/completions", members))
        return sum(step.delay_s for step in steps)

    assert pause_s("demo-slow") > 10 * pause_s("demo") > 0
