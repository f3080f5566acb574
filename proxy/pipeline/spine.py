"""The order of the stages. Whatever happens, each call ends here with a record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final

from providers.base import ASKABLE
from providers.wire.dialect import Dialect, Framing
from providers.wire.envelopes import Problem, in_stream, render
from proxy.auth.permission import INFERENCE, check_scope
from proxy.config import Config
from proxy.core import clock
from proxy.core.call import Call, Reply
from proxy.core.errors import CallerFault, GatewayError, GatewayFault
from proxy.core.run import in_task
from proxy.core.types import Headers, Pair, Principal, Record
from proxy.limits.budget import BudgetReached
from proxy.limits.rate import LimitReached
from proxy.pipeline import heads, model, nearby
from proxy.pipeline.allowance import Asked
from proxy.pipeline.attempts import Attempts
from proxy.pipeline.carry import Carrier, Ride
from proxy.pipeline.checks import check_one_model
from proxy.pipeline.desk import Desk
from proxy.pipeline.end_user import end_user
from proxy.pipeline.express import Express, Trip
from proxy.pipeline.order import Course
from proxy.pipeline.passage import (
    FORWARD,
    PASS_THROUGH,
    RESPONSE_OBJECT,
    Passages,
    dialect_of,
    gather_body,
)
from proxy.pipeline.tariff import Tariff
from proxy.pipeline.tracks import Tracks
from proxy.pipeline.unified import UNIFIED, Unified
from proxy.pipeline.upgrade import Tunnels, is_upgrade
from proxy.relay.translate import Translated
from proxy.routing.dispatch import Dispatch

_log: Final = logging.getLogger("local_ai.pipeline")


class Pipeline:
    """`run` serves one call; `express` those usual ones that need no coroutine."""

    def __init__(
        self,
        config: Config,
        carrier: Carrier,
        passages: Passages,
        desk: Desk,
        dispatch: Dispatch,
        *,
        instance_id: str,
        look_again: Callable[[], Awaitable[None]],
    ) -> None:
        """`look_again` looks for servers when nobody serves a model."""
        catalog = passages.catalog
        self._max_body_bytes = config.server.max_body_bytes
        self._carrier = carrier
        self._passages = passages
        self._allowance = passages.allowance
        self._tunnels = Tunnels(carrier, dispatch.traffic)
        self._desk = desk
        self._courses: set[Course] = set()
        self._via_mark = f"local-ai-{instance_id}"
        self._via = via = f"1.1 {self._via_mark}"
        self._attempts = Attempts(
            config,
            catalog,
            carrier,
            dispatch,
            look_again,
            via,
            Tracks(catalog, carrier, passages.allowance),
        )
        self.express = Express(passages, dispatch, desk, carrier.ticker, self._join)
        self._nearby = nearby.Nearby(
            self._attempts,
            carrier.translator,
            catalog,
            config.embeddings.substitutes,
        )
        self._repeats = passages.repeats
        if self._repeats is not None:
            self.express.closed = True  # it asks providers alone
        self._unified = Unified(passages.registry, catalog, self._max_body_bytes)
        self._draining = False

    @property
    def active(self) -> int:
        express = self.express
        return len(self._courses) + len(express.under_way) + express.desk.waiting

    @property
    def draining(self) -> bool:
        return self._draining

    async def idle_within(self, limit_s: float) -> bool:
        """Wait until no call is under way; False when the limit came first."""
        until = clock.monotonic() + limit_s
        while self.active and clock.monotonic() < until:
            await clock.sleep(0.02)
        return not self.active

    def stop_accepting(self) -> None:
        self._draining = self.express.closed = True

    def interrupt_all(self, error: GatewayError) -> None:
        for trip in tuple(self.express.under_way):
            trip.interrupt(error)
        for course in tuple(self._courses):
            course.interrupt(error)

    def run(
        self, call: Call, reply: Reply, cancel: Callable[[], object] | None = None
    ) -> Coroutine[Any, Any, None]:
        """Serve the call; every outcome goes to `reply` and to the record.

        `cancel` raises CancelledError where this waits; without it the current task
        is cancelled. Raises only CancelledError: the caller has gone.
        """
        course = self._begin(call, reply, cancel)
        return self._to_the_end(course, self._serve(course))

    def _join(self, trip: Trip) -> Ride:
        """Serve on what was begun without a coroutine."""
        call, reply, run = trip.wire.join(trip)
        track = trip.track
        course = Course(
            call,
            reply,
            trip.record(),
            track.order.dialect,
            run.cancel,
            principal=track.principal,
            order=track.order,
            reservation=trip.reservation,
            lines=trip.lines,
        )
        self._courses.add(course)
        ride = self._attempts.take_over(course, trip)
        run.begin_after(ride.over, partial(self._go_on, course, trip, ride))
        return ride

    def _go_on(
        self, course: Course, trip: Trip, ride: Ride
    ) -> Coroutine[Any, Any, None] | None:
        """Answer what is left to do for one that joined, now that its attempt has ended
        or is to be ended; None: nothing, it was served.
        """
        try:
            is_served = self._attempts.is_served(trip, ride)
        except Exception as error:
            return self._to_the_end(course, _fail(error))
        if not is_served:
            return self._to_the_end(course, self._attempts.go_on(course, trip, ride))
        self._account(course)
        return None

    async def _serve(self, course: Course) -> None:
        call = course.call
        if not self._admit(course):
            await self._admit_later(course)
        operation = ASKABLE.get(call.operation)
        if call.operation == UNIFIED:
            await self._unify(course)
        elif operation is None:
            await self._pass_through(course)
        else:
            limit, body = self._max_body_bytes, call.body.whole
            # A body that is here needs no waiting (bench: CPU per request).
            request: model.ModelRequest = (
                await model.read(call, operation, limit)
                if body is None
                else model.read_json(call, operation, body, limit)
            )
            record = course.record
            record.model, record.stream = request.model, request.stream
            record.end_user = end_user(request)
            if course.principal.models and isinstance(request, model.JsonRequest):
                check_one_model(request.members, course.principal)
            if self._allowance.is_on or course.principal.is_limited:
                await self._reserve(course, request)
            await self._answer(course, request)

    def _answer(
        self, course: Course, request: model.ModelRequest
    ) -> Coroutine[Any, Any, None]:
        is_nearby = course.call.operation in nearby.OPERATIONS
        serve = self._nearby.serve if is_nearby else self._attempts.serve
        if self._repeats is None:
            return serve(course, request)
        return self._repeats.serve(course, request, serve)

    async def _to_the_end(
        self, course: Course, work: Coroutine[Any, Any, None]
    ) -> None:
        """Await `work`; what it raises is told to the caller, and all is recorded."""
        reply = course.reply
        try:
            await work
        except GatewayError as error:
            self._refuse(course, error)
        except asyncio.CancelledError:
            if course.interruption is None or reply.gone:
                raise
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            self._refuse(course, course.interruption)
        except Exception:
            _log.exception("request %s failed", course.record.id)
            self._refuse(course, GatewayFault("internal_error", "Internal error."))
        finally:
            self._account(course)

    # -- the stages, in their order -----------------------------------------------

    def _begin(
        self, call: Call, reply: Reply, cancel: Callable[[], object] | None
    ) -> Course:
        record = Record(
            call.id,
            call.operation,
            call.started_at,
            call.client_request_id,
            call.method,
            call.path,
            call.peer,
        )
        if cancel is None and (task := asyncio.current_task()) is not None:
            cancel = task.cancel
        record.user_agent = call.headers.get("user-agent")
        record.trace_parent = call.headers.get("traceparent")
        course = Course(call, reply, record, _dialect(call), cancel)
        if call.operation not in ASKABLE:  # of others it follows from the operation
            record.dialect = course.dialect
        self._courses.add(course)
        return course

    async def _pass_through(self, course: Course) -> None:
        call, passages = course.call, self._passages
        if call.operation == RESPONSE_OBJECT:
            if await self._nearby.answer_object(course):
                return
            self._note_owners()
        principal, passing = course.principal, None
        if course.is_narrow or self._allowance.is_on or principal.is_limited:
            passing = await passages.asked(call, course.record, principal)
        order, out = passages.order(call, course.record, self._via, principal, passing)
        if passing is not None:
            course.record.model = passing.model or None
            await self._reserve(course, passing, passing.operation)
        if is_upgrade(call):
            course.order = order
            await self._tunnels.run(course, order)
        else:
            await gather_body(out, call.body)
            await self._attempts.pass_on(course, order, out)
            passages.settle(call, course.reply.status)

    async def _unify(self, course: Course) -> None:
        request = await self._unified.read(course)
        if request is None:
            return
        course.record.model, course.record.stream = request.model, request.stream
        if course.principal.models:
            check_one_model(request.members, course.principal)
        if self._allowance.is_on or course.principal.is_limited:
            await self._reserve(course, request)
        await self._answer(course, request)

    async def _reserve(
        self, course: Course, asked: Asked, operation: str | None = None
    ) -> None:
        """Take what the call may use of limits and budgets, or raise."""
        allowance, call = self._allowance, course.call
        who = course.principal, call.peer, operation or call.operation, asked
        try:
            found = allowance.try_reserve(*who)
            if found is None:
                await in_task()
                found = await allowance.reserve(*who)
        except (LimitReached, BudgetReached) as error:
            allowance.refused[error.code] += 1
            course.lines = error.lines
            raise
        course.reservation, course.lines = found, found.lines
        if found.tariff is not Tariff.ANY:
            course.is_narrow = True

    def _note_owners(self) -> None:
        """A response that is still being streamed may already be asked for."""
        for course in self._courses:
            self._carrier.note_owner(course)

    def _admit(self, course: Course) -> bool:
        """Let the call in, or raise; False where a token's issuer is to be asked."""
        call, access = course.call, self._passages.access
        if self._draining:
            raise GatewayFault(
                "shutting_down", "The gateway is stopping.", retry_after_s=5.0
            )
        memo = call.headers.memo
        admitted: tuple[Pair, ...] | None = memo.get(access)
        if admitted is None:
            admitted = memo[access] = self._look_at(call.headers)
        course.cors = admitted
        authenticator = self._passages.authenticator
        if authenticator is None:
            return True
        principal = authenticator.try_authenticate(call.headers)
        if principal is not None:
            _know(course, principal)
        return principal is not None

    async def _admit_later(self, course: Course) -> None:
        authenticator = self._passages.authenticator
        assert authenticator is not None
        _know(course, await authenticator.authenticate(course.call.headers))

    def _look_at(self, headers: Headers) -> tuple[Pair, ...]:
        """Admit a head, or raise; answers what a permitted web page needs.

        It depends on the head alone and is remembered with it.
        """
        access = self._passages.access
        access.admit(headers)
        if self._via_mark in ",".join(headers.all("via")):
            raise CallerFault(
                "request_loop", "The request has already passed through this gateway."
            )
        return tuple(access.cors(headers))

    # -- endings ------------------------------------------------------------------

    def _refuse(self, course: Course, error: GatewayError) -> None:
        """Tell the caller: as an error reply, or in-band where a stream has begun."""
        record, reply = course.record, course.reply
        record.code = error.code
        if reply.gone:
            return
        if course.words and error in course.words and not reply.started:
            course.words[error]()
            return
        problem = _problem(course, error)
        if not reply.started:
            body = render(problem, course.dialect)
            fields = [
                *heads.of_error(course, error, _overhead_s(record)),
                ("content-type", "application/json"),
            ]
            reply.whole(error.status, fields, body)
        elif course.framing is Framing.PLAIN:
            reply.abort()
        else:
            reply.write(_last_words(course, problem))
            reply.end()

    def _account(self, course: Course) -> None:
        self._courses.discard(course)
        record, reply = course.record, course.reply
        record.ended_at = clock.monotonic()
        record.bytes_in += course.call.body.received
        record.bytes_out = reply.bytes_out
        status = reply.status
        if status == 101:
            record.status = status  # a tunnel has no better end than its closing
        elif reply.gone or not reply.ended:
            record.status, record.code = 499, "client_closed_request"
            reply.abort()
        elif not record.status:
            record.status = status
        course.cancel = course.words = None
        if course.keep_alive is not None:
            self._carrier.ticker.discard(course.keep_alive)
        if course.reservation is not None:
            course.reservation.settle(record)
        self._desk.report(record)


