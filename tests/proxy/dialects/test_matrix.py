"""Every dialect in, every provider out: by the official clients, against strict fakes.

The fakes refuse what the real servers refuse, so an answer proves the request, too;
what only the request shows is asserted on what they received.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anthropic
import ollama
import openai
import pytest
import uvloop

from tests.fakes import anthropic as anthropic_fake
from tests.fakes import gemini as gemini_fake
from tests.fakes.anthropic import FakeAnthropic
from tests.fakes.chat import FakeChat
from tests.fakes.gemini import FakeGemini
from tests.fakes.ollama import FakeOllama
from tests.fakes.talk import JSON_TEXT, TEXT, THOUGHT
from tests.parts.dialects import (
    PIXEL,
    ChatCaller,
    MessagesCaller,
    OllamaCaller,
    Question,
    Refused,
    ResponsesCaller,
    StreamFailed,
    UnifiedCaller,
)
from tests.parts.inside import Site, run_site

CALLERS: dict[str, Any] = {
    "chat": ChatCaller,
    "responses": ResponsesCaller,
    "messages": MessagesCaller,
    "ollama": OllamaCaller,
    "llm": UnifiedCaller,
}
FAILURES = (
    openai.APIError,
    anthropic.APIError,
    ollama.ResponseError,
    Refused,
    StreamFailed,
)


@dataclass(frozen=True)
class Kind:
    fake: Any
    kind: str
    model: str
    key: str | None = None


KINDS = {
    "openai-compatible": Kind(FakeChat, "openai-compatible", "fake-model"),
    "anthropic": Kind(
        FakeAnthropic, "anthropic", anthropic_fake.OLDER, anthropic_fake.KEY
    ),
    "gemini": Kind(FakeGemini, "gemini", gemini_fake.NEWEST, gemini_fake.KEY),
    "ollama": Kind(FakeOllama, "ollama", "llama3.1:8b"),
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@dataclass
class Cell:
    """One caller before one provider."""

    caller: Any
    kind: Kind
    fake: Any
    site: Site
    stream: bool

    def question(self, **said: Any) -> Question:
        extra: dict[str, Any] = {}
        if self.kind.kind == "ollama" and not isinstance(self.caller, OllamaCaller):
            extra["options"] = {"num_ctx": 8192}  # its own API is chosen by this
        return Question("tiny", extra=extra, **said)

    async def ask(self, **said: Any) -> Any:
        return await self.caller.ask(self.question(**said), stream=self.stream)

    @property
    def sent(self) -> Any:
        """The last request that the provider received."""
        return self.fake.received[-1].json()

    def script(self, fault: str) -> None:
        path = self.fake.talk_path(self.kind.model, stream=self.stream)
        self.fake.script(path, self.fake.fault(fault))


@pytest.fixture(params=["whole", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "stream")


@pytest.fixture(params=CALLERS)
def caller(request: pytest.FixtureRequest) -> Any:
    return CALLERS[request.param]


@pytest.fixture(params=KINDS)
async def cell(
    request: pytest.FixtureRequest,
    caller: Any,
    stream: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Cell]:
    kind = KINDS[request.param]
    fake = kind.fake()
    provider: dict[str, Any] = {"kind": kind.kind}
    model = {"id": "tiny", "providerId": "box", "upstreamModel": kind.model}
    async with fake.serving():
        headers = {"x-api-key": kind.key} if kind.kind == "anthropic" else {}
        if kind.kind == "gemini":
            headers = {"x-goog-api-key": kind.key}
        provider |= {"endpoint": fake.url, "headers": headers}
        async with run_site(provider=provider, models=[model], fast=True) as site:
            yield Cell(caller(site.url), kind, fake, site, stream)


async def test_text_and_usage(cell: Cell) -> None:
    answered = await cell.ask()
    assert (answered.text, answered.finish) == (TEXT, "stop")
    assert answered.prompt == (7 if cell.kind.kind == "ollama" else 11)
    assert answered.completion == 4
    record = await cell.site.record()
    assert (record.prompt_tokens, record.completion_tokens) == (answered.prompt, 4)
    assert record.status == 200
    assert record.code is None


async def test_a_system_text_and_turns(cell: Cell) -> None:
    answered = await cell.ask(system="Be brief.", turns=("one", "two", "three"))
    assert answered.text == TEXT
    sent, kind = cell.sent, cell.kind.kind
    if kind == "gemini":
        assert sent["systemInstruction"]["parts"] == [{"text": "Be brief."}]
        turns = [(c["role"], c["parts"][0]["text"]) for c in sent["contents"]]
        assert turns == [("user", "one"), ("model", "two"), ("user", "three")]
        return
    turns = [(turn["role"], _text(turn["content"])) for turn in sent["messages"]]
    if kind == "anthropic":
        assert _text(sent["system"]) == "Be brief."
    else:
        assert turns.pop(0) == ("system", "Be brief.")
    assert turns == [("user", "one"), ("assistant", "two"), ("user", "three")]


def _text(content: Any) -> Any:
    return content if isinstance(content, str) else content[0]["text"]


async def test_parallel_tools_and_their_results(cell: Cell) -> None:
    answered = await cell.ask(tools=True)
    assert answered.finish == "tool_calls"
    assert [(c.name, c.arguments) for c in answered.calls] == [
        ("weather", {"city": "Paris"}),
        ("time", {"city": "Paris"}),
    ]
    if not isinstance(cell.caller, OllamaCaller):
        assert len({call.id for call in answered.calls}) == 2
    told = await cell.ask(tools=True, calls=answered.calls)
    assert (told.text, told.calls) == (TEXT, ())


async def test_an_image(cell: Cell) -> None:
    assert (await cell.ask(image=True)).text == TEXT
    assert PIXEL in cell.fake.received[-1].body.decode()


async def test_a_schema(cell: Cell) -> None:
    assert (await cell.ask(schema=True)).text == JSON_TEXT


async def test_reasoning(cell: Cell) -> None:
    answered = await cell.ask(effort="low")
    assert (answered.thinking, answered.text) == (THOUGHT, TEXT)


async def test_stop(cell: Cell) -> None:
    if isinstance(cell.caller, ResponsesCaller):
        return  # that dialect has none
    answered = await cell.ask(stop=" the")
    assert (answered.text, answered.finish) == ("Hello from", "stop")


async def test_max_tokens(cell: Cell) -> None:
    answered = await cell.ask(max_tokens=2)
    assert (answered.text, answered.finish) == ("Hello from", "length")


@pytest.mark.parametrize(
    ("fault", "status"), [("bad_request", 400), ("rate_limited", 429), ("broken", 502)]
)
async def test_an_error_before_anything_has_come(
    cell: Cell, fault: str, status: int
) -> None:
    cell.script(fault)
    with pytest.raises(FAILURES) as caught:
        await cell.ask()
    assert getattr(caught.value, "status_code", None) == status


async def test_an_error_in_the_stream(cell: Cell) -> None:
    if not cell.stream:
        return
    for fault in ("error_in_stream", "cut_in_stream", "unended"):
        cell.script(fault)
        with pytest.raises(FAILURES):
            await cell.ask()


CANNOT = {
    # what is asked of chat: by provider, the field that is refused or dropped
    "n": ({"n": 2}, {"anthropic": "refused", "gemini": "refused", "ollama": "refused"}),
    "logprobs": ({"logprobs": True}, {"anthropic": "refused"}),
    "tool_choice": ({"tool_choice": "required"}, {"ollama": "refused"}),
    "seed": ({"seed": 7}, {"anthropic": "dropped"}),
    "presence_penalty": ({"presence_penalty": 1}, {"anthropic": "dropped"}),
    "parallel_tool_calls": (
        {"parallel_tool_calls": False},
        {"gemini": "dropped", "ollama": "dropped"},
    ),
}


@pytest.mark.parametrize("caller", [ChatCaller], ids=["chat"])
@pytest.mark.parametrize("stream", [False], ids=["whole"])
@pytest.mark.parametrize("param", CANNOT)
async def test_what_cannot_be_said_is_refused_or_told(cell: Cell, param: str) -> None:
    asked, by_kind = CANNOT[param]
    body = ChatCaller.body(cell.question(tools=True))
    body["extra_body"] = {**body.get("extra_body", {}), **asked}
    replies = cell.caller.client.chat.completions.with_raw_response
    if by_kind.get(cell.kind.kind) == "refused":
        with pytest.raises(openai.BadRequestError) as caught:
            await replies.create(**body)
        assert (caught.value.code, caught.value.param) == (
            "unsupported_parameter",
            param,
        )
        assert not [r for r in cell.fake.received if r.method == "POST"]
        return
    reply = await replies.create(**body)
    told = f"dropped={param}" in (reply.headers.get("x-proxy-applied") or "")
    assert told == (cell.kind.kind in by_kind)


async def test_an_image_url_goes_where_it_is_fetched(cell: Cell) -> None:
    if cell.stream or not isinstance(cell.caller, ChatCaller):
        return
    body = ChatCaller.body(cell.question())
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    body["messages"][-1]["content"] = [image]
    create = cell.caller.client.chat.completions.create
    if cell.kind.kind in ("gemini", "ollama"):
        with pytest.raises(openai.BadRequestError) as caught:
            await create(**body)
        assert caught.value.code == "image_url_not_supported"
        assert caught.value.param == "messages[0].content[0].image_url.url"
        return
    await create(**body)
    assert b"https://example.org/a.png" in cell.fake.received[-1].body
