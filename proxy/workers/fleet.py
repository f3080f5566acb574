"""All workers as one: whichever of them is asked for metrics answers for all, and what
is done to one is done to all.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from proxy.observability import exposition
from proxy.routing.registry import Status
from proxy.runtime import Runtime
from proxy.workers.control import Control, NoAnswer, ask
from proxy.workers.seat import Seat

METRICS_S: Final = 1.0
ACTION_S: Final = 10.0


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
            },
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
