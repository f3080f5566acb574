"""A turn of a conversation, said in another dialect: chat, Responses, Messages, Ollama.

Knows dialects by `providers.wire.translate.codecs` alone.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import orjson
from msgspec import Struct
from msgspec.structs import replace

from providers.base import Operation, Prepared
from providers.wire.dialect import Dialect, Framing
from providers.wire.translate.codecs import CODECS
from providers.wire.translate.events import ToolCallStart
from providers.wire.translate.ollama.reply_writer import write_generated
from providers.wire.translate.ollama.request_reader import read_generate
from providers.wire.translate.ollama.stream_writer import GenerateStreamWriter
from providers.wire.translate.problems import Refused
from providers.wire.translate.reply import Reply, events_of
from providers.wire.translate.request import Effort, Request, Written
from providers.wire.translate.responses.stream_writer import ResponsesStreamWriter
from providers.wire.translate.streams import Context, StreamReader, StreamWriter
from proxy.core import clock
from proxy.pipeline.stored import MemoryStore, Store, Stored, input_items
from proxy.pipeline.translation import (
    Errand,
    Said,
    Speaker,
    Unreadable,
    left_out,
    prepare,
    refusal,
)

_GENERATE: Final = "ollama_generate"
_COUNT: Final = "count_tokens"
_BYTES_PER_TOKEN: Final = 4


class Turn(Struct, frozen=True):
    """What of a request for a response is kept with it: the `input` as it was given,
    and the turns before it, of the response `previous`.
    """

    given: object
    before: tuple[bytes, ...] = ()
    previous: str | None = None


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
        read = CODECS[operation.dialect].read_request
        if operation.name != _COUNT:
            return read(body)
        # As a message, but that nothing is to be written, and no limit is said.
        found = orjson.loads(body) if isinstance(body, bytes) else body
        return replace(read({"max_tokens": 1, **found}), max_tokens=None)
    except Refused as error:
        raise refusal(error) from error


class Talks:
    """Writes turns for providers, and keeps what later ones need of their answers."""

    def __init__(self) -> None:
        self.signatures = Signatures()
        self.store: Store = MemoryStore()

    def write(self, errand: Errand, asked: Request, turn: Turn | None = None) -> Talk:
        """Write a turn for a provider; of a response, `turn` is what is kept with it.

        Raises CallerFault.
        """
        written, dropped = self.written(errand, asked)
        prepared, body = prepare(errand, written.body, asked.stream)
        changed = tuple(f"{name}={value}" for name, value in written.changed)
        applied = (*changed, *left_out((*dropped, *prepared.dropped)))
        if turn is not None:
            asked = replace(asked, previous_response=turn.previous)
        return Talk(errand, asked, prepared, body, applied, turn, self)

    def written(self, errand: Errand, asked: Request) -> tuple[Written, list[str]]:
        """Write a turn's body; answers the names of what was left out, too."""
        adapter = errand.adapter
        try:
            suited, dropped = adapter.suit(_explicit(asked, errand.way))
            target = adapter.target_of(errand.model)
            if not adapter.capabilities.usage_option:
                target = replace(target, drops=target.drops | {"stream_options"})
            find = target.signature_of or self.signatures.find
            target = replace(target, signature_of=find)
            written = CODECS[errand.way.dialect].write_request(suited, target)
        except Refused as error:
            raise refusal(error) from error
        # What the caller's dialect does not know is the provider's: it was meant for it.
        own = {n: v for n, v in errand.own.items() if n in asked.extras}
        written.body.update(own)
        left = [name for name in (*dropped, *written.dropped) if name not in own]
        return written, left

    def keep(self, turn: Turn, response: dict[str, Any], who: Speaker) -> None:
        """Keep a response that is complete, and the conversation up to it."""
        id_ = response["id"]
        items = orjson.dumps(input_items(turn.given, id_))
        turns = (*turn.before, items, orjson.dumps(response["output"]))
        said = orjson.dumps(response)
        self.store.put(Stored(id_, who.tenant, said, items, turns, who.provider))


