from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from providers.wire.dialect import Dialect
from providers.wire.sse import data_of, split_events
from providers.wire.translate.chat.errors import read_error
from providers.wire.translate.chat.mapping import FINISH_OUT
from providers.wire.translate.chat.reply_writer import write_reply
from providers.wire.translate.chat.request_reader import read_request
from providers.wire.translate.chat.request_writer import write_request
from providers.wire.translate.chat.stream_reader import (
    ChatStreamReader,
    read_reply,
)
from providers.wire.translate.chat.stream_writer import ChatStreamWriter
from providers.wire.translate.events import (
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Finished,
    Logprobs,
    ReasoningDelta,
    ReasoningEnd,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from providers.wire.translate.problems import Refused
from providers.wire.translate.reply import assemble
from providers.wire.translate.request import (
    CacheHint,
    Effort,
    Image,
    Reasoning,
    Role,
    Target,
    Text,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from providers.wire.translate.streams import Context
from providers.wire.usage import Usage
from tests.providers.wire.translate.corpus import CHAT_TOOL, CHAT_TURNS, PNG, chat

STREAMS = Path(__file__).parents[3] / "streams"
CONTEXT = Context("made", 1_741_570_000, "m")


def user(*content: dict[str, Any]) -> dict[str, Any]:
    return chat(messages=[{"role": "user", "content": list(content)}])


def answer(**message: Any) -> dict[str, Any]:
    first = {"role": "user", "content": "Hi"}
    return chat(messages=[first, {"role": "assistant", **message}])


def chunk(**delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return b"data: %b\n\n" % orjson.dumps({"id": "c", "choices": [choice]})


def calls(*deltas: dict[str, Any]) -> bytes:
    return b"".join(chunk(tool_calls=[delta]) for delta in deltas)


def call(index: int | None, arguments: str = "", **more: Any) -> dict[str, Any]:
    name = more.pop("name", None)
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"function": function, **more} | ({} if index is None else {"index": index})


DONE = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def read(stream: bytes) -> list[Event]:
    reader = ChatStreamReader("made")
    return reader.feed(stream) + reader.close()


def test_a_conversation_is_read_turn_by_turn() -> None:
    request = read_request(chat(messages=CHAT_TURNS, tools=[CHAT_TOOL]))
    assert request.system == (Text("Be brief."),)
    roles = [message.role for message in request.messages]
    assert roles == [Role.USER, Role.ASSISTANT, Role.USER, Role.USER, Role.USER]
    assert request.messages[1].parts[1] == ToolCall(
        "call_1", "get_weather", '{"city":"Köln"}'
    )
    assert request.messages[2].parts == (ToolResult("call_1", (Text("rain"),)),)


def test_a_developer_is_a_system_and_may_speak_later() -> None:
    turns = [
        {"role": "developer", "content": "A"},
        {"role": "system", "content": [{"type": "text", "text": "B"}]},
        {"role": "user", "content": "Hi"},
        {"role": "developer", "content": "C"},
    ]
    request = read_request(chat(messages=turns))
    assert request.system == (Text("A"), Text("B"))
    assert request.messages[1].role is Role.SYSTEM
    assert write_request(request).body["messages"] == [
        {"role": "system", "content": "A\n\nB"},
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": "C"},
    ]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"{", "invalid_json", None),
        (b"[]", "invalid_json", None),
        ({"model": "m"}, "missing_field", "messages"),
        (chat(messages=[]), "invalid_field", "messages"),
        (chat(messages="Hi"), "invalid_field", "messages"),
        (chat(messages=["Hi"]), "invalid_field", "messages[0]"),
        (chat(messages=[{"content": "x"}]), "missing_field", "messages[0].role"),
        (
            chat(messages=[{"role": "king", "content": "x"}]),
            "invalid_field",
            "messages[0].role",
        ),
        (chat(messages=[{"role": "user"}]), "missing_field", "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x"}]}, "missing_field", "model"),
        (chat(temperature=2.5), "invalid_field", "temperature"),
        (chat(temperature="1"), "invalid_field", "temperature"),
        (chat(max_tokens=0), "invalid_field", "max_tokens"),
        (chat(max_tokens=1.5), "invalid_field", "max_tokens"),
        (chat(stop=["a", 1]), "invalid_field", "stop[1]"),
        (chat(stream="yes"), "invalid_field", "stream"),
        (chat(reasoning_effort="huge"), "invalid_field", "reasoning_effort"),
        (chat(functions=[]), "unsupported_parameter", "functions"),
        (
            user({"type": "image_url", "image_url": {"url": "data:image/png,x"}}),
            "image_decode_error",
            "messages[0].content[0].image_url.url",
        ),
        (
            user({"type": "text", "text": "x"}, {"type": "image_url"}),
            "missing_field",
            "messages[0].content[1].image_url",
        ),
        (
            chat(tools=[{"type": "function", "function": {}}]),
            "missing_field",
            "tools[0].function.name",
        ),
        (
            chat(messages=[{"role": "tool", "tool_call_id": "x", "content": "y"}]),
            "invalid_field",
            "messages[0].tool_call_id",
        ),
        (
            chat(response_format={"type": "json_schema"}),
            "missing_field",
            "response_format.json_schema",
        ),
    ],
)
def test_a_problem_names_its_field(
    body: bytes | dict[str, Any], code: str, param: str | None
) -> None:
    with pytest.raises(Refused) as caught:
        read_request(body)
    assert (caught.value.code, caught.value.param) == (code, param)


