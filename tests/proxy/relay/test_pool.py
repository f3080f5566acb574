from __future__ import annotations

import pytest

from proxy.relay.connection import Connection
from proxy.relay.errors import ConnectFailed
from proxy.relay.pool import IDLE_LIMIT, IDLE_S, Pool
from tests.fakes.hand_clock import HandClock
from tests.fakes.sink import KeptSink
from tests.fakes.transport import FakeDial
from tests.proxy.relay.rig import ORIGIN, settle

SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@pytest.fixture
def pool(hands: HandClock, dial: FakeDial) -> Pool:
    return Pool(ORIGIN, hands)


async def used(pool: Pool, dial: FakeDial) -> Connection:
    """Open a connection and let it carry one request."""
    connection = await pool.open()
    connection.send("GET", b"", KeptSink())
    dial.made[-1].feed(SHORT)
    return connection


async def test_a_new_connection_is_busy_until_its_reply_is_whole(
    pool: Pool, dial: FakeDial
) -> None:
    connection = await pool.open()
    assert (pool.busy, pool.idle) == (1, 0)
    assert pool.take() is None
    connection.send("GET", b"", KeptSink())
    dial.made[0].feed(SHORT)
    assert (pool.busy, pool.idle) == (0, 1)
    assert pool.take() is connection
    assert (pool.busy, pool.idle) == (1, 0)


async def test_the_last_one_freed_is_taken_first(pool: Pool, dial: FakeDial) -> None:
    connections = [await pool.open() for _ in range(3)]
    for connection, transport in zip(connections, dial.made, strict=True):
        connection.send("GET", b"", KeptSink())
        transport.feed(SHORT)
    assert [pool.take() for _ in range(4)] == [*reversed(connections), None]


async def test_what_has_been_idle_too_long_is_closed_not_taken(
    pool: Pool, dial: FakeDial, hands: HandClock
) -> None:
    await used(pool, dial)
    hands.pass_by(IDLE_S)
    assert pool.take() is None
    assert dial.made[0].aborted
    await settle()
    assert (pool.busy, pool.idle) == (0, 0)


async def test_a_tick_closes_only_what_is_old(
    pool: Pool, dial: FakeDial, hands: HandClock
) -> None:
    first, second = await pool.open(), await pool.open()
    first.send("GET", b"", KeptSink())
    dial.made[0].feed(SHORT)
    hands.pass_by(IDLE_S - 1)
    second.send("GET", b"", KeptSink())
    dial.made[1].feed(SHORT)
    hands.pass_by(1)
    pool.tick(hands())
    assert [transport.aborted for transport in dial.made] == [True, False]
    await settle()
    assert pool.take() is second


async def test_a_connection_that_the_server_closed_is_not_taken(
    pool: Pool, dial: FakeDial
) -> None:
    await used(pool, dial)
    dial.made[0].lose()
    assert pool.idle == 0
    assert pool.take() is None


async def test_a_connection_that_is_closing_is_not_taken(
    pool: Pool, dial: FakeDial
) -> None:
    await used(pool, dial)
    dial.made[0].feed(b"unasked")
    assert pool.take() is None


async def test_no_more_idle_ones_are_kept_than_the_limit(
    pool: Pool, dial: FakeDial
) -> None:
    connections = [await pool.open() for _ in range(IDLE_LIMIT + 2)]
    for connection, transport in zip(connections, dial.made, strict=True):
        connection.send("GET", b"", KeptSink())
        transport.feed(SHORT)
    assert pool.idle == IDLE_LIMIT
    assert [transport.aborted for transport in dial.made[-2:]] == [True, True]
    await settle()
    assert (pool.busy, pool.idle) == (0, IDLE_LIMIT)


async def test_a_lost_connection_is_counted_no_longer(
    pool: Pool, dial: FakeDial
) -> None:
    await pool.open()
    dial.made[0].lose(ConnectionResetError())
    assert (pool.busy, pool.idle) == (0, 0)


async def test_who_hangs_up_at_once_was_no_connection(
    pool: Pool, dial: FakeDial
) -> None:
    dial.lost_at_once = True
    with pytest.raises(ConnectFailed, match="closed the connection"):
        await pool.open()
    assert (pool.busy, pool.idle) == (0, 0)


async def test_closing_ends_idle_and_busy_ones(pool: Pool, dial: FakeDial) -> None:
    await used(pool, dial)
    pool.take()
    await used(pool, dial)
    pool.close()
    assert [transport.aborted for transport in dial.made] == [True, True]
    await settle()
    assert (pool.busy, pool.idle) == (0, 0)
