"""What nobody can serve is refused in the caller's dialect, with a code and the field."""

from __future__ import annotations

import json
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop

from tests.parts.dialects import PIXEL, SCHEMA
from tests.parts.http_text import post
from tests.parts.inside import CHAT, MESSAGES, RESPONSES, Site, run_site
from tests.proxy.dialects.test_matrix import KINDS

Json = dict[str, Any]
OLLAMA = "/api/chat"
LLM = "/llm"
URL = f"data:image/png;base64,{PIXEL}"
LONG = "word " * 9000
ORPHAN, BLIND, PLAIN, SMALL = "tiny", "blind", "plain", "small"


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(params=KINDS)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """One provider of models that see nothing, know no schema, or have no room."""
    kind = KINDS[request.param]
    fake = kind.fake()
    own = {"params": {"set": {"num_ctx": 8192}}} if kind.kind == "ollama" else {}
    base = {"providerId": "box", "upstreamModel": kind.model, **own}
    models: list[Json] = [
        {"id": ORPHAN, **base},
        {"id": BLIND, **base, "capabilities": {"vision": False}},
        {"id": PLAIN, **base, "capabilities": {"jsonMode": False}},
        {"id": SMALL, **base, "contextWindow": 2048},
    ]
    headers = {"x-api-key": kind.key or "x", "x-goog-api-key": kind.key or "x"}
    async with fake.serving():
        provider = {"kind": kind.kind, "endpoint": fake.url, "headers": headers}
        async with run_site(provider=provider, models=models, fast=True) as opened:
            yield opened


def user(content: Any) -> list[Json]:
    return [{"role": "user", "content": content}]


RESULT = {"role": "tool", "tool_call_id": "nope", "content": "x"}
CHATS_IMAGE = user([{"type": "image_url", "image_url": {"url": URL}}])
CHATS_FORM = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
THEIRS_RESULT = {"type": "tool_result", "tool_use_id": "nope", "content": "x"}
THEIRS_SOURCE = {"type": "base64", "media_type": "image/png", "data": PIXEL}
OUTPUT = {"type": "function_call_output", "call_id": "nope", "output": "x"}

# By what is wrong: the model, the code, and for each dialect what is asked and the
# field at fault, where that dialect's errors have a place for it.
CASES: dict[str, tuple[str, str, dict[str, tuple[Json, str | None]]]] = {
    "an image for the blind": (
        BLIND,
        "unsupported_operation",
        {
            CHAT: ({"messages": CHATS_IMAGE}, "messages"),
            LLM: ({"messages": CHATS_IMAGE}, "messages"),
            RESPONSES: (
                {"input": user([{"type": "input_image", "image_url": URL}])},
                "input",
            ),
            MESSAGES: (
                {"messages": user([{"type": "image", "source": THEIRS_SOURCE}])},
                None,
            ),
            OLLAMA: (
                {"messages": [{"role": "user", "content": "x", "images": [PIXEL]}]},
                None,
            ),
        },
    ),
    "a schema": (
        PLAIN,
        "unsupported_operation",
        {
            CHAT: (
                {"messages": user("x"), "response_format": CHATS_FORM},
                "response_format",
            ),
            LLM: (
                {"messages": user("x"), "options": {"response_format": CHATS_FORM}},
                "response_format",
            ),
            RESPONSES: (
                {
                    "input": "x",
                    "text": {
                        "format": {
                            "type": "json_schema",
                            "name": "n",
                            "schema": SCHEMA,
                        }
                    },
                },
                "text.format",
            ),
            MESSAGES: (
                {
                    "messages": user("x"),
                    "output_config": {
                        "format": {"type": "json_schema", "schema": SCHEMA}
                    },
                },
                None,
            ),
            OLLAMA: ({"messages": user("x"), "format": SCHEMA}, None),
        },
    ),
    "more than there is room for": (
        SMALL,
        "context_length_exceeded",
        {
            CHAT: ({"messages": user(LONG)}, "messages"),
            LLM: ({"messages": user(LONG)}, "messages"),
            RESPONSES: ({"input": LONG}, "input"),
            MESSAGES: ({"messages": user(LONG)}, None),
            OLLAMA: ({"messages": user(LONG)}, None),
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_what_a_model_cannot_do(site: Site, case: str) -> None:
    model, code, by_path = CASES[case]
    for path, (asked, param) in by_path.items():
        error = await refused(site, path, {"model": model, **asked})
        if path == OLLAMA:
            assert model in error
        else:
            assert error["code"] == code
            assert error.get("param") == param
        assert (await site.record()).code == code


async def test_a_result_without_its_call(site: Site) -> None:
    asked: dict[str, Json] = {
        CHAT: {"messages": [*user("x"), RESULT]},
        LLM: {"messages": [*user("x"), RESULT]},
        RESPONSES: {"input": [*user("x"), OUTPUT]},
        MESSAGES: {"messages": user([THEIRS_RESULT])},
        OLLAMA: {"messages": [*user("x"), {"role": "tool", "content": "x"}]},
    }
    [box] = site.runtime.registry.providers
    if box.kind == "ollama":
        del asked[OLLAMA]  # it passes, and there nobody minds
    for path, body in asked.items():
        error = await refused(site, path, {"model": ORPHAN, **body})
        text = error if isinstance(error, str) else error["message"]
        assert "messages" in text or "input[1].call_id" in text
        assert (await site.record()).code == "invalid_field"


async def refused(site: Site, path: str, body: Json) -> Any:
    """Ask; answers what is said of the refusal, in the shape of the path's dialect."""
    whole = {"max_tokens": 9, **body} if path == MESSAGES else body
    if path == OLLAMA:
        whole = {**whole, "stream": False}
    reply = await site.ask(post(path, json.dumps(whole).encode()))
    assert reply.status == 400, reply.body
    found = json.loads(reply.body)
    if path == MESSAGES:
        assert found["type"] == "error"
        assert found["request_id"]
    return found["error"]
