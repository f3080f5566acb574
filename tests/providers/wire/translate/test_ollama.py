from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from ollama import ChatResponse, GenerateResponse

from providers.wire.dialect import Dialect
from providers.wire.translate.chat.request_reader import read_request as read_chat
from providers.wire.translate.events import (
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Finished,
    ImageMade,
    ReasoningDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from providers.wire.translate.ollama.mapping import FINISH_OUT
from providers.wire.translate.ollama.reply_writer import (
    write_generated,
    write_reply,
)
from providers.wire.translate.ollama.request_reader import (
    read_generate,
    read_request,
)
from providers.wire.translate.ollama.request_writer import write_request
from providers.wire.translate.ollama.stream_reader import (
    OllamaStreamReader,
    read_reply,
)
from providers.wire.translate.ollama.stream_writer import (
    GenerateStreamWriter,
    OllamaStreamWriter,
)
from providers.wire.translate.problems import Refused
from providers.wire.translate.reply import Choice, Reply, assemble
from providers.wire.translate.request import (
    FormatKind,
    Image,
    Reasoning,
    Source,
    Target,
    Text,
    Thinking,
    ToolCall,
)
from providers.wire.translate.streams import Context
from providers.wire.usage import Usage
from tests.providers.wire.translate.corpus import (
    CHAT_TOOL,
    CHAT_TURNS,
    OLLAMA_TURNS,
    PNG,
    SCHEMA,
    chat,
    ollama,
)

STREAMS = Path(__file__).parents[3] / "streams"
EVENTS: list[Event] = [
    Start("x", "m"),
    ReasoningDelta("Hm"),
    TextDelta("a"),
    ToolCallStart(0, "c0", "f"),
    ToolCallStart(1, "c1", "g"),
    ToolCallDelta(1, "{}"),
    ToolCallDelta(0, '{"a":'),
    ToolCallDelta(0, "1}"),
    Finished(Finish.TOOL_CALLS),
    Counted(Usage(prompt=5, completion=6)),
    End(),
]


def context() -> Context:
    """A request that arrived at the epoch, and whose clock ticks once per look."""
    ticks = iter(range(10, 1000, 10))
    return Context("made", 0, "m", elapsed_ns=lambda: next(ticks))


def read(data: bytes) -> list[Event]:
    reader = OllamaStreamReader("req")
    return reader.feed(data) + reader.close()


def test_streaming_is_the_default() -> None:
    assert read_request(chat()).stream
    assert not read_request(ollama()).stream
    assert read_generate({"model": "m", "prompt": "Hi"}).stream


def test_a_conversation_is_read_though_calls_have_no_ids() -> None:
    request = read_request(ollama(messages=OLLAMA_TURNS))
    assert request.system == (Text("Be brief."),)
    thought, call = request.messages[1].parts
    assert thought == Reasoning("One city.")
    assert isinstance(call, ToolCall)
    (result,) = request.messages[2].parts
    assert getattr(result, "call_id", None) == call.id
    assert write_request(request).body["messages"] == OLLAMA_TURNS


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "model"),
        (ollama(messages=[{"role": "king", "content": ""}]), "messages[0].role"),
        (ollama(messages=[{"role": "tool", "content": "x"}]), "messages[0].role"),
        (
            ollama(messages=[{"role": "user", "content": "x", "images": ["a"]}]),
            "messages[0].images[0]",
        ),
        (ollama(format="xml"), "format"),
        (ollama(think="hard"), "think"),
        (ollama(options={"top_p": 2}), "options.top_p"),
    ],
)
def test_a_problem_names_its_field(body: dict[str, Any], param: str) -> None:
    with pytest.raises(Refused) as caught:
        read_request(body)
    assert caught.value.param == param


def test_no_messages_ask_for_the_model_alone() -> None:
    assert read_request({"model": "m"}).messages == ()
    assert read_generate({"model": "m", "prompt": ""}).messages == ()


def test_options_nobody_else_knows_are_extras() -> None:
    asked = ollama(options={"num_ctx": 8192, "num_predict": -1, "seed": 1})
    request = read_request({**asked, "keep_alive": "5m"})
    assert request.extras == {"options": {"num_ctx": 8192}, "keep_alive": "5m"}
    assert request.max_tokens is None
    body = write_request(request).body
    assert body["options"] == {"num_ctx": 8192, "seed": 1}
    assert body["keep_alive"] == "5m"


def test_generate_is_one_turn() -> None:
    request = read_generate(
        {
            "model": "m",
            "prompt": "Hi",
            "system": "Be brief.",
            "images": [PNG],
            "suffix": "",
            "raw": False,
            "think": False,
        }
    )
    assert request.system == (Text("Be brief."),)
    assert request.messages[0].parts == (Text("Hi"), Image(Source(data=PNG)))
    assert request.thinking == Thinking(enabled=False)
    assert request.extras == {}


def test_a_chat_conversation_has_calls_as_objects() -> None:
    request = read_chat(chat(messages=CHAT_TURNS, tools=[CHAT_TOOL]))
    body = write_request(request, Target(context_window=4096)).body
    assert body["stream"] is False
    assert body["options"] == {"num_ctx": 4096}
    assert body["tools"] == [CHAT_TOOL]
    assert body["messages"][2]["tool_calls"][0] == {
        "id": "call_1",
        "function": {"name": "get_weather", "arguments": {"city": "Köln"}},
    }
    assert body["messages"][3] == {
        "role": "tool",
        "content": "rain",
        "tool_name": "get_weather",
        "tool_call_id": "call_1",
    }


