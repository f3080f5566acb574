"""Days and months of UTC, as whole numbers: days since 1970, and months since year 0."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final

DAY_S: Final = 86_400


def day_of(now: float) -> int:
    return int(now // DAY_S)


def month_of(day: int) -> int:
    at = date_of(day)
    return at.year * 12 + at.month - 1


def date_of(day: int) -> date:
    return datetime.fromtimestamp(day * DAY_S, UTC).date()


def next_day_s(now: float) -> float:
    """Answer the seconds until the day ends."""
    return DAY_S - now % DAY_S


def next_month_s(now: float) -> float:
    """Answer the seconds until the month ends."""
    year, month = divmod(month_of(day_of(now)) + 1, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC).timestamp() - now
