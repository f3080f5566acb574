"""The official anthropic SDK: messages whole and streamed, tools, count_tokens.

Each test runs at the bare model server and through the gateway, by either door.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

ASK: Any = [{"role": "user", "content": "Say something."}]
STEADY: Any = {"temperature": 0, "seed": 7}  # the SDK has no such arguments any more


@pytest.fixture
def client(base_url: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=base_url, api_key="unused", max_retries=0, timeout=20
    ) as client:
        yield client


def test_message_whole(client: anthropic.Anthropic) -> None:
    reply = client.messages.create(model="tiny", max_tokens=6, messages=ASK)
    assert reply.type == "message"
    assert reply.role == "assistant"
    assert reply.stop_reason == "max_tokens"
    assert [block.type for block in reply.content] == ["text"]
    assert reply.usage.output_tokens == 6


def test_message_stream(client: anthropic.Anthropic) -> None:
    events = list(
        client.messages.create(model="tiny", max_tokens=6, messages=ASK, stream=True)
    )
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start"
    assert kinds.count("content_block_delta") >= 1
    assert kinds[-2:] == ["message_delta", "message_stop"]


def test_stream_helper_tells_what_the_whole_reply_says(
    client: anthropic.Anthropic,
) -> None:
    whole = client.messages.create(
        model="tiny", max_tokens=16, messages=ASK, extra_body=STEADY
    )
    with client.messages.stream(
        model="tiny", max_tokens=16, messages=ASK, extra_body=STEADY
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert [text] == [block.text for block in whole.content if block.type == "text"]
    assert final.stop_reason == "max_tokens"
    assert final.usage.output_tokens == 16


def test_tool_use_streams_its_input(client: anthropic.Anthropic) -> None:
    events = list(
        client.messages.create(
            model="tiny",
            max_tokens=64,
            # llama.cpp drops logit_bias here: the turn's beginning makes it a call.
            messages=[*ASK, {"role": "assistant", "content": "<tool_call>"}],
            stream=True,
            tools=[
                {
                    "name": "weather",
                    "input_schema": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}},
                        "required": ["city"],
                    },
                }
            ],
            tool_choice={"type": "any", "disable_parallel_tool_use": True},
            extra_body=STEADY,
        )
    )
    starts = [event for event in events if event.type == "content_block_start"]
    blocks = [event.content_block for event in starts]
    uses = [block.name for block in blocks if block.type == "tool_use"]
    assert uses == ["weather"]
    parts = [
        event.delta.partial_json
        for event in events
        if event.type == "content_block_delta"
        and event.delta.type == "input_json_delta"
    ]
    assert len(parts) > 3
    assert "".join(parts).lstrip().startswith("{")


def test_stop_sequence(client: anthropic.Anthropic) -> None:
    reply = client.messages.create(
        model="tiny", max_tokens=500, messages=ASK, stop_sequences=[" world"]
    )
    assert reply.stop_reason in {"end_turn", "stop_sequence"}


def test_count_tokens(client: anthropic.Anthropic) -> None:
    short = client.messages.count_tokens(model="tiny", messages=ASK)
    longer = client.messages.count_tokens(model="tiny", messages=ASK, system="Be brief")
    assert 0 < short.input_tokens < longer.input_tokens
