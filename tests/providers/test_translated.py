"""Adapters, translators and the fakes of their upstreams, put together by hand: what
is written for an upstream is taken by one as strict as the real, and read back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from providers.anthropic import Anthropic
from providers.base import NATIVE, OPERATIONS, Adapter, Request, Settings
from providers.gemini import Gemini
from providers.ollama import Ollama
from providers.openai_compatible import OpenAICompatible
from providers.wire.dialect import Dialect
from providers.wire.translate.codecs import CODECS
from providers.wire.translate.events import Finish
from providers.wire.translate.reply import Reply, assemble
from providers.wire.translate.request import Reasoning, Text, ToolCall
from tests.fakes import anthropic as anthropic_fake
from tests.fakes import gemini as gemini_fake
from tests.fakes.anthropic import FakeAnthropic
from tests.fakes.chat import FakeChat
from tests.fakes.gemini import FakeGemini
from tests.fakes.ollama import FakeOllama
from tests.fakes.talk import JSON_TEXT, TEXT, THOUGHT

ASKED = {
    Dialect.CHAT: OPERATIONS["chat"],
    Dialect.RESPONSES: OPERATIONS["responses"],
    Dialect.MESSAGES: OPERATIONS["messages"],
    Dialect.OLLAMA: NATIVE["ollama_chat"],
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTIONS = [{"name": name, "parameters": SCHEMA} for name in ("weather", "time")]
TOOLS = [{"type": "function", "function": function} for function in FUNCTIONS]


@dataclass
class Upstream:
    """A fake, the adapter for it, and one of its models."""

    fake: Any
    adapter: Adapter
    model: str
    session: aiohttp.ClientSession

    async def ask(
        self, body: dict[str, Any], caller: Dialect = Dialect.CHAT
    ) -> tuple[Reply, dict[str, Any], set[str]]:
        """Do what the gateway does; answer the reply, what was sent, what was left."""
        asked = CODECS[caller].read_request({"model": self.model, **body})
        way = self.adapter.way(ASKED[caller], frozenset(body))
        assert way is not None
        suited, left = self.adapter.suit(asked)
        codec = CODECS[way.dialect]
        written = codec.write_request(suited, self.adapter.target_of(self.model))
        prepared = self.adapter.prepare(
            Request(
                way,
                self.model,
                self.model,
                asked.stream,
                frozenset(written.body),
                (("content-type", "application/json"),),
            )
        )
        sent = {k: v for k, v in written.body.items() if k not in prepared.drop_fields}
        async with self.session.post(
            self.fake.url + prepared.url_path, json=sent, headers=prepared.headers
        ) as reply:
            raw = await reply.read()
        assert reply.status == 200, raw
        dropped = {*left, *written.dropped, *prepared.dropped}
        if not asked.stream:
            return codec.read_reply(raw, "call"), sent, dropped
        reader = codec.stream_reader("call")
        events = [event for piece in halves(raw) for event in reader.feed(piece)]
        return assemble([*events, *reader.close()]), sent, dropped


def halves(raw: bytes) -> Iterator[bytes]:
    yield raw[: len(raw) // 2]
    yield raw[len(raw) // 2 :]


KINDS: dict[str, tuple[Any, type[Adapter], str, str | None]] = {
    "anthropic": (FakeAnthropic, Anthropic, anthropic_fake.NEWEST, anthropic_fake.KEY),
    "anthropic, older": (
        FakeAnthropic,
        Anthropic,
        anthropic_fake.OLDER,
        anthropic_fake.KEY,
    ),
    "gemini": (FakeGemini, Gemini, gemini_fake.NEWEST, gemini_fake.KEY),
    "gemini, older": (FakeGemini, Gemini, gemini_fake.OLDER, gemini_fake.KEY),
    "ollama": (FakeOllama, Ollama, "llama3.1:8b", None),
    "openai-compatible": (FakeChat, OpenAICompatible, "fake-model", None),
}
every_stream = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest_asyncio.fixture(params=KINDS)
async def upstream(request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
    fake_kind, kind, model, key = KINDS[request.param]
    fake = fake_kind()
    async with fake.serving(), aiohttp.ClientSession() as session:
        yield Upstream(fake, kind(Settings("p", fake.url, key=key)), model, session)


def text_of(reply: Reply) -> str:
    return "".join(p.text for p in reply.first.parts if isinstance(p, Text))


def calls_of(reply: Reply) -> list[ToolCall]:
    return [part for part in reply.first.parts if isinstance(part, ToolCall)]


# Has Ollama's own API chosen, and is dropped elsewhere.
OWN = {"keep_alive": "5m"}


@every_stream
@pytest.mark.parametrize("caller", ASKED)
async def test_every_dialect_is_answered(
    upstream: Upstream, caller: Dialect, stream: bool
) -> None:
    turns = [{"role": "user", "content": "hi"}]
    body: dict[str, Any] = {"stream": stream, "messages": turns, **OWN}
    if caller is Dialect.RESPONSES:
        body["input"] = body.pop("messages")
    if caller is Dialect.MESSAGES:
        body["max_tokens"] = 99
    reply, _, _ = await upstream.ask(body, caller)
    assert (text_of(reply), reply.first.finish, reply.complete) == (
        TEXT,
        Finish.STOP,
        True,
    )
    assert reply.usage is not None
    assert reply.usage.prompt == (7 if isinstance(upstream.fake, FakeOllama) else 11)
    assert reply.usage.completion == 4


@every_stream
async def test_a_conversation_with_tools_goes_there_and_back(
    upstream: Upstream, stream: bool
) -> None:
    first = {"role": "user", "content": "hi"}
    base: dict[str, Any] = {"stream": stream, "tools": TOOLS, "max_tokens": 99, **OWN}
    said, _, _ = await upstream.ask({**base, "messages": [first]})
    calls = calls_of(said)
    assert [call.name for call in calls] == ["weather", "time"]
    assert len({call.id for call in calls}) == 2
    assert said.first.finish is Finish.TOOL_CALLS
    whole = {"role": "assistant", "content": None, "tool_calls": []}
    bare = {**whole, "tool_calls": []}
    for call in calls:
        function = {"name": call.name, "arguments": call.arguments}
        plain = {"id": call.id, "type": "function", "function": function}
        google = {"google": {"thought_signature": call.signature}}
        signed = plain | ({"extra_content": google} if call.signature else {})
        whole["tool_calls"].append(signed)
        bare["tool_calls"].append(plain)  # as clients do that strip what they know not
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "ok"} for call in calls
    ]
    for answer in (whole, bare):
        told, _, _ = await upstream.ask({**base, "messages": [first, answer, *results]})
        assert text_of(told) == TEXT


@every_stream
async def test_sampling_that_a_model_refuses_does_not_reach_it(
    upstream: Upstream, stream: bool
) -> None:
    hot = {"temperature": 1.5, "top_p": 0.5, "top_k": 5, "min_p": 0.1}
    turns = [{"role": "user", "content": "hi"}]
    reply, sent, dropped = await upstream.ask(
        {"messages": turns, "stream": stream, **hot, **OWN}
    )
    assert text_of(reply) == TEXT
    told = set(hot) & dropped
    place = sent.get("generationConfig") or sent.get("options") or sent
    assert told == {name for name in hot if not _has(place, name)}


def _has(place: dict[str, Any], name: str) -> bool:
    first, _, rest = name.partition("_")
    return name in place or first + rest.title() in place


@every_stream
async def test_thinking_schema_stop_and_limits_arrive(
    upstream: Upstream, stream: bool
) -> None:
    turns = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"},
    ]
    base = {"messages": turns, "stream": stream, **OWN}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    thought, _, _ = await upstream.ask(
        {**base, "reasoning_effort": "low", "response_format": form, "max_tokens": 4096}
    )
    thoughts = [p.text for p in thought.first.parts if isinstance(p, Reasoning)]
    assert thoughts == [THOUGHT]
    assert text_of(thought) == JSON_TEXT
    stopped, _, _ = await upstream.ask({**base, "stop": [" the"]})
    assert text_of(stopped) == "Hello from"
    cut, _, _ = await upstream.ask({**base, "max_tokens": 2})
    assert (text_of(cut), cut.first.finish) == ("Hello from", Finish.LENGTH)
