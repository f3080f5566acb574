"""A request said in another dialect: made for one candidate, its answer said back.

`Translator` writes what the caller asked for a provider that speaks another dialect,
a `Translation` reads what comes back and writes it for the caller. Both know dialects
by `providers.wire.translate.codecs` alone; the relay moves the bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Protocol

import orjson

from providers.base import Adapter, Operation, Prepared
from providers.base import Request as ToPrepare
from providers.wire.dialect import Dialect, Framing
from providers.wire.translate.codecs import CODECS
from providers.wire.translate.events import ToolCallStart
from providers.wire.translate.ollama.reply_writer import write_generated
from providers.wire.translate.ollama.request_reader import read_generate
from providers.wire.translate.ollama.stream_writer import GenerateStreamWriter
from providers.wire.translate.problems import Refused
from providers.wire.translate.reply import Reply, events_of
from providers.wire.translate.request import Request
from providers.wire.translate.streams import Context, StreamReader, StreamWriter
from providers.wire.usage import Usage
from proxy.core import clock
from proxy.core.errors import CallerFault
from proxy.core.types import Pair

_GENERATE: Final = "ollama_generate"
_BYTES_PER_TOKEN: Final = 4
_TYPES: Final[Mapping[Framing, str]] = MappingProxyType({
    Framing.SSE: "text/event-stream; charset=utf-8",
    Framing.NDJSON: "application/x-ndjson",
    Framing.PLAIN: "application/json",
})  # fmt: skip
# What of the caller's fields belongs to the dialect it speaks, or to its vendor.
_OF_DIALECT: Final = ("-beta", "-version")
_NOT_SENT: Final = frozenset({"accept", "content-type", "content-encoding"})
_JSON_TYPE: Final = ("content-type", "application/json")


class Unreadable(Exception):
    """An answer that is none: the provider's fault."""


@dataclass(frozen=True, slots=True)
class Said:
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


@dataclass(frozen=True, slots=True)
class Speaker:
    """Of the call what an answer must tell: its id, and when it came (monotonic)."""

    id: str
    started_at: float


class Signatures:
    """Thought signatures by the id of their tool call, the newest `limit` of them.

    Many callers give a call back without the signature that came with it; Gemini
    refuses such a turn.
    """

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._known: OrderedDict[str, str] = OrderedDict()

    def note(self, call: ToolCallStart) -> None:
        if call.signature is None:
            return
        self._known[call.id] = call.signature
        self._known.move_to_end(call.id)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)

    def find(self, call_id: str) -> str | None:
        return self._known.get(call_id)


def read_asked(operation: Operation, body: bytes | dict[str, Any]) -> Request:
    """Read what a caller asks. Raises CallerFault with the field at fault."""
    try:
        if operation.name == _GENERATE:
            return read_generate(body)
        return CODECS[operation.dialect].read_request(body)
    except Refused as error:
        raise refusal(error) from error


def refusal(error: Refused) -> CallerFault:
    """Make the catalogue's error of what a dialect cannot read or say."""
    return CallerFault(error.code, f"{error.message}.", param=error.param)


class Translator:
    """Says requests in the dialects of providers."""

    def __init__(self) -> None:
        self.signatures = Signatures()

    def talk(
        self,
        caller: Operation,
        asked: Request,
        adapter: Adapter,
        way: Operation,
        model: str,
        headers: Sequence[Pair],
    ) -> Talk:
        """Write a conversation for a provider. Raises CallerFault."""
        try:
            suited, left_out = adapter.suit(asked)
            target = adapter.target_of(model)
            if not adapter.capabilities.usage_option:
                target = replace(target, drops=target.drops | {"stream_options"})
            find = target.signature_of or self.signatures.find
            written = CODECS[way.dialect].write_request(
                suited, replace(target, signature_of=find)
            )
        except Refused as error:
            raise refusal(error) from error
        prepared, body = prepare(
            adapter, way, model, written.body, headers, asked.stream
        )
        left = dict.fromkeys((*left_out, *written.dropped, *prepared.dropped))
        applied = (
            *(f"{name}={value}" for name, value in written.changed),
            *(f"dropped={name}" for name in left),
        )
        note = self.signatures.note
        terminated = adapter.capabilities.always_terminates
        return Talk(
            caller, way, asked, model, prepared, body, applied, terminated, note
        )