def test_options_have_their_names() -> None:
    asked = chat(
        max_completion_tokens=9,
        stop="X",
        repetition_penalty=1.1,
        logprobs=True,
        top_logprobs=2,
        seed=1,
    )
    body = write_request(read_chat(asked)).body
    assert body["options"] == {
        "num_predict": 9,
        "stop": ["X"],
        "repeat_penalty": 1.1,
        "seed": 1,
    }
    assert (body["logprobs"], body["top_logprobs"]) == (True, 2)


def test_formats_and_thinking() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    assert write_request(read_chat(chat(response_format=form))).body["format"] == SCHEMA
    kind = {"type": FormatKind.JSON_OBJECT.value}
    assert write_request(read_chat(chat(response_format=kind))).body["format"] == "json"

    def think(effort: str, **known: Any) -> object:
        request = read_chat(chat(reasoning_effort=effort))
        return write_request(request, Target(**known)).body["think"]

    assert think("none") is False
    assert think("high") is True
    assert think("xhigh", thinks_by_effort=True) == "high"


def test_no_tools_are_offered_where_none_may_be_called() -> None:
    request = read_chat(chat(tools=[CHAT_TOOL], tool_choice="none"))
    assert "tools" not in write_request(request).body


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_weather"}}]
)
def test_a_forced_call_is_refused(choice: Any) -> None:
    request = read_chat(chat(tools=[CHAT_TOOL], tool_choice=choice))
    with pytest.raises(Refused) as caught:
        write_request(request)
    assert caught.value.param == "tool_choice"


@pytest.mark.parametrize(
    ("part", "code", "param"),
    [
        (
            {"type": "image_url", "image_url": {"url": "https://example.org/a"}},
            "image_url_not_supported",
            "messages[0].content[0].image_url.url",
        ),
        (
            {"type": "file", "file": {"file_data": PNG}},
            "unsupported_parameter",
            "messages[0].content[0].file.file_data",
        ),
        (
            {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}},
            "unsupported_parameter",
            "input_audio",
        ),
        (
            {"type": "video_url", "video_url": {}},
            "unsupported_parameter",
            "messages[0].content[0]",
        ),
    ],
)
def test_what_it_cannot_see_is_refused(
    part: dict[str, Any], code: str, param: str
) -> None:
    request = read_chat(chat(messages=[{"role": "user", "content": [part]}]))
    with pytest.raises(Refused) as caught:
        write_request(request)
    assert (caught.value.code, caught.value.param) == (code, param)


def test_calls_get_ids_and_change_the_reason() -> None:
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    lines = [
        {"model": "m", "message": {"role": "assistant", "tool_calls": [call]}},
        {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True},
    ]
    assert read(b"\n".join(map(orjson.dumps, lines)) + b"\n") == [
        Start("", "m"),
        ToolCallStart(0, "call_made_req_0", "f"),
        ToolCallDelta(0, '{"a":1}'),
        ToolCallEnd(0),
        Finished(Finish.TOOL_CALLS),
        End(),
    ]


def test_an_error_line_fails_the_stream() -> None:
    events = read((STREAMS / "ollama_chat_error.ndjson").read_bytes())
    assert events[-1] == Failed("model runner has unexpectedly stopped")


def test_generated_text_is_read() -> None:
    body = {"model": "m", "response": "Hi", "thinking": "Hm", "done": True}
    reply = read_reply(orjson.dumps(body))
    assert reply.first.parts == (Reasoning("Hm"), Text("Hi"))


def test_images_are_read_and_written() -> None:
    message = {"role": "assistant", "content": "", "images": [PNG]}
    events = read(orjson.dumps({"message": message, "done": True}) + b"\n")
    assert ImageMade("image/png", PNG) in events
    assert ImageMade("image/png", PNG) in read(
        OllamaStreamWriter(context()).write(events)
    )


def test_lines_are_what_the_sdk_expects() -> None:
    stream = OllamaStreamWriter(context()).write(EVENTS)
    lines = [ChatResponse.model_validate_json(line) for line in stream.splitlines()]
    assert [line.done for line in lines] == [False] * 4 + [True]
    assert lines[0].created_at == "1970-01-01T00:00:00Z"
    assert lines[0].message.thinking == "Hm"
    calls = [call for line in lines for call in line.message.tool_calls or ()]
    assert [(c.function.name, c.function.arguments) for c in calls] == [
        ("f", {"a": 1}),
        ("g", {}),
    ]
    last = lines[-1]
    assert (last.prompt_eval_count, last.eval_count) == (5, 6)
    assert (last.prompt_eval_duration, last.total_duration) == (10, 20)
    assert last.eval_duration == 10


def test_generated_lines_have_text_alone() -> None:
    stream = GenerateStreamWriter(context()).write(
        [TextDelta("a"), ReasoningDelta("Hm"), Finished(Finish.LENGTH), End()]
    )
    found = [GenerateResponse.model_validate_json(x) for x in stream.splitlines()]
    assert [line.response for line in found] == ["a", "", ""]
    assert found[1].thinking == "Hm"
    assert found[-1].done_reason == "length"
    assert b"message" not in stream


def test_whole_replies_are_what_the_sdk_expects() -> None:
    reply = assemble(EVENTS)
    chatted = ChatResponse.model_validate(write_reply(reply, context()))
    assert chatted.message.content == "a"
    assert chatted.total_duration == 10
    parts = (Reasoning("Hm", "s", Dialect.MESSAGES), Text("a"))
    generated = write_generated(Reply(choices=(Choice(parts),)), context())
    found = GenerateResponse.model_validate(generated)
    assert (found.response, found.thinking) == ("a", "Hm")
    assert found.prompt_eval_count is None
    assert set(FINISH_OUT) == set(Finish)
