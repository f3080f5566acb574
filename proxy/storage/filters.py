"""What is asked of the ledger: which rows, and from where on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import ColumnElement, Table

_NAMES: Final = ("tenant", "key_id", "model", "provider")


class Filter(Struct, frozen=True, kw_only=True):
    """Of requests and of usage; None leaves a thing open.

    `statuses` (lowest and highest) and `client_request_id` mean nothing to usage. Times are
    microseconds since 1970, `since_us` included, `until_us` not; of usage they choose
    whole UTC days.
    """

    tenant: str | None = None
    key_id: str | None = None
    model: str | None = None
    provider: str | None = None
    client_request_id: str | None = None
    statuses: tuple[int, int] | None = None
    since_us: int | None = None
    until_us: int | None = None

    def names(self, table: Table) -> Iterator[ColumnElement[bool]]:
        """What it asks of the columns that both tables have."""
        for name in _NAMES:
            value: Any = getattr(self, name)
            if value is not None:
                yield table.c[name] == value


EVERYTHING: Final = Filter()


def day_of(at_us: int) -> str:
    """The UTC day of a moment, as 2026-11-21."""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).strftime("%Y-%m-%d")