def test_nulls_read_as_absent() -> None:
    names = ("stop", "temperature", "tools", "tool_choice", "response_format", "odd")
    request = read_request(chat(**dict.fromkeys(names)))
    assert write_request(request).body == chat()


def test_images_keep_their_detail_and_their_bytes() -> None:
    url = f"data:image/jpeg;base64,{PNG}"
    image = {"type": "image_url", "image_url": {"url": url, "detail": "high"}}
    request = read_request(user(image))
    part = request.messages[0].parts[0]
    assert isinstance(part, Image)
    assert (part.source.media_type, part.source.data) == ("image/jpeg", PNG)
    assert write_request(request).body["messages"][0]["content"] == [image]


def test_an_image_url_is_refused_where_the_provider_fetches_none() -> None:
    url = "https://example.org/a.png"
    request = read_request(user({"type": "image_url", "image_url": {"url": url}}))
    assert url in str(write_request(request).body)
    with pytest.raises(Refused) as caught:
        write_request(request, Target(image_urls=False))
    assert caught.value.code == "image_url_not_supported"
    assert caught.value.param == "messages[0].content[0].image_url.url"


def test_a_thought_signature_comes_and_goes_with_its_call() -> None:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "c2ln"}},
    }
    request = read_request(answer(content=None, tool_calls=[call]))
    assert request.messages[1].parts == (ToolCall("c1", "f", "{}", "c2ln"),)
    assert write_request(request).body["messages"][1]["tool_calls"] == [call]


def test_a_lost_signature_is_asked_for() -> None:
    function = {"name": "f", "arguments": "{}"}
    call = {"id": "c1", "type": "function", "function": function}
    request = read_request(answer(tool_calls=[call]))
    target = Target(signature_of={"c1": "kept"}.get)
    written = write_request(request, target).body["messages"][1]["tool_calls"][0]
    assert written["extra_content"] == {"google": {"thought_signature": "kept"}}


def test_reasoning_goes_back_only_where_it_is_taken() -> None:
    request = read_request(answer(content="Hi", reasoning_content="Hm"))
    assert request.messages[1].parts[0] == Reasoning("Hm")
    assert "Hm" not in str(write_request(request).body)
    target = Target(reasoning_field="reasoning")
    assert write_request(request, target).body["messages"][1]["reasoning"] == "Hm"


def test_signed_reasoning_travels_in_its_details() -> None:
    detail = {
        "type": "reasoning.text",
        "text": "Hm",
        "signature": "c2ln",
        "format": "anthropic-claude-v1",
        "index": 0,
    }
    request = read_request(answer(content="Hi", reasoning_details=[detail]))
    signed = Reasoning("Hm", "c2ln", Dialect.MESSAGES)
    assert request.messages[1].parts[0] == signed
    target = Target(reasoning_field="reasoning")
    message = write_request(request, target).body["messages"][1]
    assert message["reasoning_details"] == [detail]


def test_breakpoints_are_written_only_where_they_are_known() -> None:
    marked = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
    request = read_request(user(marked))
    assert request.messages[0].parts == (Text("x", CacheHint()),)
    plain = write_request(request)
    assert plain.dropped == ("cache_control",)
    assert plain.body["messages"][0]["content"] == "x"
    known = write_request(request, Target(cache_control=True))
    assert known.dropped == ()
    assert known.body["messages"][0]["content"] == [marked]


