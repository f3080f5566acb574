from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.core.errors import CallerFault, GatewayFault
from proxy.core.tasks import Tasks
from proxy.pipeline.durable import DurableStore
from proxy.pipeline.stored import MemoryStore, Stored
from proxy.routing.responses import ResponseOwners
from proxy.storage.database import Database
from proxy.storage.errors import DatabaseAway
from proxy.storage.responses import ResponseRow, Responses
from tests.parts.http_text import post, whole
from tests.parts.inside import RESPONSES, run_site
from tests.parts.scripts import answers

REPLY = whole(
    b'{"id":"c1","object":"chat.completion","created":1,"model":"tiny","choices":[{'
    b'"index":0,"message":{"role":"assistant","content":"Hi."},"finish_reason":"stop"}]}'
)


def stored(number: int, before: Stored | None = None, tenant: str = "a") -> Stored:
    """A response that goes on from another."""
    output = [{"type": "message", "content": f"answer {number}"}]
    previous = None if before is None else before.id
    response = {
        "id": f"resp_{number}", "previous_response_id": previous, "model": "tiny",
        "output": output,
    }  # fmt: skip
    items = json.dumps([{"content": f"question {number}"}]).encode()
    said = json.dumps(output, separators=(",", ":")).encode()
    turns = (*(before.turns if before else ()), items, said)
    body = json.dumps(response).encode()
    return Stored(f"resp_{number}", tenant, body, items, turns, "box")


@asynccontextmanager
async def opened(
    folder: Path, owners: ResponseOwners | None = None
) -> AsyncIterator[DurableStore]:
    async with Tasks(lambda _: None) as tasks, Database(data_dir=folder) as database:
        own = ResponseOwners() if owners is None else owners
        async with DurableStore(Responses(database), own, tasks) as store:
            yield store


async def test_a_conversation_outlives_the_process(tmp_path: Path) -> None:
    first = stored(1)
    second = stored(2, first)
    async with opened(tmp_path) as store:
        store.put(first)
        store.put(second)
    async with opened(tmp_path) as store:
        found = await store.get("resp_2", "a")
        assert found == second
        assert [item["content"] for item in second.conversation()] == [
            "question 1", "answer 1", "question 2", "answer 2",
        ]  # fmt: skip
        assert await store.get("resp_2", "b") is None
        third = stored(3, second)
        store.put(third)
    async with opened(tmp_path) as store:
        await store.get("resp_2", "a")
        assert await store.get("resp_3", "a") == third


async def test_what_is_deleted_is_gone_here_and_there(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        store.put(stored(1))
        await store.write()
        assert not await store.delete("resp_1", "b")
        assert await store.delete("resp_1", "a")
        assert not await store.delete("resp_1", "a")
        store.put(stored(2))
        assert await store.delete("resp_2", "a")
    async with opened(tmp_path) as store:
        assert await store.get("resp_1", "a") is None
        assert await store.get("resp_2", "a") is None


async def test_a_conversation_with_a_gap_cannot_be_gone_on_with(
    tmp_path: Path,
) -> None:
    first = stored(1)
    async with opened(tmp_path) as store:
        store.put(first)
        store.put(stored(2, first))
    async with opened(tmp_path) as store:
        await store.delete("resp_1", "a")
        assert await store.get("resp_2", "a") is None


async def test_who_made_a_response_outlives_the_process(tmp_path: Path) -> None:
    owners = ResponseOwners()
    async with opened(tmp_path, owners):
        owners.remember("resp_theirs", "a", "cloud")
        owners.remember("resp_theirs", "a", "cloud")
    later = ResponseOwners()
    async with opened(tmp_path, later) as store:
        assert await store.get("resp_theirs", "b") is None
        with pytest.raises(CallerFault):
            later.provider_id("resp_theirs", "b")
        assert await store.get("resp_theirs", "a") is None
        assert later.provider_id("resp_theirs", "a") == "cloud"


async def test_what_the_database_does_not_take_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_all = Responses.put_all
    away = True

    async def sometimes(self: Responses, rows: Sequence[ResponseRow]) -> None:
        if away:
            raise DatabaseAway("locked")
        await put_all(self, rows)

    async def never(self: Responses, *_: str) -> None:
        raise DatabaseAway("locked")

    monkeypatch.setattr(Responses, "put_all", sometimes)
    async with opened(tmp_path) as store:
        store.put(stored(1))
        await store.write()
        assert await store.get("resp_1", "a") == stored(1)
        with monkeypatch.context() as patch:
            patch.setattr(Responses, "get", never)
            with pytest.raises(GatewayFault) as told:
                await store.get("resp_2", "a")
            assert told.value.code == "database_unavailable"
        away = False
    async with opened(tmp_path) as store:
        assert await store.get("resp_1", "a") == stored(1)


@pytest.mark.parametrize("fast", [True, False])
async def test_callers_at_either_door_go_on_from_what_the_database_has(
    fast: bool,
) -> None:
    chat = {"kind": "openai-compatible"}  # the gateway makes and keeps responses then
    async with run_site(answers(REPLY), fast=fast, records=True, provider=chat) as site:
        first = await site.ask(post(RESPONSES, b'{"model":"tiny","input":"Hi"}'))
        id_ = json.loads(first.body)["id"]
        durable = site.runtime.translator.talks.store
        assert isinstance(durable, DurableStore)
        await durable.write()
        durable._memory = MemoryStore()  # as after a restart
        for previous, status in ((id_, 200), ("resp_req_of_nobody", 404)):
            body = {"model": "tiny", "input": "On", "previous_response_id": previous}
            reply = await site.ask(post(RESPONSES, json.dumps(body).encode()))
            assert reply.status == status
        assert b'"Hi"' in site.upstream.requests[-1].body
