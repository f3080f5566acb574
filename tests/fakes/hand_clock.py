"""Time that stands still until a test moves it."""

from __future__ import annotations

from proxy.core.clock import Ticker


class HandClock:
    """Call it for the time; `pass_by` moves it and asks all who wait in `ticker`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ticker = Ticker(self)

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        for member in tuple(self.ticker._members):
            member.tick(self.now)
