from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from providers.wire.dialect import Dialect
from providers.wire.envelopes import Problem
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
    ImageMade,
    Logprobs,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from providers.wire.translate.problems import Refused
from providers.wire.translate.reply import Reply, assemble
from providers.wire.translate.request import (
    Effort,
    Opaque,
    Reasoning,
    Role,
    Target,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from providers.wire.translate.responses.items import response_object
from providers.wire.translate.responses.mapping import FINISH_OUT
from providers.wire.translate.responses.request_reader import read_request
from providers.wire.translate.responses.request_writer import write_request
from providers.wire.translate.responses.stream_reader import (
    ResponsesStreamReader,
    read_reply,
)
from providers.wire.translate.responses.stream_writer import (
    ResponsesStreamWriter,
    write_reply,
)
from providers.wire.translate.streams import Context
from providers.wire.usage import Usage
from tests.providers.wire.translate.corpus import (
    CHAT_TOOL,
    CHAT_TURNS,
    NOTE,
    PNG,
    RESPONSES_INPUT,
    RESPONSES_TOOL,
    chat,
    responses,
)

STREAMS = Path(__file__).parents[3] / "streams"
CONTEXT = Context("made", 1_741_570_000, "m")
EVENT: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
SUMMARY = "response.reasoning_summary_"
CUSTOM = {"type": "custom", "name": "patch", "description": "Patch"}
TOKENS = [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}]
EVENTS: list[Event] = [
    Start("upstream", "m"),
    ReasoningDelta("H"),
    ReasoningDelta("m"),
    ReasoningEnd("c2ln", Dialect.MESSAGES),
    TextDelta("a"),
    Logprobs(TOKENS),
    TextDelta("b"),
    Cited(Dialect.CHAT, NOTE, "https://example.org/", "E"),
    ToolCallStart(0, "c0", "f"),
    ToolCallStart(1, "c1", "g"),
    ToolCallDelta(1, "{}"),
    ToolCallDelta(0, '{"a":1}'),
    ToolCallEnd(1),
    Finished(Finish.TOOL_CALLS),
    Counted(Usage(prompt=5, completion=6, cached=2, cache_write=0, reasoning=1)),
    End(),
]


def read(data: bytes) -> list[Event]:
    reader = ResponsesStreamReader()
    return reader.feed(data) + reader.close()


def write(events: list[Event], **asked: Any) -> bytes:
    request = read_request(responses(**asked))
    return ResponsesStreamWriter(Context("made", 0, "m", request=request)).write(events)


def kinds(stream: bytes) -> list[str]:
    """Name the events of a stream, each checked against the SDK's types."""
    found = []
    for number, event in enumerate(split_events(stream)):
        data = orjson.loads(data_of(event))
        assert data["type"] == name_of(event).decode()
        assert data["sequence_number"] == number
        parsed = EVENT.validate_python(data)
        assert parsed.type == data["type"]
        found.append(parsed.type)
    return found


def test_items_of_one_answer_are_one_turn() -> None:
    request = read_request(
        responses(input=RESPONSES_INPUT, instructions="Be brief.", store=True)
    )
    assert request.system == (Text("Be brief."),)
    assert [m.role for m in request.messages] == [
        Role.USER,
        Role.ASSISTANT,
        Role.USER,
        Role.USER,
    ]
    answer, results = request.messages[1:3]
    assert answer.parts[:2] == (
        Reasoning("Two cities.", "gAAA", Dialect.RESPONSES),
        Text("I look."),
    )
    assert results.parts[1] == ToolResult("call_2", (Text("sun"),))
    assert request.store is True


