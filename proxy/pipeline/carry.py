"""An order is carried out: sent to its provider, its reply given to the caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from msgspec import Struct

from providers.errors import Blame
from providers.wire.dialect import Dialect, Framing
from providers.wire.envelopes import is_envelope
from providers.wire.holds import hold_for
from providers.wire.members import with_member
from providers.wire.usage import Usage
from providers.wire.watch import Watch
from providers.wire.watches import watch_for
from providers.wire.whole import is_json, read_error, read_response_id, read_usage
from proxy.config import Config, ProviderConfig
from proxy.core import clock
from proxy.core.errors import ProviderFault
from proxy.core.run import Signal
from proxy.core.types import Attempt, Pair
from proxy.pipeline import failures, heads
from proxy.pipeline.kind import Kind, kind_of
from proxy.pipeline.order import Course, Order, Treatment
from proxy.pipeline.translation import (
    Speaker,
    Translation,
    Unreadable,
    content_type,
)
from proxy.pipeline.translator import Translator
from proxy.pipeline.usage import cost_line, note_estimate, note_usage
from proxy.relay.client import Client, Outgoing
from proxy.relay.connection import Connection
from proxy.relay.errors import (
    BrokenReply,
    CallerStalled,
    Phase,
    UnfitReply,
    UpstreamFailed,
)
from proxy.relay.head import ReplyHead, encode_fields
from proxy.relay.headers import block_for_caller, sse_fields
from proxy.relay.keepalive import KeepAlive
from proxy.relay.modes import (
    REFUSAL_LIMIT,
    WHOLE_LIMIT,
    Events,
    Gathered,
    Mode,
    Plain,
)
from proxy.relay.origin import Origin
from proxy.relay.transfer import Transfer
from proxy.relay.translate import Translated
from proxy.routing.outcome import ANSWERED, LEFT, Ending, Outcome, of_fault
from proxy.routing.responses import ResponseOwners

# Bound once: to ask an Enum for a member costs what two calls cost.
_MODEL: Final = Treatment.MODEL
_PLAIN: Final = Treatment.PLAIN
# Of a whole answer that is translated: vectors of many inputs are large.
_TRANSLATED_LIMIT: Final = 64 << 20
_REDIRECTS: Final = frozenset(range(300, 400)) - {304}
# Operations whose streams end with a terminator of their dialect. Others may stream
# events too (speech, transcriptions, images), whose end HTTP alone tells.
_TERMINATED: Final = frozenset(
    {
        "chat",
        "completions",
        "responses",
        "messages",
        "ollama_chat",
        "ollama_generate",
    }
)
# Operations whose whole answers are JSON. Others may be text or media.
_JSON: Final = _TERMINATED | {
    "count_tokens",
    "embeddings",
    "ollama_embed",
    "ollama_embeddings",
    "rerank",
    "moderations",
}


class Carrier(Struct, frozen=True):
    """What carrying needs; `origin_of` knows each provider's address and options."""

    config: Config
    client: Client
    ticker: clock.Ticker
    origin_of: Callable[[ProviderConfig], Origin]
    owners: ResponseOwners
    translator: Translator

    async def carry(self, course: Course, order: Order, out: Outgoing) -> Outcome:
        """Do it; answers how it ended. With an `error` nothing of a reply has been
        given to the caller, unless the ending is CUT.
        """
        ride, origin = Ride(self, course, order), self.origin_of(order.provider.config)
        try:
            return ride.ended(await ride.run(self.client, origin, out))
        except (UpstreamFailed, CallerStalled) as error:
            return ride.failed(error, out)
        finally:
            ride.note()

    def speak(self, course: Course, since: float) -> KeepAlive:
        """Have comments sent in a stream of SSE while nothing comes, as from `since` on."""
        stream = self.config.stream

        def commit() -> list[Pair]:
            course.framing = Framing.SSE
            return sse_fields(
                [*heads.of_request(course), ("content-type", "text/event-stream")]
            )

        course.is_silent = False
        course.keep_alive = keep_alive = KeepAlive(
            course.reply,
            stream.keep_alive_seconds,
            since,
            commit if stream.keep_alive_before_headers else None,
        )
        self.ticker.add(keep_alive)
        return keep_alive

    def hush(self, course: Course) -> None:
        """Have no more comments sent."""
        course.is_silent = False
        if course.keep_alive is not None:
            self.ticker.discard(course.keep_alive)

    def note_owner(self, course: Course) -> None:
        """Remember who makes the response that passes, if it has an id yet."""
        if course.watch is not None and course.order is not None:
            self.own(course, course.watch.response_id)

    def own(self, course: Course, response_id: str | None) -> None:
        """Remember who has made a response."""
        record, order = course.record, course.order
        if order is None or order.dialect is not Dialect.RESPONSES:
            return
        if response_id is not None:
            self.owners.remember(response_id, record.tenant, order.provider.id)


