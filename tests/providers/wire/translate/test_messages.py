from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from anthropic.types import Message as SDKMessage
from anthropic.types import RawMessageStreamEvent
from pydantic import TypeAdapter

from providers.wire.dialect import Dialect
from providers.wire.sse import data_of, name_of, split_events
from providers.wire.translate.chat.request_reader import read_request as read_chat
from providers.wire.translate.chat.request_writer import write_request as write_chat
from providers.wire.translate.events import (
    Cited,
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Finished,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from providers.wire.translate.mapping import Report
from providers.wire.translate.messages.errors import read_error
from providers.wire.translate.messages.mapping import FINISH_OUT
from providers.wire.translate.messages.reply_writer import write_reply
from providers.wire.translate.messages.request_reader import (
    read_prompt,
    read_request,
)
from providers.wire.translate.messages.request_writer import write_request
from providers.wire.translate.messages.stream_reader import (
    MessagesStreamReader,
    read_reply,
)
from providers.wire.translate.messages.stream_writer import MessagesStreamWriter
from providers.wire.translate.messages.thinking import write_thinking
from providers.wire.translate.problems import Refused
from providers.wire.translate.reply import Choice, Reply, assemble
from providers.wire.translate.request import (
    ANY_MODEL,
    File,
    Opaque,
    Reasoning,
    Role,
    Target,
    Text,
    ToolCall,
    ToolResult,
)
from providers.wire.translate.streams import Context
from providers.wire.usage import Usage
from tests.providers.wire.translate.corpus import (
    CHAT_TOOL,
    CHAT_TURNS,
    MESSAGES_TOOL,
    MESSAGES_TURNS,
    chat,
    messages,
)

STREAMS = Path(__file__).parents[3] / "streams"
CONTEXT = Context("made", 0, "m", prompt_tokens=17)
EVENT: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)
MARK = {"type": "ephemeral"}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return messages(messages=[{"role": "user", "content": list(blocks)}])


def read(stream: bytes) -> list[Event]:
    reader = MessagesStreamReader()
    return reader.feed(stream) + reader.close()


def kinds(stream: bytes) -> list[str]:
    """Name the events of a stream, each checked against the SDK's types."""
    found = []
    for event in split_events(stream):
        parsed = EVENT.validate_json(data_of(event))
        assert parsed.type == name_of(event).decode()
        found.append(parsed.type.removeprefix("content_block_"))
    return found


def test_a_conversation_is_read_block_by_block() -> None:
    request = read_request(messages(messages=MESSAGES_TURNS, tools=[MESSAGES_TOOL]))
    answer, results = request.messages[1:]
    assert answer.parts[0] == Reasoning("Two cities.", "c2ln", Dialect.MESSAGES)
    assert answer.parts[2] == ToolCall("toolu_1", "get_weather", '{"city":"Köln"}')
    assert results.role is Role.USER
    assert results.parts[1] == ToolResult("toolu_2", (Text("sun"),), is_error=True)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (chat(), "missing_field", "max_tokens"),
        (messages(max_tokens=0), "invalid_field", "max_tokens"),
        (messages(temperature=1.5), "invalid_field", "temperature"),
        (messages(system=[{"type": "text"}]), "missing_field", "system[0].text"),
        (
            messages(messages=[{"role": "tool", "content": ""}]),
            "invalid_field",
            "messages[0].role",
        ),
        (
            user({"type": "tool_result", "tool_use_id": "x"}),
            "invalid_field",
            "messages[0].content[0].tool_use_id",
        ),
        (
            user({"type": "image", "source": {"type": "base64", "data": "x"}}),
            "missing_field",
            "messages[0].content[0].source.media_type",
        ),
        (
            messages(thinking={"type": "enabled"}),
            "missing_field",
            "thinking.budget_tokens",
        ),
        (
            messages(tool_choice={"type": "tool"}),
            "missing_field",
            "tool_choice.name",
        ),
    ],
)
def test_a_problem_names_its_field(body: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(Refused) as caught:
        read_request(body)
    assert (caught.value.code, caught.value.param) == (code, param)


def test_counting_tokens_needs_no_limit() -> None:
    assert read_prompt(chat()).max_tokens is None


def test_a_chat_conversation_alternates() -> None:
    request = read_chat(chat(messages=CHAT_TURNS, tools=[CHAT_TOOL]))
    body = write_request(request).body
    assert body["system"] == [{"type": "text", "text": "Be brief."}]
    assert [turn["role"] for turn in body["messages"]] == [
        "user",
        "assistant",
        "user",
    ]
    assert [b["type"] for b in body["messages"][2]["content"]] == [
        "tool_result",
        "tool_result",
        "text",
    ]
    assert body["messages"][1]["content"][1] == {
        "type": "tool_use",
        "id": "call_1",
        "name": "get_weather",
        "input": {"city": "Köln"},
    }


def test_results_come_first_in_their_turn() -> None:
    call = {"id": "c:1", "type": "function", "function": {"name": "f"}}
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "user", "content": "b"},
        {"role": "tool", "tool_call_id": "c:1", "content": "d"},
    ]
    body = write_request(read_chat(chat(messages=turns))).body
    assert body["messages"][1]["content"][0]["id"] == "c_1"
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "c_1", "content": "d"},
        {"type": "text", "text": "b"},
    ]


