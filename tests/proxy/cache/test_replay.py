from __future__ import annotations

import json
from typing import Any

import pytest

from providers.wire.dialect import Dialect, Framing
from providers.wire.sse import data_of
from providers.wire.translate.codecs import CODECS
from providers.wire.translate.reply import Reply, assemble
from providers.wire.translate.streams import Context
from providers.wire.usage import Usage
from providers.wire.watches import watch_for
from proxy.cache.fitness import is_fit
from proxy.cache.key import Asked
from proxy.cache.replay import as_events, as_whole
from proxy.cache.responses import Stored
from tests.proxy.cache import replies

DIALECTS = {
    "chat": Dialect.CHAT,
    "messages": Dialect.MESSAGES,
    "responses": Dialect.RESPONSES,
}


def context(*, include_usage: bool = True) -> Context:
    return Context("id1", 1, "m", include_usage=include_usage)


def whole(operation: str, body: bytes | None = None) -> Stored:
    return Stored(operation, False, body or replies.WHOLES[operation])


def stream(operation: str, body: bytes | None = None) -> Stored:
    return Stored(operation, True, body or replies.STREAMS[operation])


def read_stream(operation: str, events: list[bytes]) -> Reply:
    reader = CODECS[DIALECTS[operation]].stream_reader("x")
    return assemble([*reader.feed(b"".join(events)), *reader.close()])


def payloads(events: list[bytes]) -> list[Any]:
    return [json.loads(d) for e in events if (d := data_of(e)) != b"[DONE]"]


@pytest.mark.parametrize("operation", replies.WHOLES)
def test_in_its_own_form_a_reply_goes_as_it_came(operation: str) -> None:
    assert as_whole(whole(operation), context()) == replies.WHOLES[operation]
    events = as_events(stream(operation), context())
    assert b"".join(events) == replies.STREAMS[operation]
    assert all(event.endswith(b"\n\n") for event in events)


@pytest.mark.parametrize("operation", DIALECTS)
def test_a_whole_reply_becomes_a_stream_that_says_the_same(operation: str) -> None:
    events = as_events(whole(operation), context())
    told = read_stream(operation, events)
    meant = CODECS[DIALECTS[operation]].read_reply(replies.WHOLES[operation], "x")
    assert told.complete
    assert told.failure is None
    assert told.id == meant.id
    assert told.choices == meant.choices
    assert told.usage is not None
    assert (told.usage.prompt, told.usage.completion) == (5, 7)


@pytest.mark.parametrize("operation", DIALECTS)
def test_a_stream_becomes_a_whole_reply_that_says_the_same(operation: str) -> None:
    codec = CODECS[DIALECTS[operation]]
    told = codec.read_reply(as_whole(stream(operation), context()), "x")
    meant = codec.read_reply(replies.WHOLES[operation], "x")
    assert told.choices == meant.choices
    assert told.id == meant.id
    assert told.usage == meant.usage


@pytest.mark.parametrize("operation", replies.WHOLES)
def test_either_form_made_of_the_other_is_complete_and_fit_itself(
    operation: str,
) -> None:
    asked = Asked(b"k", operation, False, False, False)
    events = as_events(whole(operation), context())
    body = b"".join(events)
    assert is_fit(asked, 200, is_stream=True, body=body)
    dialect = DIALECTS.get(operation, Dialect.CHAT)
    watch = watch_for(dialect, Framing.SSE, withhold_usage=False, terminated=True)
    for event in events:
        assert not watch.is_complete()
        watch.see(event)
    assert watch.is_complete()
    made = as_whole(stream(operation), context())
    assert is_fit(asked, 200, is_stream=False, body=made)


@pytest.mark.parametrize("operation", replies.WHOLES)
def test_text_comes_in_pieces(operation: str) -> None:
    events = as_events(whole(operation), context())
    assert len([event for event in events if b"jumps" in event or b"fox" in event]) > 2


@pytest.mark.parametrize("operation", ["chat", "completions"])
@pytest.mark.parametrize("form", [whole, stream])
def test_the_usage_event_comes_to_those_who_ask_for_it(
    operation: str, form: Any
) -> None:
    asked_for = payloads(as_events(form(operation), context()))
    assert [one["choices"] for one in asked_for if one.get("usage")] == [[]]
    others = payloads(as_events(form(operation), context(include_usage=False)))
    assert not any(one.get("usage") for one in others)
    assert all(one["choices"] for one in others)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("chat", replies.chat_stream(usage=False)),
        ("completions", replies.completion_stream(usage=False)),
    ],
)
def test_usage_that_was_withheld_from_the_first_is_told_to_the_next(
    operation: str, body: bytes
) -> None:
    kept = Stored(operation, True, body, Usage(prompt=5, completion=7))
    events = as_events(kept, context())
    assert data_of(events[-1]) == b"[DONE]"
    last = payloads(events)[-1]
    assert last["choices"] == []
    assert last["id"] == payloads(events)[0]["id"]
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == (5, 7)  # fmt: skip
    made = json.loads(as_whole(kept, context()))
    assert made["usage"]["total_tokens"] == 12
    assert b"".join(as_events(kept, context(include_usage=False))) == body


def test_tool_calls_and_reasoning_survive_the_change_of_form() -> None:
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "f", "arguments": '{"a":1}'},
    }
    body = replies.chat(
        "tool_calls", content=None, tool_calls=[call], reasoning_content="hm"
    )
    events = as_events(whole("chat", body), context())
    made = as_whole(stream("chat", b"".join(events)), context())
    message = json.loads(made)["choices"][0]["message"]
    assert message["tool_calls"] == [call]
    assert message["reasoning_content"] == "hm"


def test_several_choices_of_a_completion_stay_apart() -> None:
    choices = [
        {"index": n, "text": f"text {n} " * 20, "finish_reason": "stop"}
        for n in range(3)
    ]
    body = json.dumps({**json.loads(replies.completion()), "choices": choices}).encode()
    events = as_events(whole("completions", body), context())
    made = json.loads(as_whole(stream("completions", b"".join(events)), context()))
    assert made["choices"] == choices


def test_an_empty_text_still_is_a_choice() -> None:
    choice = {"index": 0, "text": "", "finish_reason": "stop"}
    body = json.dumps({"id": "x", "choices": [choice]}).encode()
    events = as_events(whole("completions", body), context())
    assert payloads(events) == [{"id": "x", "choices": [choice]}]


def test_comments_that_kept_a_stream_alive_are_not_kept() -> None:
    body = b": keep-alive\n\n" + replies.chat_stream()
    assert b"".join(as_events(stream("chat", body), context())) == replies.chat_stream()


def test_what_only_a_whole_response_says_is_not_lost_from_its_stream() -> None:
    body = replies.response_stream(instructions="be kind", tools=[{"type": "function"}])
    made = json.loads(as_whole(stream("responses", body), context()))
    assert made["instructions"] == "be kind"
    assert made["tools"] == [{"type": "function"}]
