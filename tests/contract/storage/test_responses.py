from __future__ import annotations

from msgspec.structs import replace

from proxy.storage.database import Database
from proxy.storage.responses import ResponseRow, Responses

ROW = ResponseRow(
    id="resp_1",
    tenant="team",
    provider="gpu",
    created_at=1000.5,
    model="qwen",
    previous_id="resp_0",
    input=b'[{"role":"user"}]',
    output=b"\x00\xff",
)


async def test_a_response_comes_back_as_it_was_kept(database: Database) -> None:
    responses = Responses(database)
    assert await responses.put(ROW)
    assert await responses.get("resp_1", "team") == ROW
    assert await responses.put(replace(ROW, provider="other", output=None))
    assert await responses.get("resp_1", "team") == replace(
        ROW, provider="other", output=None
    )


async def test_to_another_tenant_it_does_not_exist(database: Database) -> None:
    responses = Responses(database)
    await responses.put(ROW)
    assert not await responses.put(replace(ROW, tenant="thief", output=b"forged"))
    assert await responses.get("resp_1", "thief") is None
    assert not await responses.delete("resp_1", "thief")
    assert await responses.get("resp_1", "team") == ROW


async def test_it_goes_when_it_is_deleted(database: Database) -> None:
    responses = Responses(database)
    await responses.put(ROW)
    assert await responses.delete("resp_1", "team")
    assert not await responses.delete("resp_1", "team")
    assert await responses.get("resp_1", "team") is None


async def test_the_oldest_go_first_a_slice_at_a_time(database: Database) -> None:
    responses = Responses(database)
    for number in range(5):
        await responses.put(replace(ROW, id=f"resp_{number}", created_at=number))
    assert await responses.delete_before(4, limit=3) == 3
    assert await responses.get("resp_3", "team") is not None
    assert await responses.delete_before(4, limit=3) == 1
    assert await responses.delete_before(4, limit=3) == 0
    assert await responses.get("resp_4", "team") is not None


async def test_many_are_kept_at_once_but_for_those_of_others(
    database: Database,
) -> None:
    responses = Responses(database)
    await responses.put(replace(ROW, id="taken", tenant="b"))
    await responses.put_all([replace(ROW, id=id_) for id_ in ("one", "taken", "two")])
    for id_, tenant, is_there in (
        ("one", "team", True), ("taken", "team", False), ("two", "team", True),
        ("taken", "b", True), ("one", "b", False),
    ):  # fmt: skip
        assert (await responses.get(id_, tenant) is not None) == is_there