def test_a_limit_is_made_up_and_told() -> None:
    written = write_request(read_chat(chat()), Target(default_max_tokens=500))
    assert written.body["max_tokens"] == 500
    assert written.changed == (("max_tokens", "500"),)


def test_temperatures_are_cut_at_one_and_told() -> None:
    written = write_request(read_chat(chat(temperature=1.5, max_tokens=5)))
    assert written.body["temperature"] == 1
    assert written.changed == (("temperature", "1"),)


def test_hints_are_dropped_and_told() -> None:
    asked = chat(max_tokens=5, seed=1, min_p=0.1, response_format={"type": "text"})
    written = write_request(read_chat(asked))
    assert written.dropped == ("min_p", "seed")
    assert written.body == messages(
        max_tokens=5,
        messages=[{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    )


@pytest.mark.parametrize(
    "asked", [{"n": 2}, {"logprobs": True}, {"logprobs": True, "top_logprobs": 2}]
)
def test_what_cannot_be_answered_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        write_request(read_chat(chat(**asked)))
    assert caught.value.code == "unsupported_parameter"
    assert caught.value.param == next(iter(asked))


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"type": "tool", "name": "f"},
        ),
        (
            {"parallel_tool_calls": False},
            {"type": "auto", "disable_parallel_tool_use": True},
        ),
        (
            {"parallel_tool_calls": False, "tool_choice": "required"},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        ({"parallel_tool_calls": True}, None),
    ],
)
def test_tool_choices(asked: dict[str, Any], written: Any) -> None:
    body = write_request(read_chat(chat(tools=[CHAT_TOOL], **asked))).body
    assert body.get("tool_choice") == written


def test_breakpoints_stay_where_they_are_and_only_the_last_four() -> None:
    texts = [{"type": "text", "text": str(n), "cache_control": MARK} for n in range(4)]
    tool = {**MESSAGES_TOOL, "cache_control": MARK}
    turns = [{"role": "user", "content": texts}]
    written = write_request(read_request(messages(messages=turns, tools=[tool])))
    assert written.dropped == ("cache_control",)
    assert "cache_control" not in written.body["tools"][0]
    assert written.body["messages"] == turns
    fewer = [{"role": "user", "content": texts[1:]}]
    kept = write_request(read_request(messages(messages=fewer, tools=[tool])))
    assert kept.body["tools"] == [tool]
    assert kept.dropped == ()


def test_breakpoints_of_calls_and_results_are_kept() -> None:
    use = {
        "type": "tool_use",
        "id": "t",
        "name": "f",
        "input": {},
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
    }
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": "x",
        "cache_control": MARK,
    }
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    assert (
        write_request(read_request(messages(messages=turns))).body["messages"] == turns
    )


def test_the_same_dialect_gets_what_only_it_knows() -> None:
    block = {"type": "container_upload", "file_id": "f1"}
    tool = {"type": "web_search_20250305", "name": "web_search"}
    request = read_request(
        messages(
            messages=[{"role": "user", "content": [block]}],
            tools=[tool],
            service_tier="auto",
        )
    )
    assert isinstance(request.messages[0].parts[0], Opaque)
    body = write_request(request).body
    assert body["messages"][0]["content"] == [block]
    assert body["tools"] == [tool]
    assert body["service_tier"] == "auto"


def test_documents_keep_their_kind() -> None:
    text = {"type": "text", "media_type": "text/plain", "data": "abc"}
    block = {"type": "document", "source": text, "title": "a.txt"}
    request = read_request(user(block))
    part = request.messages[0].parts[0]
    assert isinstance(part, File)
    assert (part.text, part.name) == ("abc", "a.txt")
    assert write_request(request).body["messages"][0]["content"] == [block]


