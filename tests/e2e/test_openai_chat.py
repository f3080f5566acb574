"""The official openai SDK: chat and legacy completions, whole and streamed.

Each test runs at the bare model server and through the gateway, by either door.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
# The random model calls a tool when its opening token is made likely.
CALL_A_TOOL: Any = {"tool_choice": "required", "logit_bias": [["<tool_call>", 30]]}
ASK: Any = [{"role": "user", "content": "Say something."}]
STEADY: Any = {"temperature": 0, "seed": 7}


@pytest.fixture
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{base_url}/v1", api_key="unused", max_retries=0, timeout=20
    ) as client:
        yield client


def test_chat_whole(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="tiny", messages=ASK, max_tokens=8, **STEADY
    )
    assert reply.object == "chat.completion"
    assert reply.model == "tiny"
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].message.content
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 8


def test_chat_stream_tells_what_the_whole_reply_says(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(
        model="tiny", messages=ASK, max_tokens=24, **STEADY
    )
    chunks = list(
        client.chat.completions.create(
            model="tiny", messages=ASK, max_tokens=24, stream=True, **STEADY
        )
    )
    assert _text(chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "length"
    assert all(chunk.usage is None for chunk in chunks)


def test_chat_stream_has_usage_when_asked_for(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="tiny",
            messages=ASK,
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 8
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


def test_tool_call_whole(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="tiny",
        messages=ASK,
        tools=[WEATHER],
        parallel_tool_calls=False,
        max_tokens=64,
        **STEADY,
        extra_body=CALL_A_TOOL,
    )
    calls = reply.choices[0].message.tool_calls
    assert calls is not None
    assert [call.function.name for call in calls] == ["weather"]


def test_tool_call_arrives_in_fragments(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="tiny",
            messages=ASK,
            tools=[WEATHER],
            parallel_tool_calls=False,
            max_tokens=64,
            stream=True,
            **STEADY,
            extra_body=CALL_A_TOOL,
        )
    )
    fragments = [
        call
        for chunk in chunks
        for choice in chunk.choices
        for call in choice.delta.tool_calls or []
    ]
    assert len(fragments) > 3
    assert {fragment.index for fragment in fragments} == {0}
    names = [each.function.name for each in fragments if each.function.name]
    assert names == ["weather"]
    arguments = "".join(each.function.arguments or "" for each in fragments)
    assert arguments.lstrip().startswith("{")


def test_tool_result_goes_back(client: openai.OpenAI) -> None:
    call: Any = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"Oslo"}'},
    }
    reply = client.chat.completions.create(
        model="tiny",
        messages=[
            *ASK,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        ],
        tools=[WEATHER],
        max_tokens=4,
    )
    assert reply.choices[0].finish_reason == "length"


def test_json_schema_shapes_the_reply(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"mood": {"enum": ["good", "bad"]}, "loud": {"type": "boolean"}},
        "required": ["mood", "loud"],
        "additionalProperties": False,
    }
    reply = client.chat.completions.create(
        model="tiny",
        messages=ASK,
        max_tokens=64,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "state", "strict": True, "schema": schema},
        },
    )
    content = json.loads(reply.choices[0].message.content or "")
    assert content["mood"] in {"good", "bad"}
    assert isinstance(content["loud"], bool)


def test_two_choices_whole(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="tiny", messages=ASK, max_tokens=4, n=2
    )
    assert [choice.index for choice in reply.choices] == [0, 1]


def test_two_choices_streamed(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="tiny", messages=ASK, max_tokens=4, n=2, stream=True
        )
    )
    ends = [
        choice.index
        for chunk in chunks
        for choice in chunk.choices
        if choice.finish_reason == "length"
    ]
    assert sorted(ends) == [0, 1]


def test_logprobs(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="tiny", messages=ASK, max_tokens=4, logprobs=True, top_logprobs=2
    )
    assert reply.choices[0].logprobs is not None
    tokens = reply.choices[0].logprobs.content
    assert tokens is not None
    assert [len(token.top_logprobs) for token in tokens] == [2, 2, 2, 2]
    assert all(token.logprob <= 0 for token in tokens)


def test_stop_ends_the_text(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="tiny", messages=ASK, max_tokens=500, stop=[" world"], seed=3
    )
    assert reply.choices[0].finish_reason == "stop"
    assert " world" not in (reply.choices[0].message.content or "")


def test_completion_whole(client: openai.OpenAI) -> None:
    reply = client.completions.create(model="tiny", prompt="Once", max_tokens=6)
    assert reply.object == "text_completion"
    assert reply.choices[0].text
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 6


def test_completion_stream(client: openai.OpenAI) -> None:
    whole = client.completions.create(
        model="tiny", prompt="Once", max_tokens=12, **STEADY
    )
    chunks = list(
        client.completions.create(
            model="tiny", prompt="Once", max_tokens=12, stream=True, **STEADY
        )
    )
    text = "".join(choice.text for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].text


def _text(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(
        choice.delta.content or "" for chunk in chunks for choice in chunk.choices
    )
