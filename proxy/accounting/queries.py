"""Questions about records, as callers and operators ask them, and their answers.

A question is names and texts, as in a URL; an answer is ready for JSON. Who may ask is
not known here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from proxy.accounting.shapes import shown_bodies, shown_row, shown_usage
from proxy.core import clock
from proxy.core.errors import CallerFault, GatewayFault
from proxy.storage.bodies import Bodies
from proxy.storage.errors import StorageError, TooSlow
from proxy.storage.filters import Filter
from proxy.storage.requests import Cursor, RequestRow, Requests
from proxy.storage.usage import Usage

Asked = Mapping[str, str]
Answer = TypeVar("Answer")

_PAGE: Final = 50
_LONGEST_PAGE: Final = 500
_MOST_GROUPS: Final = 10_000
# Groups that are shown between two turns of the event loop.
_AT_ONCE: Final = 100
# For questions before; each of them ends, see proxy.storage.database.
_TURN_S: Final = 15.0
_DEFAULT_BY: Final = ("model", "provider")
_BY: Final[Mapping[str, str]] = {
    "day": "day", "tenant": "tenant", "key": "key_id", "model": "model",
    "provider": "provider",
}  # fmt: skip
_STATUSES: Final[Mapping[str, tuple[int, int]]] = {
    "ok": (100, 399), "error": (400, 599),
    **{f"{digit}xx": (digit * 100, digit * 100 + 99) for digit in range(1, 6)},
}  # fmt: skip
_FILTERS: Final = frozenset({
    "tenant", "key", "model", "provider", "status", "since", "until",
    "client_request_id",
})  # fmt: skip
_UNITS: Final[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_ago = re.compile(r"(\d{1,6})([smhd])").fullmatch
_seconds = re.compile(r"\d{1,11}(\.\d{1,6})?").fullmatch


class Queries:
    """Every method raises CallerFault `invalid_field` and GatewayFault
    `database_unavailable`. One question is asked at a time, so that a heavy one leaves
    the database to those that requests depend on.
    """

    def __init__(
        self,
        requests: Requests,
        usage: Usage,
        bodies: Bodies | None = None,
        wall: Callable[[], float] = clock.wall,
    ) -> None:
        """`bodies` is None where nobody asks for them."""
        self._requests = requests
        self._usage = usage
        self._bodies = bodies
        self._wall = wall
        self._alone = asyncio.Lock()

    async def page(self, asked: Asked) -> dict[str, Any]:
        """Answer the latest requests first, and where the next page begins."""
        self._check(asked, _FILTERS | {"limit", "cursor"})
        limit, after = _limit(asked.get("limit")), _cursor(asked.get("cursor"))
        which = self._filter(asked)
        rows = await self._answered(
            lambda: self._requests.page(which, limit + 1, after)
        )
        more, rows = len(rows) > limit, rows[:limit]
        return {
            "requests": [shown_row(row) for row in rows],
            "next_cursor": _mark(rows[-1]) if more else None,
        }

    async def one(self, request_id: str) -> dict[str, Any]:
        """Answer a request by its id, ours or the caller's, with its bodies if they were
        kept. Raises `not_found`.
        """
        found = await self._answered(lambda: self._requests.get(request_id))
        if found is None:
            theirs = Filter(client_request_id=request_id)
            rows = await self._answered(lambda: self._requests.page(theirs, 1))
            found = rows[0] if rows else None
        if found is None:
            raise CallerFault(
                "not_found", "No request of this id is kept, or not yet.", param="id"
            )
        shown, bodies = shown_row(found), self._bodies
        if bodies is not None:
            id_ = found.id
            kept = await self._answered(lambda: bodies.get(id_))
            if kept is not None:
                shown["bodies"] = shown_bodies(kept)
        return shown

    async def usage(self, asked: Asked) -> dict[str, Any]:
        """Answer sums by what `by` lists, model and provider unless told."""
        self._check(asked, (_FILTERS | {"by"}) - {"status", "client_request_id"})
        return await self._sums(asked, _by(asked.get("by")))

    async def daily(self, asked: Asked) -> dict[str, Any]:
        """Answer sums by day, and by what `by` lists besides."""
        self._check(asked, (_FILTERS | {"by"}) - {"status", "client_request_id"})
        by = _by(asked.get("by", ""))
        return await self._sums(asked, ("day", *(n for n in by if n != "day")))

    async def _sums(self, asked: Asked, by: tuple[str, ...]) -> dict[str, Any]:
        which = self._filter(asked)
        rows = await self._answered(
            lambda: self._usage.sums(which, by, _MOST_GROUPS + 1)
        )
        if len(rows) > _MOST_GROUPS:
            raise _invalid(
                "by",
                f"That is more than {_MOST_GROUPS} groups: name less in `by`, or a "
                "shorter time with `since` and `until`.",
            )
        total = await self._answered(lambda: self._usage.sums(which, ()))
        shown: list[dict[str, Any]] = []
        for at in range(0, len(rows), _AT_ONCE):
            shown += [shown_usage(row, by) for row in rows[at : at + _AT_ONCE]]
            await clock.sleep(0)
        return {
            "usage": shown,
            "total": shown_usage(total[0], ()) if total else None,
        }

    async def each(self, asked: Asked) -> AsyncIterator[RequestRow]:
        """Yield all requests of a question, the latest first."""
        self._check(asked, _FILTERS)
        which, after = self._filter(asked), None
        while True:
            rows = await self._page_of(which, after)
            for row in rows:
                yield row
            if len(rows) < _LONGEST_PAGE:
                return
            after = rows[-1].started_us, rows[-1].id

    async def _page_of(
        self, which: Filter, after: Cursor | None
    ) -> tuple[RequestRow, ...]:
        return await self._answered(
            lambda: self._requests.page(which, _LONGEST_PAGE, after)
        )

    async def _answered(self, question: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            async with asyncio.timeout(_TURN_S) as turn, self._alone:
                turn.reschedule(None)
                return await question()
        except TooSlow as error:
            raise GatewayFault(
                "database_unavailable",
                "The database took too long to answer this: ask for less, as for a "
                "shorter time with `since` and `until`.",
            ) from error
        except StorageError as error:
            raise GatewayFault(
                "database_unavailable", f"The database does not answer: {error}."
            ) from error
        except TimeoutError as error:
            raise GatewayFault(
                "database_unavailable", "The database is busy with other questions."
            ) from error

    def _check(self, asked: Asked, known: frozenset[str]) -> None:
        for name in asked:
            if name not in known:
                names = ", ".join(sorted(known))
                raise _invalid(name, f"`{name}` is not known here; these are: {names}.")

    def _filter(self, asked: Asked) -> Filter:
        status = asked.get("status")
        return Filter(
            tenant=asked.get("tenant"),
            key_id=asked.get("key"),
            model=asked.get("model"),
            provider=asked.get("provider"),
            client_request_id=asked.get("client_request_id"),
            statuses=None if status is None else _statuses(status),
            **dict(self._times(asked)),
        )

    def _times(self, asked: Asked) -> Iterator[tuple[str, Any]]:
        for name in ("since", "until"):
            if name in asked:
                yield f"{name}_us", int(self._moment(name, asked[name]) * 1_000_000)

    def _moment(self, name: str, text: str) -> float:
        """`2h` ago, seconds since 1970, or a date and time (UTC unless it says)."""
        if (ago := _ago(text)) is not None:
            return self._wall() - int(ago[1]) * _UNITS[ago[2]]
        if _seconds(text) is not None:
            return float(text)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise _invalid(
                name, f"`{name}` is a time such as 2h, 2026-11-21T08:00 or 1790000000."
            ) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()


def _statuses(text: str) -> tuple[int, int]:
    if text in _STATUSES:
        return _STATUSES[text]
    if text.isascii() and text.isdigit() and len(text) == 3:
        return int(text), int(text)
    raise _invalid(
        "status", "`status` is one such as 429, a class such as 5xx, ok or error."
    )


def _by(text: str | None) -> tuple[str, ...]:
    if text is None:
        return _DEFAULT_BY
    names = [name for name in text.split(",") if name]
    if not set(names) <= _BY.keys():
        raise _invalid("by", f"`by` lists any of {', '.join(_BY)}.")
    return tuple(_BY[name] for name in dict.fromkeys(names))


def _limit(text: str | None) -> int:
    if text is None:
        return _PAGE
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 1 <= limit <= _LONGEST_PAGE:
        raise _invalid("limit", f"`limit` is a number from 1 to {_LONGEST_PAGE}.")
    return limit


def _mark(row: RequestRow) -> str:
    return f"{row.started_us}.{row.id}"


def _cursor(text: str | None) -> Cursor | None:
    if text is None:
        return None
    started, _, id_ = text.partition(".")
    if not (started.isascii() and started.isdigit() and len(started) < 19 and id_):
        raise _invalid("cursor", "`cursor` is the `next_cursor` of the page before.")
    return int(started), id_


def _invalid(param: str, message: str) -> CallerFault:
    return CallerFault("invalid_field", message, param=param)