def test_developers_at_the_start_are_system_text() -> None:
    turns = [
        {"type": "message", "role": "developer", "content": "A"},
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": "B"},
    ]
    request = read_request(responses(input=turns))
    assert request.system == (Text("A"),)
    assert request.messages[1].role is Role.SYSTEM
    body = write_request(request).body
    assert body["instructions"] == "A"
    assert body["input"][1]["role"] == "developer"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"model": "m"}, "missing_field", "input"),
        (responses(background=True), "unsupported_parameter", "background"),
        (responses(input=[{"role": "user"}]), "missing_field", "input[0].content"),
        (
            responses(input=[{"role": "x", "content": ""}]),
            "invalid_field",
            "input[0].role",
        ),
        (
            responses(
                input=[{"type": "function_call_output", "call_id": "x", "output": ""}]
            ),
            "invalid_field",
            "input[0].call_id",
        ),
        (
            responses(input=[{"role": "user", "content": [{"type": "input_image"}]}]),
            "missing_field",
            "input[0].content[0].image_url",
        ),
        (responses(reasoning={"effort": "x"}), "invalid_field", "reasoning.effort"),
        (
            responses(tool_choice={"type": "web_search"}),
            "unsupported_parameter",
            "tool_choice",
        ),
        (
            responses(text={"format": {"type": "xml"}}),
            "invalid_field",
            "text.format.type",
        ),
    ],
)
def test_a_problem_names_its_field(body: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(Refused) as caught:
        read_request(body)
    assert (caught.value.code, caught.value.param) == (code, param)


def test_a_result_may_answer_an_earlier_response() -> None:
    item = {"type": "function_call_output", "call_id": "x", "output": "y"}
    request = read_request(responses(input=[item], previous_response_id="resp_1"))
    assert request.previous_response == "resp_1"
    assert request.messages[0].parts == (ToolResult("x", (Text("y"),)),)


def test_a_stored_item_cannot_go_elsewhere() -> None:
    item = {"type": "item_reference", "id": "msg_1"}
    request = read_request(responses(input=[item]))
    assert write_request(request).body["input"] == [item]
    with pytest.raises(Refused) as caught:
        write_chat(request)
    assert caught.value.param == "input[0]"


def test_tools_of_each_kind() -> None:
    hosted = {"type": "web_search"}
    request = read_request(responses(tools=[RESPONSES_TOOL, CUSTOM, hosted]))
    function, custom, opaque = request.tools
    assert isinstance(function, Tool)
    assert function.strict
    assert custom == Tool("patch", "Patch", freeform=True)
    assert opaque == Opaque(Dialect.RESPONSES, "web_search", hosted)
    assert write_request(request).body["tools"] == [RESPONSES_TOOL, CUSTOM, hosted]


def test_a_chat_conversation_becomes_items() -> None:
    asked = chat(messages=CHAT_TURNS, tools=[CHAT_TOOL], max_tokens=5, top_k=3)
    written = write_request(read_chat(asked))
    assert written.dropped == ("top_k",)
    assert written.changed == (("max_tokens", "16"),)
    body = written.body
    assert body["instructions"] == "Be brief."
    assert body["store"] is False
    assert [item["type"] for item in body["input"]] == [
        "message",
        "message",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
        "message",
    ]
    assert body["tools"][0]["strict"] is False


def test_efforts_ask_for_what_can_be_handed_back() -> None:
    body = write_request(read_chat(chat(reasoning_effort="low", logprobs=True))).body
    assert body["reasoning"] == {"effort": "low"}
    assert body["include"] == [
        "message.output_text.logprobs",
        "reasoning.encrypted_content",
    ]
    again = read_request(body)
    assert again.thinking is not None
    assert again.thinking.effort is Effort.LOW
    assert again.sampling.logprobs


def test_verbosity_stays_in_its_place() -> None:
    request = read_request(responses(text={"verbosity": "low"}))
    assert write_request(request).body["text"] == {"verbosity": "low"}


def test_files_and_images() -> None:
    content = [
        {"type": "input_file", "file_url": "https://example.org/a.pdf"},
        {"type": "input_file", "file_data": f"data:application/pdf;base64,{PNG}"},
        {"type": "input_image", "file_id": "file-1", "detail": "low"},
    ]
    request = read_request(responses(input=[{"role": "user", "content": content}]))
    assert write_request(request).body["input"][0]["content"] == content
    with pytest.raises(Refused) as caught:
        write_request(request, Target(image_urls=False))
    assert caught.value.param == "input[0].content[0].file_url"


def test_every_event_is_what_the_sdk_expects() -> None:
    assert kinds(write(EVENTS)) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        f"{SUMMARY}part.added",
        f"{SUMMARY}text.delta",
        f"{SUMMARY}text.delta",
        f"{SUMMARY}text.done",
        f"{SUMMARY}part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.annotation.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        *(
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
        )
        * 2,
        "response.completed",
    ]


def test_the_last_event_holds_the_whole_response() -> None:
    stream = write(EVENTS, instructions="Be brief.", tools=[RESPONSES_TOOL])
    last = orjson.loads(data_of(split_events(stream)[-1]))["response"]
    request = read_request(responses(instructions="Be brief.", tools=[RESPONSES_TOOL]))
    context = Context("made", 0, "m", request=request)
    assert last == write_reply(assemble(EVENTS), context)
    found = Response.model_validate(last)
    assert found.id == "resp_made"
    assert found.output_text == "ab"
    assert [item.type for item in found.output] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    assert found.usage is not None
    assert found.usage.input_tokens_details.cached_tokens == 2
    assert found.instructions == "Be brief."