@pytest.mark.parametrize(
    ("choice", "read_as", "written"),
    [
        ("none", ToolChoice(ToolMode.NONE), "none"),
        ("required", ToolChoice(ToolMode.REQUIRED), "required"),
        (
            {"type": "function", "function": {"name": "get_weather"}},
            ToolChoice(ToolMode.NAMED, "get_weather"),
            {"type": "function", "function": {"name": "get_weather"}},
        ),
    ],
)
def test_tool_choices(choice: Any, read_as: ToolChoice, written: Any) -> None:
    request = read_request(chat(tools=[CHAT_TOOL], tool_choice=choice))
    assert request.tool_choice == read_as
    assert write_request(request).body["tool_choice"] == written


def test_allowed_tools_narrow_what_is_offered() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    names = [{"type": "function", "function": {"name": "other"}}]
    choice = {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "required", "tools": names},
    }
    request = read_request(chat(tools=[CHAT_TOOL, other], tool_choice=choice))
    body = write_request(request).body
    assert body["tools"] == [other]
    assert body["tool_choice"] == "required"


def test_a_streamed_request_always_asks_for_usage() -> None:
    request = read_request(chat(stream=True))
    assert not request.include_usage
    assert write_request(request).body["stream_options"] == {"include_usage": True}
    target = Target(drops=frozenset({"stream_options"}))
    assert "stream_options" not in write_request(request, target).body


def test_limit_and_effort_are_named_as_the_server_wants() -> None:
    request = read_request(chat(max_tokens=7, reasoning_effort="low"))
    assert request.thinking is not None
    assert request.thinking.effort is Effort.LOW
    body = write_request(request, Target(limit_field="max_completion_tokens")).body
    assert (body["max_completion_tokens"], body["reasoning_effort"]) == (7, "low")


def test_parallel_calls_may_be_interleaved() -> None:
    stream = calls(
        call(0, '{"a"', id="c0", name="f"),
        call(1, '{"b"', id="c1", name="g"),
        call(0, ":1}"),
        call(1, ":2}"),
    )
    reply = assemble(read(stream + DONE))
    assert reply.first.parts == (
        ToolCall("c0", "f", '{"a":1}'),
        ToolCall("c1", "g", '{"b":2}'),
    )
    assert reply.first.finish is Finish.TOOL_CALLS


def test_a_complete_call_ends_when_the_next_begins() -> None:
    stream = calls(call(0, "{}", id="c0", name="f"), call(1, "", id="c1", name="g"))
    kinds = [type(event) for event in read(stream + DONE)[1:5]]
    assert kinds == [ToolCallStart, ToolCallDelta, ToolCallEnd, ToolCallStart]


@pytest.mark.parametrize("index", [0, None])
def test_calls_told_apart_by_id_alone(index: int | None) -> None:
    stream = calls(
        call(index, "{}", id="c0", name="f"), call(index, "{}", id="c1", name="g")
    )
    starts = [e for e in read(stream + DONE) if isinstance(e, ToolCallStart)]
    assert [start.id for start in starts] == ["c0", "c1"]


def test_a_name_is_told_once_though_it_is_repeated() -> None:
    stream = calls(
        call(0, "{", id="c0", name="f"),
        call(0, "", id="c0", name="f"),
        call(0, "}", id="", name=""),
    )
    starts = [e for e in read(stream + DONE) if isinstance(e, ToolCallStart)]
    assert starts == [ToolCallStart(0, "c0", "f")]


def test_a_call_without_id_gets_one() -> None:
    reply = assemble(read(calls(call(0, "{}", name="f")) + DONE))
    assert reply.first.parts == (ToolCall("call_made_made_0", "f", "{}"),)


def test_chunks_without_choices_are_tolerated() -> None:
    stream = b'data: {"id":"c","choices":[]}\n\ndata: {}\n\ndata: {"choices":null}\n\n'
    events = read(stream + chunk(content="a") + chunk() + DONE)
    assert events == [
        Start("c"),
        TextDelta("a"),
        Finished(Finish.STOP),
        End(),
    ]


def test_reasoning_is_read_in_each_spelling() -> None:
    for field in ("reasoning", "reasoning_content"):
        assert read(chunk(**{field: "Hm"}))[1] == ReasoningDelta("Hm")


