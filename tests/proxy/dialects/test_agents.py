"""Turns as coding agents send them, with tools and their results, at each provider.

The bodies have what Claude Code, codex and opencode put into theirs: members of their
own vendors, cache breakpoints, tools for free text, thoughts of another's model.
"""

from __future__ import annotations

import json
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop

from tests.fakes.anthropic import NEWEST
from tests.fakes.talk import SIGNATURE, TEXT
from tests.parts.http_text import data_of, events, post
from tests.parts.inside import Site, run_site
from tests.proxy.dialects.test_matrix import KINDS

Json = dict[str, Any]
CACHED = {"cache_control": {"type": "ephemeral"}}
SCHEMA: Json = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}

CLAUDE_CODE: Json = {
    "model": "tiny",
    "max_tokens": 32000,
    "stream": True,
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1"},
        {"type": "text", "text": "You are a coding agent.", **CACHED},
    ],
    "metadata": {"user_id": "user_1_session_2"},
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "high"},
    "context_management": {"edits": [{"type": "clear_thinking", "keep": "all"}]},
    "tools": [
        {"name": "Bash", "description": "run", "input_schema": SCHEMA},
        {"name": "Read", "description": "read", "input_schema": SCHEMA, **CACHED},
    ],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>x</system-reminder>"},
                {"type": "text", "text": "list files", **CACHED},
            ],
        }
    ],
}
CLAUDE_CODES_RESULTS: list[Json] = [
    {
        "role": "assistant",
        "content": [
            {
                "type": "thinking",
                "thinking": "hm",
                "signature": f"x-local-ai:gemini:{SIGNATURE}",
            },
            {"type": "text", "text": "I look."},
            {
                "type": "tool_use",
                "id": "toolu_1",
                "name": "Bash",
                "input": {"city": "x"},
            },
            {
                "type": "tool_use",
                "id": "toolu_2",
                "name": "Read",
                "input": {"city": "y"},
            },
        ],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "toolu_1",
                "content": [{"type": "text", "text": "a.txt"}],
            },
            {
                "type": "tool_result",
                "tool_use_id": "toolu_2",
                "content": "no such file",
                "is_error": True,
                **CACHED,
            },
        ],
    },
]

CODEX: Json = {
    "model": "tiny",
    "instructions": "You are a coding agent.",
    "stream": True,
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "prompt_cache_key": "session-1",
    "reasoning": {"effort": "medium", "summary": "auto"},
    "text": {"verbosity": "low"},
    "tools": [
        {"type": "function", "name": "shell", "strict": False, "parameters": SCHEMA},
        {
            "type": "custom",
            "name": "apply_patch",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
        },
        {"type": "web_search"},
    ],
    "input": [
        {
            "type": "message",
            "role": "developer",
            "content": [{"type": "input_text", "text": "permissions"}],
        },
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "list files"}],
        },
    ],
}
CODEXS_RESULTS: list[Json] = [
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "content": None,
        "encrypted_content": "gAAAA",
    },
    {
        "type": "function_call",
        "call_id": "call_1",
        "name": "shell",
        "arguments": '{"city":"x"}',
    },
    {
        "type": "custom_tool_call",
        "call_id": "call_2",
        "name": "apply_patch",
        "input": "*** Begin Patch",
    },
    {"type": "function_call_output", "call_id": "call_1", "output": "a.txt"},
    {"type": "custom_tool_call_output", "call_id": "call_2", "output": "Done"},
]

OPENCODE: Json = {
    "model": "tiny",
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 32000,
    "temperature": 0,
    "top_p": 1,
    "tool_choice": "auto",
    "reasoning_effort": "medium",
    "messages": [
        {"role": "system", "content": "You are a coding agent."},
        {"role": "user", "content": [{"type": "text", "text": "list files"}]},
    ],
    "tools": [{"type": "function", "function": {"name": "bash", "parameters": SCHEMA}}],
}
OPENCODES_RESULTS: list[Json] = [
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "bash", "arguments": '{"city":"x"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "a.txt"},
]

AGENTS = {
    "claude code": ("/v1/messages", CLAUDE_CODE, "messages", CLAUDE_CODES_RESULTS),
    "codex": ("/v1/responses", CODEX, "input", CODEXS_RESULTS),
    "opencode": ("/v1/chat/completions", OPENCODE, "messages", OPENCODES_RESULTS),
}
LAST_EVENTS = ("message_stop", "response.completed")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(params=KINDS)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    kind = KINDS[request.param]
    fake = kind.fake()
    # Of Anthropic's, the one whose thinking Claude Code asks for.
    name = NEWEST if kind.kind == "anthropic" else kind.model
    model = {"id": "tiny", "providerId": "box", "upstreamModel": name}
    async with fake.serving():
        headers = {"x-api-key": kind.key or "x", "x-goog-api-key": kind.key or "x"}
        provider = {"kind": kind.kind, "endpoint": fake.url, "headers": headers}
        async with run_site(provider=provider, models=[model], fast=True) as opened:
            yield opened


@pytest.mark.parametrize("agent", AGENTS)
async def test_a_turn_with_tools_and_the_one_after_it(site: Site, agent: str) -> None:
    path, body, turns, results = AGENTS[agent]
    [box] = site.runtime.registry.providers
    if box.kind == "ollama":
        body = {**body, "num_ctx": 8192}  # its own API is chosen by this
    first = await streamed(site, path, body)
    assert '{"city":"Paris"}' in first.replace('\\"', '"').replace(": ", ":")
    told = await streamed(site, path, {**body, turns: [*body[turns], *results]})
    assert TEXT in told
    records = site.records[-2:]
    assert [(record.status, record.code) for record in records] == [(200, None)] * 2


async def streamed(site: Site, path: str, body: Json) -> str:
    reply = await site.ask(post(path, json.dumps(body).encode()))
    assert reply.status == 200, reply.body
    last = events(reply.body)[-1]
    if last != b"data: [DONE]\n\n":
        found: Any = data_of(last)
        assert found["type"] in LAST_EVENTS
    return _joined(reply.body)


def _joined(stream: bytes) -> str:
    """All deltas of a stream, whatever they are of."""
    found = ""
    for event in events(stream):
        data: Any = data_of(event) if b"data: {" in event else {}
        delta = data.get("delta") or {}
        if isinstance(delta, str):
            found += delta
            continue
        found += delta.get("text", "") + delta.get("partial_json", "")
        for choice in data.get("choices") or ():
            found += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls") or ():
                found += call["function"].get("arguments", "")
    return found
