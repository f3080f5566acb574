from __future__ import annotations

import asyncio

import pytest

from proxy.core.call import Body
from proxy.core.errors import CallerFault
from proxy.server.buffered import LateBody, LeftBody, WholeBody


async def test_a_whole_body_is_read_either_way() -> None:
    body = WholeBody(b"12345")
    assert (body.length, body.received, body.whole) == (5, 5, b"12345")
    assert await body.read(5) == b"12345"
    assert [piece async for piece in body.chunks()] == [b"12345"]


async def test_a_whole_body_past_the_limit_is_refused() -> None:
    with pytest.raises(CallerFault) as caught:
        await WholeBody(b"12345").read(4)
    assert caught.value.code == "body_too_large"


async def test_reading_a_late_body_says_so() -> None:
    with pytest.raises(CallerFault) as caught:
        await LateBody(5, 2).read(100)
    assert caught.value.code == "request_timeout"
    with pytest.raises(CallerFault):
        await anext(LateBody(5, 2).chunks())


async def test_reading_what_was_left_ends_the_call() -> None:
    with pytest.raises(asyncio.CancelledError):
        await LeftBody(5, 2).read(100)
    with pytest.raises(asyncio.CancelledError):
        await anext(LeftBody(5, 2).chunks())


def test_what_has_not_come_is_counted_and_not_waited_for() -> None:
    bodies: list[Body] = [LateBody(5, 2), LeftBody(5, 2)]
    for body in bodies:
        assert (body.length, body.received, body.whole) == (5, 2, None)
        assert body.is_here