class Talk(Struct, eq=False):
    """A turn, said in another dialect. Implements Translation."""

    errand: Errand
    asked: Request
    prepared: Prepared
    body: bytes
    applied: tuple[str, ...]
    turn: Turn | None
    talks: Talks

    @property
    def framing(self) -> Framing:
        return (
            _stream_framing(self.errand.caller) if self.asked.stream else Framing.PLAIN
        )

    @property
    def their_framing(self) -> Framing:
        return _stream_framing(self.errand.way) if self.asked.stream else Framing.PLAIN

    def say(self, body: bytes, who: Speaker) -> Said:
        reply = CODECS[self.errand.way.dialect].read_reply(body, who.id)
        if reply.failure is not None:
            raise Unreadable(reply.failure.message)
        if not reply.complete or not reply.choices:
            raise Unreadable("its answer is none that its dialect knows")
        for call in signed_calls(reply):
            self.note_call(call)
        if not self.asked.stream:
            return Said(self._whole(reply, who), Framing.PLAIN, reply.usage)
        writer = self.writer(who)
        stream = writer.write(events_of(reply))
        self.settle(writer, who)
        return Said(stream, self.framing, reply.usage)

    def reader(self, who: Speaker, limit_bytes: int) -> StreamReader:
        make = CODECS[self.errand.way.dialect].stream_reader
        terminated = self.errand.adapter.capabilities.always_terminates
        return make(who.id, terminated=terminated, limit_bytes=limit_bytes)

    def writer(self, who: Speaker) -> StreamWriter:
        if self.errand.caller.name == _GENERATE:
            return GenerateStreamWriter(self._context(who))
        return CODECS[self.errand.caller.dialect].stream_writer(self._context(who))

    def note_call(self, call: ToolCallStart) -> None:
        self.talks.signatures.note(call)

    def settle(self, writer: StreamWriter, who: Speaker) -> None:
        if isinstance(writer, ResponsesStreamWriter):
            self._keep(writer.response, who)

    def let_go(self) -> None:
        self.body = b""
        self.asked = replace(self.asked, messages=(), system=(), tools=())
        if self.asked.store is False:
            self.turn = None

    def _whole(self, reply: Reply, who: Speaker) -> bytes:
        write = CODECS[self.errand.caller.dialect].write_reply
        if self.errand.caller.name == _GENERATE:
            write = write_generated
        found = write(reply, self._context(who))
        if self.errand.caller.dialect is Dialect.RESPONSES:
            self._keep(found, who)
        return orjson.dumps(found)

    def _keep(self, response: dict[str, Any], who: Speaker) -> None:
        if self.turn is not None and self.asked.store is not False:
            self.talks.keep(self.turn, response, who)

    def _context(self, who: Speaker) -> Context:
        def elapsed_ns() -> int:
            return int((clock.monotonic() - who.started_at) * 1e9)

        return Context(
            id=who.id,
            created=int(clock.wall()),
            model=self.errand.model,
            include_usage=self.asked.include_usage,
            prompt_tokens=len(self.body) // _BYTES_PER_TOKEN,
            elapsed_ns=elapsed_ns,
            request=self._told_back(),
        )

    def _told_back(self) -> Request | None:
        """What an answer tells of its request: of all but the conversation, a response."""
        is_response = self.errand.caller.dialect is Dialect.RESPONSES
        return replace(self.asked, messages=()) if is_response else None


def _explicit(asked: Request, way: Operation) -> Request:
    """Ollama's `think: true` wants thoughts; elsewhere that takes an effort."""
    thinking = asked.thinking
    if asked.origin is not Dialect.OLLAMA or way.dialect is Dialect.OLLAMA:
        return asked
    if thinking is None or not thinking.enabled or thinking.effort is not None:
        return asked
    return replace(asked, thinking=replace(thinking, effort=Effort.MEDIUM))


def signed_calls(reply: Reply) -> list[ToolCallStart]:
    """List the tool calls of a whole reply that carry a signature."""
    return [
        event
        for event in events_of(reply)
        if isinstance(event, ToolCallStart) and event.signature is not None
    ]


def _stream_framing(operation: Operation) -> Framing:
    return Framing.NDJSON if operation.dialect is Dialect.OLLAMA else Framing.SSE
