from __future__ import annotations

import asyncio

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.web import RequestPayloadError

from proxy.core.errors import CallerFault
from proxy.server.body import StreamedBody

IDLE_S = 0.05


@pytest.fixture
async def stream() -> StreamReader:
    loop = asyncio.get_running_loop()
    connection = BaseProtocol(loop)
    connection.transport = asyncio.Transport()  # connected, and never asked anything
    return StreamReader(connection, 1 << 16, loop=loop)


def body(stream: StreamReader, length: int | None = None) -> StreamedBody:
    return StreamedBody(stream, length, IDLE_S)


def fed(stream: StreamReader, *pieces: bytes) -> StreamReader:
    for piece in pieces:
        stream.feed_data(piece)
    stream.feed_eof()
    return stream


async def test_all_of_it_is_read(stream: StreamReader) -> None:
    assert await body(fed(stream, b"one", b"two")).read(6) == b"onetwo"


async def test_an_empty_body_is_empty(stream: StreamReader) -> None:
    assert await body(fed(stream), 0).read(6) == b""


async def test_pieces_come_as_they_arrive(stream: StreamReader) -> None:
    chunks = body(stream).chunks()
    stream.feed_data(b"one")
    assert await anext(chunks) == b"one"
    stream.feed_data(b"two")
    stream.feed_eof()
    assert [piece async for piece in chunks] == [b"two"]


async def test_a_declared_length_past_the_limit_is_not_even_read(
    stream: StreamReader,
) -> None:
    with pytest.raises(CallerFault) as refused:
        await body(stream, 7).read(6)
    assert (refused.value.code, refused.value.status) == ("body_too_large", 413)


async def test_an_undeclared_body_is_counted(stream: StreamReader) -> None:
    with pytest.raises(CallerFault) as refused:
        await body(fed(stream, b"onetwo", b"!")).read(6)
    assert refused.value.code == "body_too_large"


async def test_a_pause_that_is_too_long_is_a_timeout(stream: StreamReader) -> None:
    stream.feed_data(b"half")
    with pytest.raises(CallerFault) as refused:
        await body(stream, 8).read(8)
    assert (refused.value.code, refused.value.status) == ("request_timeout", 408)


async def test_broken_chunks_are_the_callers_fault(stream: StreamReader) -> None:
    stream.set_exception(RequestPayloadError("not enough data"))
    with pytest.raises(CallerFault) as refused:
        await body(stream).read(8)
    assert (refused.value.code, refused.value.param) == ("invalid_field", "body")


async def test_the_caller_is_invited_once_and_not_before_it_is_needed(
    stream: StreamReader,
) -> None:
    invitations: list[int] = []
    invited = StreamedBody(
        fed(stream, b"body"), 4, IDLE_S, lambda: invitations.append(1)
    )
    assert invitations == []
    assert await invited.read(4) == b"body"
    assert await invited.read(4) == b""
    assert invitations == [1]


async def test_what_is_too_large_is_not_invited(stream: StreamReader) -> None:
    invitations: list[int] = []
    refused = StreamedBody(stream, 5, IDLE_S, lambda: invitations.append(1))
    with pytest.raises(CallerFault):
        await refused.read(4)
    assert invitations == []


async def test_what_has_come_is_counted(stream: StreamReader) -> None:
    counted = body(stream, 8)
    stream.feed_data(b"half")
    assert counted.received == 0
    await anext(counted.chunks())
    assert counted.received == 4
