"""A provider that lacks an address which its kind has is asked by another."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.parts.faulty import Peer
from tests.parts.http_text import Message, post, whole
from tests.parts.inside import CHAT, MESSAGES, RESPONSES, OpenSite, Site
from tests.parts.scripts import DONE, EVENT, error_of, stream
from tests.proxy.pipeline.test_translation import ANSWER, FINISH

COUNT = "/v1/messages/count_tokens"
TURN = [{"role": "user", "content": "Hi"}]
SAID = {
    "id": "m1", "type": "message", "role": "assistant", "model": "tiny",
    "content": [{"type": "text", "text": "Hi."}], "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 5},
}  # fmt: skip
NO_ROUTE = whole(b'{"detail":"Not Found"}', status="404 Not Found")
NO_MODEL = whole(
    b'{"error":{"message":"The model `tiny` does not exist.","code":404}}',
    status="404 Not Found",
)
GONE = {"previous_response_id": "resp_1"}


class Server:
    """Answers chat and messages, but for what it lacks."""

    def __init__(self, *lacking: str, refusal: bytes = NO_ROUTE) -> None:
        self.lacking, self.refusal = set(lacking), refusal

    async def __call__(self, peer: Peer, request: Message) -> None:
        if request.target in self.lacking:
            await peer.send(self.refusal)
        elif request.target == CHAT and b'"stream":true' in request.body:
            await peer.send(stream(EVENT, FINISH, DONE))
        else:
            answer = ANSWER if request.target == CHAT else SAID
            await peer.send(whole(json.dumps(answer).encode()))


async def asked(site: Site, path: str, **members: Any) -> tuple[Message, list[str]]:
    """What comes of a request, and which addresses its provider was asked at."""
    before = len(site.upstream.requests)
    body = {"model": "tiny", "max_tokens": 9, "messages": TURN, **members}
    if path == RESPONSES:
        body = {"model": "tiny", "input": "Hi", **members}
    reply = await site.ask(post(path, json.dumps(body).encode()))
    return reply, [request.target for request in site.upstream.requests[before:]]


@pytest.mark.parametrize("members", [{}, {"stream": True}])
@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
async def test_it_is_asked_by_what_stands_in_from_then_on(
    open_site: OpenSite, path: str, members: dict[str, Any]
) -> None:
    site = await open_site(Server(path))
    reply, targets = await asked(site, path, **members)
    assert (reply.status, targets) == (200, [path, CHAT])
    assert reply.header("x-proxy-attempts") == "2"
    assert b"Hi." in reply.body or members
    for _ in range(2):
        reply, targets = await asked(site, path, **members)
        assert (reply.status, targets) == (200, [CHAT])
    assert (await asked(site, CHAT))[1] == [CHAT]


async def test_another_model_and_another_configuration_ask_again(
    open_site: OpenSite,
) -> None:
    site = await open_site(Server(RESPONSES))
    assert (await asked(site, RESPONSES))[1] == [RESPONSES, CHAT]
    other = await asked(site, RESPONSES, model="box/other")
    assert other[1] == [RESPONSES, CHAT]
    assert (await site.runtime.reload("a test")).ok
    assert (await asked(site, RESPONSES))[1] == [RESPONSES, CHAT]


@pytest.mark.parametrize("fast", [True, False])
async def test_what_was_remembered_of_an_address_is_dropped(
    open_site: OpenSite, fast: bool
) -> None:
    server = Server()
    site = await open_site(server, fast=fast)
    caller = await site.caller()
    body = json.dumps({"model": "tiny", "max_tokens": 9, "messages": TURN}).encode()
    for _ in range(4):
        caller.send(post(CHAT, body))
        assert (await caller.reply()).status == 200
    server.lacking.add(CHAT)
    before = len(site.upstream.requests)
    for _ in range(3):
        caller.send(post(CHAT, body))
        assert json.loads((await caller.reply()).body)["object"] == "chat.completion"
    targets = [request.target for request in site.upstream.requests[before:]]
    assert targets == [CHAT, MESSAGES, MESSAGES, MESSAGES]


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES, CHAT])
async def test_a_model_that_is_missing_is_told_and_not_gone_round(
    open_site: OpenSite, path: str
) -> None:
    site = await open_site(Server(path, refusal=NO_MODEL))
    for _ in range(2):
        reply, targets = await asked(site, path)
        assert (reply.status, targets) == (404, [path])
        assert "does not exist" in error_of(reply)["message"]


async def test_what_goes_on_from_its_own_answer_is_not_gone_round(
    open_site: OpenSite,
) -> None:
    site = await open_site(Server(RESPONSES))
    site.runtime.owners.remember("resp_1", "default", "box")
    reply, targets = await asked(site, RESPONSES, **GONE)
    assert reply.status == 404
    assert set(targets) == {RESPONSES}


async def test_who_counts_no_tokens_is_not_asked_to_again(open_site: OpenSite) -> None:
    site = await open_site(Server(COUNT))
    found = [await asked(site, COUNT) for _ in range(3)]
    assert [targets for _, targets in found] == [[COUNT], [], []]
    for reply, _ in found:
        assert json.loads(reply.body)["input_tokens"] > 0
        assert reply.header("x-proxy-applied") == "input_tokens=estimated"
