from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class FakeBefore:
    """What storage knows of the days before; `failure` is raised instead."""

    days: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    failure: Exception | None = None
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    async def spent_by_day(
        self, kind: str, name: str, since_day: str
    ) -> Mapping[str, float]:
        self.asked.append((kind, name, since_day))
        if self.failure is not None:
            raise self.failure
        return self.days.get((kind, name), {})