async def _fail(error: Exception) -> None:
    raise error


def _know(course: Course, principal: Principal) -> None:
    """Note who calls. Raises CallerFault `forbidden` for who may call no model."""
    record = course.record
    record.tenant, record.key = principal.tenant, principal.key
    course.principal = principal
    course.is_narrow = bool(principal.models)
    check_scope(principal, INFERENCE)


def _dialect(call: Call) -> Dialect:
    operation = ASKABLE.get(call.operation)
    if operation is not None:
        return operation.dialect
    if call.operation == PASS_THROUGH:
        return dialect_of("/" + call.params.get("rest", ""))
    if call.operation == FORWARD and "anthropic-version" in call.headers:
        return Dialect.MESSAGES
    return dialect_of(call.path)


def _overhead_s(record: Record) -> float:
    """Time spent here so far, on a call that has failed."""
    waited_s = record.upstream_wait_s + record.queue_s
    return max(0.0, clock.monotonic() - record.started_at - waited_s)


def _last_words(course: Course, problem: Problem) -> bytes:
    """The events that end a broken stream; they go on from what has passed."""
    watch, record = course.watch, course.record
    if isinstance(watch, Translated):
        return watch.last_words(problem)
    return in_stream(
        problem,
        course.dialect,
        course.framing,
        response_id=watch.response_id if watch else None,
        sequence_number=watch.next_sequence() if watch else 0,
        model=record.model or "",
        created_at=int(clock.wall()),
    )


def _problem(course: Course, error: GatewayError) -> Problem:
    record = course.record
    shown = record.client_request_id or record.id
    message = error.message
    if error.status >= 500:
        message = f"{message} (request id {shown})"
    return Problem(
        error.status, error.shown_type, error.shown_code, message, error.param, shown
    )