@dataclass(frozen=True, slots=True, eq=False)
class Talk:
    """A conversation's turn, said in another dialect. Implements Translation."""

    caller: Operation
    way: Operation
    asked: Request
    model: str
    prepared: Prepared
    body: bytes
    applied: tuple[str, ...]
    terminated: bool
    note_call: Callable[[ToolCallStart], None]

    @property
    def framing(self) -> Framing:
        return _stream_framing(self.caller) if self.asked.stream else Framing.PLAIN

    @property
    def their_framing(self) -> Framing:
        return _stream_framing(self.way) if self.asked.stream else Framing.PLAIN

    def say(self, body: bytes, who: Speaker) -> Said:
        reply = CODECS[self.way.dialect].read_reply(body, who.id)
        if reply.failure is not None:
            raise Unreadable(reply.failure.message)
        if not reply.complete or not reply.choices:
            raise Unreadable("its answer is none that its dialect knows")
        for call in signed_calls(reply):
            self.note_call(call)
        if not self.asked.stream:
            return Said(self._whole(reply, who), Framing.PLAIN, reply.usage)
        stream = self.writer(who).write(events_of(reply))
        return Said(stream, self.framing, reply.usage)

    def reader(self, who: Speaker, limit_bytes: int) -> StreamReader:
        make = CODECS[self.way.dialect].stream_reader
        return make(who.id, terminated=self.terminated, limit_bytes=limit_bytes)

    def writer(self, who: Speaker) -> StreamWriter:
        if self.caller.name == _GENERATE:
            return GenerateStreamWriter(self._context(who))
        return CODECS[self.caller.dialect].stream_writer(self._context(who))

    def _whole(self, reply: Reply, who: Speaker) -> bytes:
        write = CODECS[self.caller.dialect].write_reply
        if self.caller.name == _GENERATE:
            write = write_generated
        return orjson.dumps(write(reply, self._context(who)))

    def _context(self, who: Speaker) -> Context:
        def elapsed_ns() -> int:
            return int((clock.monotonic() - who.started_at) * 1e9)

        return Context(
            id=who.id,
            created=int(clock.wall()),
            model=self.model,
            include_usage=self.asked.include_usage,
            prompt_tokens=len(self.body) // _BYTES_PER_TOKEN,
            elapsed_ns=elapsed_ns,
            request=self.asked,
        )


def prepare(
    adapter: Adapter,
    way: Operation,
    model: str,
    body: dict[str, Any],
    headers: Sequence[Pair],
    stream: bool,
) -> tuple[Prepared, bytes]:
    """Have an adapter prepare a written body; answers it with what it changes."""
    prepared = adapter.prepare(
        ToPrepare(way, model, model, stream, frozenset(body), _fields(headers))
    )
    for name in prepared.drop_fields:
        body.pop(name, None)
    for name, text in prepared.set_fields.items():
        body[name] = orjson.loads(text)
    return prepared, orjson.dumps(body)


def signed_calls(reply: Reply) -> list[ToolCallStart]:
    """List the tool calls of a whole reply that carry a signature."""
    return [
        event
        for event in events_of(reply)
        if isinstance(event, ToolCallStart) and event.signature is not None
    ]


def content_type(framing: Framing) -> Pair:
    return ("content-type", _TYPES[framing])


def _stream_framing(operation: Operation) -> Framing:
    return Framing.NDJSON if operation.dialect is Dialect.OLLAMA else Framing.SSE


def _fields(headers: Sequence[Pair]) -> list[Pair]:
    """Keep what does not belong to the caller's dialect; the body is our JSON."""
    kept = [
        pair
        for pair in headers
        if pair[0] not in _NOT_SENT and not pair[0].endswith(_OF_DIALECT)
    ]
    return [*kept, ("accept", "*/*"), _JSON_TYPE]