def test_a_prefilled_answer_loses_its_trailing_space() -> None:
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "It is "},
    ]
    body = write_request(read_chat(chat(messages=turns))).body
    assert body["messages"][1]["content"] == [{"type": "text", "text": "It is"}]


def thinking(target: Target = ANY_MODEL, **asked: Any) -> dict[str, Any]:
    body = write_request(read_chat(chat(max_tokens=10_000, **asked)), target).body
    names = ("thinking", "output_config", "temperature", "top_k")
    return {name: body[name] for name in names if name in body}


def test_an_effort_becomes_a_budget_below_the_limit() -> None:
    assert thinking(reasoning_effort="low") == {
        "thinking": {"type": "enabled", "budget_tokens": 1024}
    }
    assert thinking(reasoning_effort="high") == {
        "thinking": {"type": "enabled", "budget_tokens": 8000}
    }
    assert thinking(reasoning_effort="none") == {"thinking": {"type": "disabled"}}


def test_a_limit_that_was_made_up_grows_by_the_budget() -> None:
    written = write_request(read_chat(chat(reasoning_effort="high")))
    assert written.body["max_tokens"] == 8192 + 24576
    assert written.changed == (("max_tokens", "32768"),)


def test_a_strange_block_in_a_result_is_kept_for_its_own() -> None:
    block = {"type": "tool_reference", "tool_name": "f"}
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [block]}
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    request = read_request(messages(messages=turns))
    assert write_request(request).body["messages"] == turns
    with pytest.raises(Refused) as caught:
        write_chat(request)
    assert caught.value.param == "messages[2].content[0].content[0]"


def test_newer_models_take_the_effort_itself() -> None:
    target = Target(thinks_by_effort=True)
    assert thinking(target, reasoning_effort="high", temperature=1) == {
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
        "temperature": 1,
    }


def test_a_budget_drives_out_what_does_not_go_with_it() -> None:
    asked = chat(max_tokens=3000, reasoning_effort="low", temperature=0.5, top_k=3)
    written = write_request(read_chat(asked))
    assert "temperature" not in written.body
    assert written.dropped == ("temperature", "top_k")


@pytest.mark.parametrize(
    "asked",
    [
        {"max_tokens": 1000},
        {"tools": [CHAT_TOOL], "tool_choice": "required"},
        {"messages": CHAT_TURNS, "tools": [CHAT_TOOL]},
    ],
)
def test_a_budget_that_would_be_refused_is_dropped(asked: dict[str, Any]) -> None:
    asked = {"max_tokens": 5000, "reasoning_effort": "low", **asked}
    written = write_request(read_chat(chat(**asked)))
    assert "thinking" not in written.body
    assert written.dropped == ("reasoning_effort",)


def test_thinking_goes_on_after_a_call_that_has_its_own() -> None:
    asked = messages(
        max_tokens=5000,
        messages=MESSAGES_TURNS,
        thinking={"type": "enabled", "budget_tokens": 2000},
    )
    body = write_request(read_request(asked)).body
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert body["messages"][1]["content"][0]["signature"] == "c2ln"


def test_adaptive_thinking_stays_adaptive() -> None:
    asked = messages(thinking={"type": "adaptive", "display": "summarized"})
    body: dict[str, Any] = {"max_tokens": 100}
    report = Report(Dialect.MESSAGES, frozenset())
    write_thinking(read_request(asked), ANY_MODEL, report, body)
    assert body == {"max_tokens": 100, "thinking": asked["thinking"]}


def test_a_foreign_signature_is_not_sent_but_finds_its_way_home() -> None:
    part = Reasoning("Hm", "c2ln", Dialect.GEMINI)
    written = write_reply(Reply(choices=(Choice((part,)),)), CONTEXT)
    block = written["content"][0]
    assert block["signature"] == "x-local-ai:gemini:c2ln"
    request = read_request(
        messages(
            messages=[
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": [block]},
            ]
        )
    )
    assert request.messages[1].parts == (part,)
    assert len(write_request(request).body["messages"]) == 1


