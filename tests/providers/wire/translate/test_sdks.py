"""The vendors' own libraries join a written stream to the message we meant."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import ollama
import openai
import pytest

from providers.wire.dialect import Dialect
from providers.wire.translate.codecs import CODECS
from providers.wire.translate.events import (
    Counted,
    End,
    Event,
    Finish,
    Finished,
    ReasoningDelta,
    ReasoningEnd,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from providers.wire.translate.reply import assemble
from providers.wire.translate.streams import Context
from providers.wire.usage import Usage
from tests.providers.wire.translate.corpus import CHAT_TOOL

CONTEXT = Context("made", 0, "m")
TURN: Any = {"role": "user", "content": "Hi"}
EVENTS: list[Event] = [
    Start("", "m", usage=Usage(prompt=9, completion=1)),
    ReasoningDelta("Hm"),
    ReasoningEnd("c2ln", Dialect.MESSAGES),
    TextDelta("a"),
    TextDelta("b 🙂"),
    ToolCallStart(0, "t0", "get_weather"),
    ToolCallStart(1, "t1", "get_weather"),
    ToolCallDelta(0, '{"city":'),
    ToolCallDelta(1, '{"city":"Bonn"}'),
    ToolCallDelta(0, '"Köln"}'),
    ToolCallEnd(0),
    ToolCallEnd(1),
    Finished(Finish.TOOL_CALLS),
    Counted(Usage(prompt=9, completion=6)),
    End(),
]


@pytest.fixture
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How a client is made that gets the stream of a dialect for any request."""
    dialect: Dialect = request.param
    stream = CODECS[dialect].stream_writer(CONTEXT).write(EVENTS)

    def respond(_: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "text/event-stream"}
        return httpx2.Response(200, content=stream, headers=headers)

    transport = httpx2.MockTransport(respond)
    return {
        "api_key": "x",
        "base_url": "http://localhost",
        "http_client": httpx2.Client(transport=transport),
    }


@pytest.mark.parametrize("options", [Dialect.MESSAGES], indirect=True)
def test_anthropic_joins_blocks(options: dict[str, Any]) -> None:
    client = anthropic.Anthropic(**options)
    with client.messages.stream(model="m", max_tokens=9, messages=[TURN]) as stream:
        joined = stream.get_final_message()
    whole = CODECS[Dialect.MESSAGES].write_reply(assemble(EVENTS), CONTEXT)
    assert joined.to_dict()["content"] == whole["content"]
    assert joined.usage.input_tokens == 9
    assert joined.usage.output_tokens == 6
    assert joined.stop_reason == "tool_use"


@pytest.mark.parametrize("options", [Dialect.CHAT], indirect=True)
def test_openai_joins_chunks(options: dict[str, Any]) -> None:
    client = openai.OpenAI(**options)
    tools: Any = [CHAT_TOOL]
    with client.chat.completions.stream(
        model="m", messages=[TURN], tools=tools
    ) as stream:
        joined = stream.get_final_completion()
    message = joined.choices[0].message
    assert message.content == "ab 🙂"
    assert [
        (call.id, call.function.arguments)
        for call in message.tool_calls or ()
        if call.type == "function"
    ] == [("t0", '{"city":"Köln"}'), ("t1", '{"city":"Bonn"}')]
    assert joined.choices[0].finish_reason == "tool_calls"
    assert joined.usage is not None
    assert joined.usage.total_tokens == 15


@pytest.mark.parametrize("options", [Dialect.RESPONSES], indirect=True)
def test_openai_joins_items(options: dict[str, Any]) -> None:
    client = openai.OpenAI(**options)
    with client.responses.stream(model="m", input="Hi") as stream:
        deltas = [e.delta for e in stream if e.type == "response.output_text.delta"]
        joined = stream.get_final_response()
    assert deltas == ["a", "b 🙂"]
    assert joined.output_text == "ab 🙂"
    assert [item.type for item in joined.output] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    assert joined.status == "completed"


def test_ollama_reads_lines() -> None:
    stream = CODECS[Dialect.OLLAMA].stream_writer(CONTEXT).write(EVENTS)
    lines = [ollama.ChatResponse.model_validate_json(x) for x in stream.splitlines()]
    assert "".join(line.message.content or "" for line in lines) == "ab 🙂"
    assert lines[-1].done
