"""Requests that ask the same: answered from the cache, or by one upstream request for all
who ask at once.

Whole answers are fetched by a flight, in a task of its own, so that it does not end with
whoever came first; of those who wait one bears what it used, the others have it for
nothing. Streams go to their caller as they come, and are copied on the way.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from providers.base import ASKABLE
from providers.wire.dialect import Framing
from providers.wire.translate.streams import Context
from providers.wire.usage import Usage
from proxy.cache.copies import Caught, Collected, Copied
from proxy.cache.flights import Flights
from proxy.cache.key import Asked, read_asked
from proxy.cache.replay import as_events, as_whole
from proxy.cache.responses import ResponseCache, Stored
from proxy.core import clock
from proxy.core.errors import GatewayError, ProviderFault
from proxy.core.types import Pair, Record
from proxy.pipeline import heads
from proxy.pipeline.model import JsonRequest, ModelRequest
from proxy.pipeline.narrowed import narrowed
from proxy.pipeline.order import Course
from proxy.relay.headers import sse_fields
from proxy.routing.catalog import Catalog

Work = Callable[[Course, ModelRequest], Awaitable[None]]

_WHOLE_LIMIT: Final = 64 << 20
_STREAM_LIMIT: Final = 16 << 20
# What a flight's record has that is the upstream's doing.
_OF_UPSTREAM: Final = (
    "provider", "upstream_model", "code", "prompt_tokens", "completion_tokens",
    "cached_tokens", "cache_write_tokens", "reasoning_tokens", "usage_source",
    "cost_usd", "upstream_wait_s", "queue_s", "first_byte_at",
)  # fmt: skip


class Repeats:
    """Stands before whoever asks providers. `counts` are by hit, miss and bypass."""

    def __init__(
        self,
        cache: ResponseCache,
        flights: Flights[Landed],
        catalog: Callable[[], Catalog],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._cache = cache
        self._flights = flights
        self._catalog = catalog

    @property
    def size(self) -> tuple[int, int]:
        """Answer how many replies are kept, and in how many bytes."""
        return self._cache.size

    async def serve(self, course: Course, request: ModelRequest, work: Work) -> None:
        """Answer the call, by `work` where nothing is kept. Raises GatewayError."""
        asked = self._asked(course, request)
        if asked is None:
            self._note(course, "bypass")
            await work(course, request)
            return
        stored = await self._cache.find(asked)
        if stored is not None:
            self._note(course, "hit")
            course.record.model, course.record.stream = request.model, asked.stream
            _replay(course, stored, asked)
        elif asked.stream or not asked.reads:
            self._note(course, "miss" if asked.reads else "bypass")
            await self._ask_alone(course, request, asked, work)
        else:
            await self._ask_together(course, request, asked, work)

    def _asked(self, course: Course, request: ModelRequest) -> Asked | None:
        """What is asked, if it may be answered so. Raises CallerFault
        `model_not_allowed`.
        """
        if course.tells_provider or not isinstance(request, JsonRequest):
            return None
        operation, catalog = ASKABLE[course.call.operation], self._catalog()
        if course.is_narrow:  # what is kept is for who may have it
            found = request.pinned or catalog.resolve(request.model, operation)
            narrowed(found, course.principal)
        model = catalog.find(request.model)
        return read_asked(
            course.record.tenant,
            operation.name,
            request.model if model is None else model.id,
            request.members.body,
            course.call.headers,
        )

    def _note(self, course: Course, word: str) -> None:
        self.counts[word] += 1
        course.record.cache = word
        course.lines += f"x-proxy-cache: {word}\r\n"

    # -- for one caller -------------------------------------------------------------

    async def _ask_alone(
        self, course: Course, request: ModelRequest, asked: Asked, work: Work
    ) -> None:
        course.reply = copied = Copied(course.reply, _STREAM_LIMIT)
        await work(course, request)
        await self._keep(asked, copied.caught(), course.record)

    # -- for all who ask at once ----------------------------------------------------

    async def _ask_together(
        self, course: Course, request: ModelRequest, asked: Asked, work: Work
    ) -> None:
        record = course.record
        record.model, record.stream = request.model, request.stream
        fly = partial(self._fly, course, request, asked, work)
        landed, is_first = await self._flights.join(asked.key, fly)
        if is_first:
            landed.give(course)
            return
        self._note(course, "hit" if landed.is_borne else "miss")
        record.code = landed.record.code
        if not landed.is_borne:
            landed.bear(course.record)
        landed.give_again(course)

    async def _fly(
        self, first: Course, request: ModelRequest, asked: Asked, work: Work
    ) -> Landed:
        """Do the work for whoever waits, not only for who came first."""
        self._note(first, "miss")
        reply, record = Kept(_WHOLE_LIMIT), copy.copy(first.record)
        course = replace(first, reply=reply, record=record, cancel=None, words=None)
        landed = Landed(record, reply)
        try:
            await work(course, request)
        except GatewayError as error:
            if not course.words or error not in course.words or reply.started:
                raise
            record.code = error.code
            course.words[error]()
        finally:
            if first.cancel is not None:  # still here; else another bears what it used
                landed.bear(first.record)
                first.order = course.order
        await self._keep(asked, reply.caught(), record)
        return landed

    async def _keep(self, asked: Asked, caught: Caught | None, record: Record) -> None:
        if caught is None or record.code is not None:
            return
        usage = None
        if record.usage_source == "upstream":
            usage = Usage(
                record.prompt_tokens,
                record.completion_tokens,
                record.cached_tokens,
                record.cache_write_tokens,
                record.reasoning_tokens,
            )
        await self._cache.keep(
            asked,
            status=caught.status,
            is_stream=caught.is_stream,
            body=caught.body,
            usage=usage,
        )


class Kept(Collected):
    """A reply that is collected with its head as it was."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self.fields: Sequence[Pair] = ()
        self.block = b""

    def start(
        self,
        status: int,
        headers: Sequence[Pair],
        length: int | None,
        block: bytes = b"",
    ) -> None:
        self.fields, self.block = headers, block
        super().start(status, headers, length, block)