def test_recorded_thinking_and_call() -> None:
    reply = assemble(read((STREAMS / "anthropic_messages.sse").read_bytes()))
    assert reply.first.parts == (
        Reasoning('Die "message_stop" …', "EqQB", Dialect.MESSAGES),
        ToolCall("toolu_1", "get_weather", '{"city": "Köln"}'),
    )
    assert reply.first.finish is Finish.TOOL_CALLS
    assert reply.usage == Usage(1125, 42, 1000, 100, 12)


def test_an_error_event_keeps_its_type_and_status() -> None:
    events = read((STREAMS / "anthropic_messages_error.sse").read_bytes())
    assert events[-1] == Failed(
        "Overloaded", "overloaded_error", "overloaded_error", 529
    )
    body = b'{"type":"error","error":{"type":"not_found_error","message":"No"}}'
    found = read_error(body)
    assert found is not None
    assert found.status == 404
    assert read_error(b'{"type":"message"}') is None


def test_a_call_without_arguments_has_an_empty_object() -> None:
    start = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    stream = b"".join(
        b"data: %b\n\n" % orjson.dumps(found)
        for found in (
            {"type": "content_block_start", "index": 0, "content_block": start},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_stop"},
        )
    )
    assert ToolCallDelta(0, "{}") in read(stream)


def test_blocks_of_the_vendors_own_tools_are_skipped() -> None:
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    body = {
        "type": "message",
        "content": [block, {"type": "text", "text": "x"}],
        "stop_reason": "end_turn",
    }
    assert read_reply(orjson.dumps(body)).first.parts == (Text("x"),)


def test_the_real_prompt_is_told_at_the_start_when_it_is_known() -> None:
    known = MessagesStreamWriter(CONTEXT).write([Start(usage=Usage(prompt=40))])
    assert b'"input_tokens":40' in known
    estimated = MessagesStreamWriter(CONTEXT).write([Start()])
    assert b'"input_tokens":17' in estimated


def test_blocks_follow_one_another() -> None:
    events: list[Event] = [
        Start("x", "m"),
        ReasoningDelta("Hm"),
        ReasoningEnd("c2ln", Dialect.MESSAGES),
        TextDelta("a"),
        TextDelta("b"),
        Cited(Dialect.CHAT, {}, "https://example.org/", "E"),
        ToolCallStart(0, "t0", "f"),
        ToolCallStart(1, "t1", "g"),
        ToolCallDelta(1, "{}"),
        ToolCallDelta(0, "{}"),
        ToolCallEnd(1),
        Finished(Finish.TOOL_CALLS),
        Counted(Usage(prompt=5, completion=6)),
        End(),
    ]
    stream = MessagesStreamWriter(CONTEXT).write(events)
    assert kinds(stream) == [
        "message_start",
        *("start", "delta", "delta", "stop"),
        *("start", "delta", "delta", "delta", "stop"),
        *("start", "delta", "stop"),
        *("start", "delta", "stop"),
        "message_delta",
        "message_stop",
    ]
    parts = assemble(read(stream)).first.parts
    assert [getattr(part, "id", None) for part in parts[2:]] == ["t0", "t1"]


def test_a_refusal_is_text_and_a_reason() -> None:
    events = [RefusalDelta("No."), Finished(Finish.STOP), End()]
    reply = assemble(read(MessagesStreamWriter(CONTEXT).write(events)))
    assert reply.first.parts == (Text("No."),)
    assert reply.first.finish is Finish.REFUSAL


def test_geminis_signature_travels_in_the_thinking_before_its_call() -> None:
    call = ToolCall("t0", "f", "{}", "c2ln")
    whole = write_reply(Reply(choices=(Choice((call,)),)), CONTEXT)
    streamed = MessagesStreamWriter(CONTEXT).write(
        [
            ToolCallStart(0, "t0", "f", "c2ln"),
            ToolCallDelta(0, "{}"),
            ToolCallEnd(0),
            End(),
        ]
    )
    parts = (Reasoning("", "c2ln", Dialect.GEMINI), ToolCall("t0", "f", "{}"))
    assert read_reply(orjson.dumps(whole)).first.parts == parts
    assert assemble(read(streamed)).first.parts == parts


def test_a_whole_reply_is_what_the_sdk_expects() -> None:
    reply = read_reply((STREAMS / "llamacpp_messages.json").read_bytes())
    found = SDKMessage.model_validate(write_reply(reply, CONTEXT))
    assert found.content[0].type == "text"
    assert found.id.startswith("msg_")
    assert found.stop_reason == "max_tokens"


def test_every_reason_to_stop_has_a_word() -> None:
    assert set(FINISH_OUT) == set(Finish)