class Ride(Transfer):
    """One attempt: the transfer, and what its reply turns out to be.

    `run`, then `ended` or `failed`, and in any case `note`.
    """

    __slots__ = (
        "_attempt",
        "_carrier",
        "_passed",
        "_passes_on",
        "_ready",
        "_watch",
        "course",
        "order",
    )

    def __init__(self, carrier: Carrier, course: Course, order: Order) -> None:
        super().__init__(course.reply, order.limits, carrier.ticker)
        self._carrier = carrier
        self.course = course
        self._passes_on = False
        self.order = order
        self._watch: Watch | Translated | None = None
        self._passed: Events | Translated | None = None  # what counts events
        self._ready: tuple[Watch, Events] | None = None
        record, model = course.record, order.upstream_model
        record.provider = provider = order.provider.config.id
        record.upstream_model = model
        self._attempt = attempt = Attempt(provider, model)
        record.attempts.append(attempt)
        if course.keep_alive is not None:
            carrier.ticker.add(course.keep_alive)

    def make_ready(self) -> None:
        """Make what a stream of SSE needs when its head comes: there is time now."""
        self._ready = self._by_events(Framing.SSE)

    @property
    def over(self) -> Signal:
        """Given once it has ended, before `run` goes on."""
        return self._ended

    @property
    def has_passed(self) -> bool:
        """Tell whether it has ended with a reply that has gone to the caller."""
        mode = self._mode
        return mode is not None and mode.body is None and self._ended.is_well

    def close(self, sent: Connection) -> None:
        """Do what `run`, which nobody awaits, and `note` do where it `has_passed`."""
        self._leave(sent)
        self._mode = None
        self.note()

    def tick(self, now: float) -> None:
        super().tick(now)
        course, sent_at = self.course, self.sent_at
        if course.is_silent and self._connection is not None and sent_at is not None:
            self._carrier.speak(course, sent_at).tick(now)

    def ended(self, body: bytes | None) -> Outcome:
        """Give the caller a whole reply that `run` has answered."""
        return ANSWERED if body is None else self._answer(body)

    def failed(self, error: UpstreamFailed | CallerStalled, out: Outgoing) -> Outcome:
        """Read what `run` has raised."""
        if isinstance(error, CallerStalled):
            self._reply.abort()
            self.course.record.status = 499
            self.course.record.code = "client_closed_request"
            return LEFT
        fault = failures.from_relay(
            error, self.order.provider, streaming=self._watch is not None
        )
        self._attempt.code = fault.code
        has_passed = self._passes_on and self.body_began
        if not has_passed:
            self.head_at = None  # all of the attempt was waiting
        ending = Ending.CUT if has_passed else failures.ending_of(error)
        spent = not isinstance(out.body, bytes) and self.sent_at is not None
        return Outcome(ending, fault, spent=spent)

    def on_data(self, data: bytes) -> None:
        super().on_data(data)
        if self._passes_on and (began := self.course.began) is not None:
            self.course.began = None
            began()

    # -- when the head is there -------------------------------------------------

    def mode_for(self, head: ReplyHead) -> Mode:
        """Choose how this reply is treated; starts it where nothing is awaited."""
        self._attempt.status = head.status
        # What is remembered is asked for without a call (bench: CPU per request).
        order, kind = self.order, head.memo.get("kind") or kind_of(head)
        is_read = order.treatment is not _PLAIN and order.translation is None
        if kind.is_stream and is_read and self._ends_as_known():
            return self._events(head, kind.framing)
        return self._mode_of(head, kind)

    def _mode_of(self, head: ReplyHead, kind: Kind) -> Mode:
        """As `mode_for`, of what is no usual stream."""
        order, status, framing = self.order, head.status, kind.framing
        if status in _REDIRECTS and order.prefix is None:
            raise UnfitReply("it answered with a redirect", Phase.FIRST_BYTE)
        is_model = order.treatment is _MODEL
        if order.translation is not None and 200 <= status < 300:
            return self._translated(order.translation, kind)
        if framing is not Framing.SSE or not self._ends_as_known():
            # Comments have no place in a reply that is no stream of known events.
            self._carrier.hush(self.course)
        if order.treatment is _PLAIN or not 200 <= status < 300:
            if not is_model:
                return self._plain(head)
            self.bound(order.provider.config.timeouts.whole)
            return Gathered(REFUSAL_LIMIT, None)
        if framing is Framing.PLAIN and (is_model or kind.is_json):
            if is_model and self._ends_as_known():
                self.bound(order.provider.config.timeouts.whole)
            return Gathered(WHOLE_LIMIT, self._overflow)
        if kind.is_coded and is_model and framing is not Framing.PLAIN:
            # Its events cannot be told apart, and we had asked for it plain.
            raise UnfitReply("it compressed a stream unasked", Phase.FIRST_BYTE)
        if framing is Framing.PLAIN or kind.is_coded or not self._ends_as_known():
            return self._plain(head)
        return self._events(head, framing)

    def _translated(self, translation: Translation, kind: Kind) -> Mode:
        """An answer in another dialect: a stream by events, else all of it at once."""
        if kind.is_coded:
            raise UnfitReply("it compressed its answer unasked", Phase.FIRST_BYTE)
        if kind.framing is Framing.PLAIN:
            self.bound(self.order.provider.config.timeouts.whole)
            return Gathered(_TRANSLATED_LIMIT, _too_large)
        if kind.framing is not translation.their_framing:
            raise UnfitReply(
                "it answered with a stream of another kind", Phase.FIRST_BYTE
            )
        course, who = self.course, self._speaker()
        self._watch = self._passed = course.watch = mode = Translated(
            self._reply,
            translation.reader(who, self._carrier.config.stream.max_event_bytes),
            translation.writer(who),
            translation.note_call,
            partial(translation.settle, who=who),
        )
        self._passes_on = True
        course.framing = translation.framing
        if not self._reply.started:
            self._reply.start(200, (), None, self._own_block(translation.framing))
        return mode

    def _speaker(self) -> Speaker:
        record = self.course.record
        provider = record.provider or ""
        return Speaker(record.id, record.started_at, record.tenant, provider)

    def _own_block(self, framing: Framing) -> bytes:
        """The fields of a translated reply: of the provider's own none would hold."""
        pairs = [content_type(framing)]
        if framing is not Framing.PLAIN:
            pairs = sse_fields(pairs)
        order, course = self.order, self.course
        return encode_fields(pairs) + heads.block_of_order(course, order, self._spent())

    def _overflow(self) -> Mode:
        """A reply too large to be held passes on as it comes."""
        assert self.head is not None
        return self._plain(self.head)

    def _ends_as_known(self) -> bool:
        """Tell whether a stream of this call has a terminator that we know."""
        if self.order.treatment is not _MODEL:
            return True
        return self.course.call.operation in _TERMINATED

    def _plain(self, head: ReplyHead) -> Mode:
        if self._reply.started:
            raise UnfitReply("it answered no stream to a stream", Phase.FIRST_BYTE)
        self._passes_on = True
        self._reply.start(
            head.status, (), _length(head, self.course), self._block(head)
        )
        return Plain(self._reply)

    def _events(self, head: ReplyHead, framing: Framing) -> Mode:
        order, course, reply = self.order, self.course, self._reply
        if not reply.started:
            is_framed = order.treatment is _MODEL or framing is Framing.SSE
            reply.start(head.status, (), None, self._block(head, events=is_framed))
        elif framing is not course.framing:
            raise UnfitReply("it answered no stream to a stream", Phase.FIRST_BYTE)
        self._passes_on = True
        ready = self._ready
        if ready is None or framing is not Framing.SSE:
            ready = self._by_events(framing)
        watch, mode = ready
        self._watch = course.watch = watch
        self._passed = mode
        course.framing = framing
        return mode

    def _by_events(self, framing: Framing) -> tuple[Watch, Events]:
        order = self.order
        watch = watch_for(
            order.dialect,
            framing,
            withhold_usage=order.added_usage,
            terminated=order.provider.adapter.capabilities.always_terminates,
        )
        longest = self._carrier.config.stream.max_event_bytes
        return watch, Events(self._reply, hold_for(framing, longest), watch)

    def _block(self, head: ReplyHead, *, events: bool = False) -> bytes:
        """The reply's fields, encoded: the provider's, and our own."""
        order, course = self.order, self.course
        if order.prefix is not None and head.get("location") is not None:
            head = _relocated(head, order.provider.config.base_url, order.prefix)
        theirs = block_for_caller(head, order.treatment is not _MODEL, events)
        return theirs + heads.block_of_order(course, order, self._spent())

    def _spent(self) -> float:
        """Time spent here so far: all since the door, less waiting for upstreams."""
        record, sent_at, head_at = self.course.record, self.sent_at, self.head_at
        waited = record.upstream_wait_s + record.queue_s
        if sent_at is not None and head_at is not None:
            waited += head_at - sent_at
        return max(0.0, clock.monotonic() - record.started_at - waited)

    # -- when a whole body is there -----------------------------------------------

    def _answer(self, body: bytes) -> Outcome:
        """Give a whole reply to the caller, or say why it is none."""
        order, head = self.order, self.head
        assert head is not None
        if order.treatment is not _MODEL:
            if order.treatment is Treatment.INFERENCE and head.status == 200:
                self._take_usage(read_usage(order.dialect, body))
            self._give(head, body)
            return ANSWERED
        if 200 <= head.status < 300 and (
            not kind_of(head).is_json or read_error(body) is None
        ):
            return self._give_answer(head, body)
        fields = failures.dated(head.pairs)
        fault = order.provider.adapter.interpret(head.status, fields, body)
        error = failures.from_fault(fault, order.provider)
        self._attempt.code = error.code
        as_asked = None if order.translation else self.course.call.operation
        outcome = of_fault(fault, error, operation=as_asked)
        if fault.blame is not Blame.CALLER or fault.tells_secret:
            return outcome
        if not self._speaks_dialect(head, body):
            return outcome
        # Some answer 200 with an error in it: the caller gets the real status.
        self.trailers = ()
        if outcome.ending is Ending.CALLER:
            self.course.record.code = error.code
            self._give(head, body, fault.status)
            return Outcome(Ending.CALLER, status=fault.status)
        words = self.course.words = self.course.words or {}
        words[error] = partial(self._give, head, body, fault.status)
        return outcome

    def _give_answer(self, head: ReplyHead, body: bytes) -> Outcome:
        """Give an answer that is one: JSON where the operation's answers are JSON."""
        order, course = self.order, self.course
        if order.translation is not None:
            return self._give_translated(order.translation, body)
        if self._reply.started:
            return self._unfit("it answered no stream to a stream")
        usage = read_usage(order.dialect, body) if body else None
        if usage is None and course.call.operation in _JSON and not is_json(body):
            return self._unfit("its answer is not JSON, or not all of it")
        block = b""
        if usage is not None:
            self._take_usage(usage)
            block = cost_line(course.record)
        if order.dialect is Dialect.RESPONSES:
            self._carrier.own(course, read_response_id(body))
        if course.tells_provider:
            body = self._named(body)
        self._give(head, body, block=block)
        return ANSWERED

    def _named(self, body: bytes) -> bytes:
        """An answer with the name of its provider in it."""
        name = f'"{self.order.provider.id}"'.encode()
        return with_member(body, "provider", name)

    def _give_translated(self, translation: Translation, body: bytes) -> Outcome:
        """Give a whole answer in the caller's dialect, as a stream if it wants one."""
        try:
            said = translation.say(body, self._speaker())
        except Unreadable as error:
            return self._unfit(str(error))
        self._take_usage(said.usage)
        block, reply = self._own_block(said.framing), self._reply
        if said.framing is Framing.PLAIN:
            block += cost_line(self.course.record)
            named = self.course.tells_provider
            reply.whole(200, (), self._named(said.body) if named else said.body, block)
            return ANSWERED
        if not reply.started:
            reply.start(200, (), None, block)
        reply.write(said.body)
        reply.end()
        return ANSWERED

    def _unfit(self, why: str) -> Outcome:
        provider = self.order.provider
        error = ProviderFault("upstream_error", f"Provider {provider.id}: {why}.")
        self._attempt.code = error.code
        return Outcome(Ending.FAILED, error)

    def _give(
        self,
        head: ReplyHead,
        body: bytes,
        status: int | None = None,
        block: bytes = b"",
    ) -> None:
        """Pass a whole reply on as it is, but for its status if one is given."""
        reply, course = self._reply, self.course
        status, trailers = status or head.status, self.trailers
        block += self._block(head)
        if not trailers and course.call.method != "HEAD":
            reply.whole(status, (), body, block)
            return
        reply.start(status, (), None if trailers else _length(head, course), block)
        reply.write(body)
        reply.end(trailers)

    def _speaks_dialect(self, head: ReplyHead, body: bytes) -> bool:
        """Tell whether a refusal already has the shape the caller's SDK reads."""
        if self._reply.started or not kind_of(head).is_json:
            return False
        if self.order.translation is not None:
            return False
        return is_envelope(body, self.order.dialect)

    # -- afterwards -----------------------------------------------------------------

    def note(self) -> None:
        """Copy what is known to the record, however it ended."""
        record, order, sent_at = self.course.record, self.order, self.sent_at
        if sent_at is not None:
            waited_s = record.upstream_wait_s + record.queue_s
            record.overhead_s = max(0.0, sent_at - record.started_at - waited_s)
            record.upstream_wait_s += (self.head_at or clock.monotonic()) - sent_at
        record.first_byte_at = self.first_byte_at
        watch, passed = self._watch, self._passed
        if watch is None or passed is None:  # no stream has passed
            return
        record.events = passed.events
        note_usage(record, order, watch.usage)
        if not (
            watch.ends_well_if_lost()
            if isinstance(watch, Translated)
            else watch.is_complete()
        ):
            # It broke off before anybody had counted: guess.
            size = self.course.call.body.received
            note_estimate(record, order, passed.events, size, watch.usage)
        if order.dialect is Dialect.RESPONSES:
            self._carrier.own(self.course, watch.response_id)
        if watch.error is not None and record.code is None:
            record.code = "upstream_error"

    def _take_usage(self, usage: Usage | None) -> None:
        note_usage(self.course.record, self.order, usage)


def _too_large() -> Mode:
    raise BrokenReply("its answer is too large to be translated", Phase.WHOLE)


def _relocated(head: ReplyHead, base_url: str, prefix: str) -> ReplyHead:
    pairs = tuple(
        (
            name,
            heads.relocated(value, base_url, prefix) if name == "location" else value,
        )
        for name, value in head.pairs
    )
    return replace(head, pairs=pairs, memo={})


def _length(head: ReplyHead, course: Course) -> int | None:
    if course.call.method == "HEAD":
        said = head.get("content-length")
        return int(said) if said is not None and said.isdigit() else None
    return head.length
