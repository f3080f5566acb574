from __future__ import annotations

import json

import pytest

from providers.base import NATIVE, OPERATIONS
from providers.wire.translate.events import ToolCallStart
from proxy.core.errors import CallerFault
from proxy.pipeline.talk import Signatures, read_asked
from tests.fakes.gemini import NEWEST, FakeGemini
from tests.fakes.talk import SIGNATURE
from tests.parts.dialects import ChatCaller, Question
from tests.parts.inside import run_site


def test_the_newest_signatures_are_remembered() -> None:
    known = Signatures(limit=2)
    for name in ("a", "b", "c"):
        known.note(ToolCallStart(0, name, "look", f"of {name}"))
    known.note(ToolCallStart(0, "d", "look"))
    found = [known.find(name) for name in ("a", "b", "c", "d")]
    assert found == [None, "of b", "of c", None]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_signature_that_the_caller_stripped_goes_back(stream: bool) -> None:
    fake = FakeGemini()
    model = {"id": "tiny", "providerId": "box", "upstreamModel": NEWEST}
    async with fake.serving():
        provider = {
            "kind": "gemini",
            "endpoint": fake.url,
            "headers": {"x-goog-api-key": "AIza-fake"},
        }
        async with run_site(provider=provider, models=[model]) as site:
            caller = ChatCaller(site.url)
            answered = await caller.ask(Question("tiny", tools=True), stream=stream)
            asked = Question("tiny", tools=True, calls=answered.calls)
            await caller.ask(asked, stream=stream)
    [_, called, _] = fake.received[-1].json()["contents"]
    signatures = [part.get("thoughtSignature") for part in called["parts"]]
    assert SIGNATURE in signatures


def test_each_operation_is_read_by_its_own_rules() -> None:
    turns = [{"role": "user", "content": "hi"}]
    body = {"model": "m", "messages": turns}
    assert read_asked(OPERATIONS["count_tokens"], body).max_tokens is None
    with pytest.raises(CallerFault) as caught:
        read_asked(OPERATIONS["messages"], json.dumps(body).encode())
    assert (caught.value.code, caught.value.param) == ("missing_field", "max_tokens")
    one = read_asked(NATIVE["ollama_generate"], {"model": "m", "prompt": "hi"})
    assert len(one.messages) == 1
