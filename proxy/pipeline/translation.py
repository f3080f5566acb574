"""What it means to say a request in another dialect; each family of operations does it.

A `Translation` is made for one candidate (`translator`): it holds what is sent, and
says what comes back as the caller wants it. `talk`, `embedding` and `counting` are
the families; the relay moves the bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol

import orjson
from msgspec import Struct

from providers.base import Adapter, Operation, Prepared
from providers.base import Request as ToPrepare
from providers.wire.dialect import Framing
from providers.wire.translate.events import ToolCallStart
from providers.wire.translate.problems import (
    ImageUrlUnsupported,
    Refused,
    UnsupportedParameter,
)
from providers.wire.translate.streams import StreamReader, StreamWriter
from providers.wire.usage import Usage
from proxy.core.errors import CallerFault
from proxy.core.types import Pair

_TYPES: Final[Mapping[Framing, str]] = MappingProxyType({
    Framing.SSE: "text/event-stream; charset=utf-8",
    Framing.NDJSON: "application/x-ndjson",
    Framing.PLAIN: "application/json",
})  # fmt: skip
# What of the caller's fields belongs to the dialect it speaks, or to its vendor.
_OF_DIALECT: Final = ("-beta", "-version")
_NOT_SENT: Final = frozenset({"accept", "content-type", "content-encoding"})
_MOST_NAMES: Final = 24
_LONGEST_NAME: Final = 48
_JSON_TYPE: Final = ("content-type", "application/json")


class Unsayable(CallerFault):
    """What a request asks, the dialect of one provider cannot say."""


class Unreadable(Exception):
    """An answer that is none: the provider's fault."""


class Errand(Struct, frozen=True):
    """Who asks whom: the caller's operation, the provider's that stands in for it
    (`way`), its adapter, the model's name there, the caller's fields, and `own`: what
    the operator sets for this model. `salt` are members for the provider alone.
    """

    caller: Operation
    way: Operation
    adapter: Adapter
    model: str
    headers: Sequence[Pair]
    own: Mapping[str, Any]
    salt: Mapping[str, str]


class Said(Struct, frozen=True):
    """A whole answer in the caller's dialect, and what it used."""

    body: bytes
    framing: Framing
    usage: Usage | None


class Translation(Protocol):
    """One request, written for one candidate: `body` and where it goes.

    `applied` tells what was left out or altered. `framing` is that of the caller's
    stream; PLAIN where a whole answer is asked for.
    """

    @property
    def prepared(self) -> Prepared: ...
    @property
    def body(self) -> bytes: ...
    @property
    def applied(self) -> tuple[str, ...]: ...
    @property
    def framing(self) -> Framing: ...
    @property
    def their_framing(self) -> Framing: ...

    def say(self, body: bytes, who: Speaker) -> Said:
        """Say a whole answer as the caller wants it. Raises Unreadable."""
        ...

    def reader(self, who: Speaker, limit_bytes: int) -> StreamReader: ...

    def writer(self, who: Speaker) -> StreamWriter: ...

    def note_call(self, call: ToolCallStart) -> None: ...

    def settle(self, writer: StreamWriter, who: Speaker) -> None:
        """Take note of a stream that is complete."""
        ...

    def let_go(self) -> None:
        """Forget what was asked: its answer streams, it is sent to nobody any more."""
        ...


class Unstreamed:
    """The part of a Translation that is the same where there is never a stream."""

    __slots__ = ()
    framing: Final = Framing.PLAIN
    their_framing: Final = Framing.PLAIN

    def reader(self, who: Speaker, limit_bytes: int) -> StreamReader:
        raise Unreadable("it streams what has no streams")

    def writer(self, who: Speaker) -> StreamWriter:
        raise Unreadable("it streams what has no streams")

    def note_call(self, call: ToolCallStart) -> None: ...

    def settle(self, writer: StreamWriter, who: Speaker) -> None: ...

    def let_go(self) -> None: ...


class Speaker(Struct, frozen=True):
    """Of the call what an answer must tell: its id, when it came (monotonic), for whom
    it is, and who gives it.
    """

    id: str
    started_at: float
    tenant: str
    provider: str = ""


def refusal(error: Refused) -> CallerFault:
    """Make the catalogue's error of what a dialect cannot read or say."""
    is_unsayable = isinstance(error, UnsupportedParameter | ImageUrlUnsupported)
    kind = Unsayable if is_unsayable else CallerFault
    return kind(error.code, f"{error.message}.", param=error.param)


def prepare(
    errand: Errand, body: dict[str, Any], stream: bool = False
) -> tuple[Prepared, bytes]:
    """Have the adapter prepare a written body; answers it with what that changes."""
    is_other = errand.caller.dialect is not errand.way.dialect
    model, headers = errand.model, _fields(errand.headers, is_other=is_other)
    prepared = errand.adapter.prepare(
        ToPrepare(errand.way, model, model, stream, frozenset(body), headers)
    )
    for name in prepared.drop_fields:
        body.pop(name, None)
    for name, text in prepared.set_fields.items():
        body[name] = orjson.loads(text)
    return prepared, orjson.dumps(body | dict(errand.salt))


def left_out(names: Iterable[str]) -> tuple[str, ...]:
    """What x-proxy-applied says of members that were not sent; callers name them, so
    there may be many, and long ones.
    """
    found = list(dict.fromkeys(names))
    told = [f"dropped={name[:_LONGEST_NAME]}" for name in found[:_MOST_NAMES]]
    return (*told, "…") if len(found) > _MOST_NAMES else tuple(told)


def content_type(framing: Framing) -> Pair:
    return ("content-type", _TYPES[framing])


def _fields(headers: Sequence[Pair], *, is_other: bool) -> list[Pair]:
    """Keep what does not belong to the caller's dialect alone; the body is our JSON."""
    kept = [
        pair
        for pair in headers
        if pair[0] not in _NOT_SENT and not (is_other and pair[0].endswith(_OF_DIALECT))
    ]
    return [*kept, ("accept", "*/*"), _JSON_TYPE]