class Landed(Struct):
    """What a flight has brought. `is_borne`: somebody's record has what it used."""

    record: Record
    reply: Kept
    is_borne: bool = field(default=False)

    def bear(self, record: Record) -> None:
        """Write into a record what the flight has used."""
        self.is_borne = True
        for name in _OF_UPSTREAM:
            setattr(record, name, getattr(self.record, name))
        record.attempts = self.record.attempts

    def give(self, course: Course) -> None:
        """Answer who came first, with the reply as it was."""
        caught = self._caught()
        course.reply.whole(
            caught.status, self.reply.fields, caught.body, self.reply.block
        )

    def give_again(self, course: Course) -> None:
        """Answer another, whose head is its own."""
        caught = self._caught()
        fields = [*heads.of_request(course), ("content-type", caught.content_type)]
        course.reply.whole(caught.status, fields, caught.body)

    def _caught(self) -> Caught:
        caught = self.reply.caught()
        if caught is None:
            raise ProviderFault("upstream_error", "The answer was cut short.")
        return caught


def _replay(course: Course, stored: Stored, asked: Asked) -> None:
    record, reply = course.record, course.reply
    context = Context(
        record.id,
        int(clock.wall()),
        record.model or "",
        include_usage=asked.include_usage,
    )
    fields = heads.of_request(course)
    if not asked.stream:
        fields.append(("content-type", "application/json"))
        reply.whole(200, fields, as_whole(stored, context))
        return
    course.framing = Framing.SSE
    reply.start(200, sse_fields([*fields, ("content-type", "text/event-stream")]), None)
    for event in as_events(stored, context):
        reply.write(event)
    reply.end()