def test_a_response_reads_back_as_it_was() -> None:
    whole = orjson.dumps(write_reply(assemble(EVENTS), CONTEXT))
    reply = read_reply(whole)
    assert reply.first.parts == (
        Reasoning("Hm", "c2ln", Dialect.MESSAGES),
        Text("ab"),
        ToolCall("c0", "f", '{"a":1}'),
        ToolCall("c1", "g", "{}"),
    )
    assert reply.first.logprobs == tuple(TOKENS)
    assert reply.usage == EVENTS[-2].usage  # type: ignore[union-attr]
    streamed = assemble(read(write(EVENTS)))
    assert streamed.first.parts == reply.first.parts


def test_free_text_tools_are_called_with_text() -> None:
    events: list[Event] = [
        ToolCallStart(0, "c0", "patch"),
        ToolCallDelta(0, '{"inp'),
        ToolCallDelta(0, 'ut":"*** a"}'),
        ToolCallEnd(0),
        Finished(Finish.TOOL_CALLS),
        End(),
    ]
    stream = write(events, tools=[CUSTOM])
    assert kinds(stream)[2:6] == [
        "response.output_item.added",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.output_item.done",
    ]
    item = orjson.loads(data_of(split_events(stream)[-1]))["response"]["output"][0]
    assert (item["type"], item["input"]) == ("custom_tool_call", "*** a")
    assert assemble(read(stream)).first.parts == (
        ToolCall("c0", "patch", '{"input":"*** a"}'),
    )


def test_refusals_images_and_signatures() -> None:
    events: list[Event] = [
        RefusalDelta("No."),
        ImageMade("image/png", PNG),
        ToolCallStart(0, "c0", "f", "c2ln"),
        ToolCallEnd(0),
        Finished(Finish.STOP),
        End(),
    ]
    stream = write(events)
    assert "response.refusal.done" in kinds(stream)
    found = assemble(read(stream)).first.parts
    assert [type(part).__name__ for part in found] == [
        "Refusal",
        "Image",
        "Reasoning",
        "ToolCall",
    ]
    assert found[2] == Reasoning("", "c2ln", Dialect.GEMINI)


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        (Finish.STOP, "completed", None),
        (Finish.LENGTH, "incomplete", "max_output_tokens"),
        (Finish.CONTENT_FILTER, "incomplete", "content_filter"),
    ],
)
def test_the_end_tells_whether_it_is_complete(
    finish: Finish, status: str, reason: str | None
) -> None:
    stream = write([TextDelta("a"), Finished(finish), End()])
    assert kinds(stream)[-1] == f"response.{status}"
    last = orjson.loads(data_of(split_events(stream)[-1]))["response"]
    assert (last["incomplete_details"] or {}).get("reason") == reason
    assert set(FINISH_OUT) == set(Finish)


def test_a_failure_carries_the_next_number_and_the_same_id() -> None:
    writer = ResponsesStreamWriter(CONTEXT)
    stream = writer.write([Start("x", "m"), TextDelta("a")])
    stream += writer.fail(Problem(502, "server_error", "server_error", "It broke"))
    assert kinds(stream)[-1] == "response.failed"
    assert writer.response["status"] == "failed"
    assert read(stream)[-1] == Failed("It broke", code="server_error")


def test_recorded_failures() -> None:
    failed = read((STREAMS / "openai_responses_failed.sse").read_bytes())
    assert failed[-1] == Failed("The model failed", code="server_error")
    assert isinstance(failed[-2], Counted)
    error = read((STREAMS / "openai_responses_error.sse").read_bytes())
    assert error[-1] == Failed("Something broke", "error", "server_error")


def test_a_server_without_places_and_numbers_is_read() -> None:
    reply = assemble(read((STREAMS / "llamacpp_responses.sse").read_bytes()))
    assert reply.first.parts == (Text(" model model model model"),)
    whole = read_reply((STREAMS / "llamacpp_responses.json").read_bytes())
    assert whole.first.parts == reply.first.parts


def test_summaries_of_several_parts_are_parted() -> None:
    summary = [{"type": "summary_text", "text": text} for text in ("a", "b")]
    item = {"type": "reasoning", "id": "rs", "summary": summary}
    body = {"object": "response", "status": "completed", "output": [item]}
    assert read_reply(orjson.dumps(body)).first.parts == (Reasoning("a\n\nb"),)


def test_what_was_asked_is_told_back() -> None:
    request = read_request(
        responses(max_output_tokens=9, metadata={"a": "b"}, reasoning={"effort": "low"})
    )
    found = response_object(Context("made", 7, "m", request=request), "m")
    assert found["max_output_tokens"] == 9
    assert found["metadata"] == {"a": "b"}
    assert found["reasoning"]["effort"] == "low"
    assert Response.model_validate(found).created_at == 7
    assert write_reply(Reply(), CONTEXT)["status"] == "completed"
