from __future__ import annotations

from msgspec.structs import replace

from proxy.storage.bodies import Bodies, BodyRow
from proxy.storage.database import Database

ROW = BodyRow(
    request_id="req_1",
    kept_at=1000.5,
    request=b'{"model":"x"}',
    request_bytes=13,
    reply=b"\x00\xff",
    reply_bytes=1 << 40,
)


async def test_bodies_come_back_as_they_were_kept(database: Database) -> None:
    bodies = Bodies(database)
    await bodies.put_all([ROW, replace(ROW, request_id="req_2", request=b"")])
    assert await bodies.get("req_1") == ROW
    assert await bodies.get("req_2") == replace(ROW, request_id="req_2", request=b"")
    assert await bodies.get("req_3") is None


async def test_what_is_written_twice_is_kept_once(database: Database) -> None:
    bodies = Bodies(database)
    await bodies.put_all([ROW])
    await bodies.put_all([replace(ROW, reply=b"other"), replace(ROW, request_id="b")])
    assert await bodies.get("req_1") == ROW
    assert await bodies.get("b") is not None


async def test_the_oldest_go_first_a_slice_at_a_time(database: Database) -> None:
    bodies = Bodies(database)
    await bodies.put_all(
        [replace(ROW, request_id=str(n), kept_at=float(n)) for n in range(5)]
    )
    assert await bodies.delete_before(4, limit=3) == 3
    assert await bodies.get("3") is not None
    assert await bodies.delete_before(4, limit=3) == 1
    assert await bodies.delete_before(4, limit=3) == 0
    assert await bodies.get("4") is not None
