"""A row of the fault table: what a provider does, and what comes of it.

A row has two cases, one for each way of asking. An outcome is what the caller gets
where nobody else serves the model; `again` says whom the gateway asks before that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from tests.parts.faulty import Script
from tests.parts.http_text import head
from tests.parts.scripts import DONE, EVENT, stream

if TYPE_CHECKING:  # it needs pytest, and the page is written without
    from tests.parts.inside import Site

COMPLETION = b'{"object":"chat.completion","choices":[{"index":0}]}'
FLOW = EVENT + EVENT + DONE
JSON = "content-type: application/json"
CHUNKED = "transfer-encoding: chunked"
GOOD_HEAD = head(200, JSON, f"content-length: {len(COMPLETION)}")
GOOD = GOOD_HEAD + COMPLETION
GOOD_STREAM = stream(EVENT, EVENT, DONE)


class Way(StrEnum):
    """How the caller asks."""

    WHOLE = "whole"
    STREAM = "stream"


class End(Enum):
    """What the caller gets.

    COMES: the reply, whole. REFUSED: an error with its status. TOLD: what had come,
    then an error in the stream. CUT: the connection closes before the reply's end.
    """

    COMES = 0
    REFUSED = 1
    TOLD = 2
    CUT = 3


class Again(StrEnum):
    """Whom the gateway asks after that; the value stands in docs/operations.md."""

    NOBODY = "nobody"
    ANOTHER = "another"
    THE_SAME = "another, else the same"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`body` is what comes, or what comes before the error. `kept` says whether the
    upstream's connection serves on; None where either may happen. `asked` counts
    the requests it gets in one attempt.
    """

    end: End
    status: int = 200
    code: str | None = None
    body: bytes = b""
    kept: bool | None = False
    again: Again = Again.NOBODY
    asked: int = 1


Preparation = Callable[["Site"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """`first` is done before the request is sent, which has `padding` more bytes.
    With `early` the script begins before the request was read. `lasts` until one of the
    gateway's limits has passed.
    """

    does: Script
    outcome: Outcome
    early: bool = False
    padding: int = 0
    first: Preparation | None = None
    lasts: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """`name` says what the provider does, and stands in docs/operations.md."""

    name: str
    whole: Case
    stream: Case

    def case(self, way: Way) -> Case:
        return self.whole if way is Way.WHOLE else self.stream


def row(
    name: str,
    does: tuple[Script, Script] | Script,
    whole: Outcome,
    stream: Outcome | None = None,
    *,
    early: bool = False,
    padding: int = 0,
    first: Preparation | None = None,
    lasts: bool = False,
) -> Row:
    """Write a row; what is given once holds for both ways of asking."""
    plays = does if isinstance(does, tuple) else (does, does)
    ends = (whole, stream or whole)
    return Row(
        name, *(Case(play, end, early, padding, first,
                     lasts or end.code == "upstream_timeout")
                for play, end in zip(plays, ends, strict=True))
    )  # fmt: skip


def comes(
    body: bytes, *, kept: bool | None = True, status: int = 200, asked: int = 1
) -> Outcome:
    return Outcome(End.COMES, status, None, body, kept, asked=asked)


def refused(
    status: int, code: str, *, kept: bool = False, again: Again = Again.NOBODY
) -> Outcome:
    return Outcome(End.REFUSED, status, code, b"", kept, again)


def told(
    code: str, after: bytes = b"", *, kept: bool = False, again: Again = Again.NOBODY
) -> Outcome:
    return Outcome(End.TOLD, 200, code, after, kept, again)


BROKEN = refused(502, "upstream_error", again=Again.THE_SAME)
FAILED = refused(502, "upstream_error", kept=True, again=Again.THE_SAME)
UNFIT = refused(502, "upstream_error", again=Again.ANOTHER)
NO_ANSWER = refused(502, "upstream_error", kept=True, again=Again.ANOTHER)
LATE = refused(504, "upstream_timeout")
STALLED = refused(504, "upstream_timeout", again=Again.THE_SAME)