def test_logprobs_pass() -> None:
    tokens = [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}]
    choice = {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": tokens}}
    events = read(b"data: %b\n\n" % orjson.dumps({"choices": [choice]}) + DONE)
    assert Logprobs(tokens) in events
    written = ChatStreamWriter(CONTEXT).write(events)
    assert Logprobs(tokens) in read(written)


def test_several_answers_stay_apart() -> None:
    events = read((STREAMS / "llamacpp_chat_n2.sse").read_bytes())
    reply = assemble(events)
    assert [choice.parts for choice in reply.choices] == [(), (Text(".\n"),)]
    again = assemble(read(ChatStreamWriter(CONTEXT).write(events)))
    assert again.choices == reply.choices


def test_openrouters_error_keeps_its_status() -> None:
    events = read((STREAMS / "openrouter_chat_error.sse").read_bytes())
    assert events[-1] == Failed("Provider disconnected", status=502)


def test_errors_are_read_in_each_shape() -> None:
    assert read_error(b'{"error":{"message":"No","code":429}}') == Failed(
        "No", status=429
    )
    assert read_error(b'{"error":"No"}') == Failed("No")
    assert read_error(b'{"choices":[]}') is None
    assert read_error(b"oops") is None


def parsed_chunks(stream: bytes) -> list[ChatCompletionChunk]:
    datas = [data_of(event) for event in split_events(stream)]
    assert datas.pop() == b"[DONE]"
    return [ChatCompletionChunk.model_validate_json(data) for data in datas]


def test_the_role_comes_first_and_usage_only_if_asked() -> None:
    usage = Usage(prompt=3, completion=2)
    events = [
        Start("c", "m"),
        TextDelta("a"),
        Finished(Finish.STOP),
        Counted(usage),
        End(),
    ]
    asked = parsed_chunks(ChatStreamWriter(CONTEXT).write(events))
    assert asked[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in asked[:-1]] == [None, None, "stop"]
    assert asked[-1].usage is not None
    assert asked[-1].usage.total_tokens == 5
    quiet = ChatStreamWriter(Context("made", 0, "m", include_usage=False))
    assert all(c.usage is None for c in parsed_chunks(quiet.write(events)))


def test_a_stream_of_calls_is_what_the_sdk_expects() -> None:
    events = [
        Start("c", "m"),
        ToolCallStart(0, "c0", "f", "c2ln"),
        ToolCallDelta(0, "{}"),
        ToolCallEnd(0),
        ToolCallStart(1, "c1", "g"),
        ToolCallEnd(1),
        Finished(Finish.TOOL_CALLS),
        End(),
    ]
    found = [
        call
        for chunk in parsed_chunks(ChatStreamWriter(CONTEXT).write(events))
        for call in chunk.choices[0].delta.tool_calls or ()
    ]
    assert [call.index for call in found] == [0, 0, 1]
    assert [c.function.name for c in found if c.function] == ["f", None, "g"]
    assert found[0].model_extra == {
        "extra_content": {"google": {"thought_signature": "c2ln"}}
    }


def test_signed_reasoning_is_told_in_a_reply() -> None:
    events = [
        ReasoningDelta("Hm"),
        ReasoningEnd("c2ln", Dialect.MESSAGES),
        ReasoningEnd(redacted="x", origin=Dialect.MESSAGES),
        TextDelta("a"),
        End(),
    ]
    reply = assemble(read(ChatStreamWriter(CONTEXT).write(events)))
    assert reply.first.parts == (
        Reasoning("Hm", "c2ln", Dialect.MESSAGES),
        Reasoning("", None, Dialect.MESSAGES, "x"),
        Text("a"),
    )


def test_a_whole_reply_is_what_the_sdk_expects() -> None:
    reply = read_reply((STREAMS / "llamacpp_chat.json").read_bytes())
    found = ChatCompletion.model_validate(write_reply(reply, CONTEXT))
    assert found.choices[0].message.content == " model model model model"
    assert found.choices[0].finish_reason == "length"
    assert found.usage is not None
    assert found.usage.prompt_tokens_details is not None
    assert found.usage.prompt_tokens_details.cached_tokens == 20


def test_every_reason_to_stop_has_a_word() -> None:
    assert set(FINISH_OUT) == set(Finish)
