from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

from proxy.accounting.tail import Tail
from tests.parts.records import record_of


def a_record(number: int) -> Any:
    return record_of(id=f"req_{number}", operation="chat", started_at=1.0)


async def test_who_watches_is_told_and_nobody_else() -> None:
    tail = Tail()
    assert is_watched(tail) is False
    async with aclosing(tail.watch(10.0)) as watched:
        first = asyncio.ensure_future(anext(watched))
        await asyncio.sleep(0)
        assert is_watched(tail)
        tail.note(a_record(1))
        records, missed = await first
        assert ([record.id for record in records], missed) == (["req_1"], 0)
    assert is_watched(tail) is False


def is_watched(tail: Tail) -> bool:
    return tail.is_watched


async def test_who_reads_slowly_is_told_how_many_were_missed() -> None:
    tail = Tail()
    async with aclosing(tail.watch(0.0, limit=2)) as watched:
        assert await anext(watched) == ([], 0)
        for number in range(5):
            tail.note(a_record(number))
        records, missed = await anext(watched)
        assert ([record.id for record in records], missed) == (["req_0", "req_1"], 3)
        assert await anext(watched) == ([], 0)
