"""All workers as one: whichever of them is asked for metrics answers for all, and what
is done to one is done to all. Who watches sees what finishes in any.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any, Final

from proxy.accounting import live
from proxy.accounting.live import Shown
from proxy.accounting.tail import Watcher
from proxy.core import tasks
from proxy.observability import exposition
from proxy.routing.registry import Status
from proxy.runtime import Runtime
from proxy.workers.control import Control, NoAnswer, ask, follow
from proxy.workers.seat import Seat

METRICS_S: Final = 1.0
ACTION_S: Final = 10.0
LOOK_S: Final = 1.0
"""How often who watches looks for workers that have come meanwhile."""


class Fleet:
    """One worker's view of it. Open as `async with`: then the others can ask it."""

    def __init__(self, seat: Seat, runtime: Runtime) -> None:
        self._seat = seat
        self._runtime = runtime
        self._control = Control(
            seat.socket,
            {
                "metrics": self._metrics,
                "reload": self._reload,
                "hold": self._hold,
                "check": self._check,
                "busy": self._busy,
            },
            {"tail": self._tail},
        )

    async def __aenter__(self) -> Fleet:
        await self._control.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._control.__aexit__()

    async def exposition(self, accept: str | None) -> tuple[bytes, str]:
        """Answer the metrics of all; one that does not answer in time is left out."""
        others = await self._ask_others(METRICS_S, "metrics")
        dumps = [exposition.dump(self._runtime.metrics.registry)]
        dumps += (said for _, said in others if not isinstance(said, NoAnswer))
        return exposition.render(exposition.merge(dumps), accept)

    async def tell(self, what: str, *words: Any) -> list[dict[str, Any]]:
        """Have the others do something too; answers which of them did."""
        answers = await self._ask_others(ACTION_S, what, *words)
        return [
            {"worker": number, "ok": not isinstance(said, NoAnswer) and bool(said)}
            for number, said in answers
        ]

    async def busy(self) -> list[dict[str, Any]]:
        """Answer how busy each of the others keeps providers, by id: requests under way,
        requests that wait, and for how long the oldest does.
        """
        answers = await self._ask_others(METRICS_S, "busy")
        return [said for _, said in answers if not isinstance(said, NoAnswer)]

    async def watch(self, pause_s: float) -> AsyncGenerator[Shown]:
        """Yield what has finished in any worker; nothing after each pause."""
        watcher = Watcher[dict[str, Any]]()
        following = {self._seat.number: tasks.create(_hear(watcher, self._tail()))}
        silent_s = 0.0
        try:
            while True:
                for one in self._seat.others():
                    before = following.get(one.number)
                    if before is None or before.done():
                        heard = _hear(watcher, follow(one.socket, "tail"))
                        following[one.number] = tasks.create(heard)
                rows = await watcher.take(LOOK_S)
                missed, watcher.missed = watcher.missed, 0
                silent_s += LOOK_S
                if rows or missed or silent_s >= pause_s:
                    silent_s = 0.0
                    yield rows, missed
        finally:
            for task in following.values():
                task.cancel()
            await asyncio.gather(*following.values(), return_exceptions=True)

    async def _ask_others(
        self, within_s: float, what: str, *words: Any
    ) -> list[tuple[int, Any]]:
        others = self._seat.others()
        asked = (ask(one.socket, what, *words, within_s=within_s) for one in others)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, NoAnswer):
                raise answer
        return [(one.number, said) for one, said in zip(others, answers, strict=True)]

    # -- what the others ask for -----------------------------------------------------

    async def _metrics(self) -> list[Any]:
        return exposition.dump(self._runtime.metrics.registry)

    async def _reload(self, trigger: str) -> bool:
        return (await self._runtime.reload(trigger)).ok

    async def _hold(self, provider_id: str, held: str | None) -> bool:
        provider = self._runtime.registry.get(provider_id)
        if provider is None:
            return False
        self._runtime.registry.hold(provider, None if held is None else Status(held))
        return held is not None or await self._check(provider_id)

    async def _check(self, provider_id: str) -> bool:
        provider = self._runtime.registry.get(provider_id)
        if provider is not None:
            self._runtime.discovery.check(provider)
        return provider is not None

    async def _busy(self) -> dict[str, tuple[int, int, float]]:
        presence = self._runtime.dispatch.queue.presence
        return {
            one.id: (one.active, presence(one.id).length, presence(one.id).oldest_s)
            for one in self._runtime.registry.providers
        }

    def _tail(self) -> AsyncGenerator[Shown]:
        runtime = self._runtime
        return live.watch(runtime.tail, lambda: runtime.config.metrics.currency, LOOK_S)


async def _hear(watcher: Watcher[dict[str, Any]], told: AsyncIterator[Any]) -> None:
    """Pass on what one worker tells, until it has gone."""
    with suppress(NoAnswer):
        async for rows, missed in told:
            watcher.missed += missed
            for row in rows:
                watcher.tell(row)
