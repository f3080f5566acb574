"""From a model request to its answer: who is asked, in which slot, and who then.

The choice, the slot, the attempt; after a failed one, as long as no byte of a reply
has gone to the caller, whoever `routing.failover` names. A request that finds a slot
and an answer at once waits for nothing here but the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NoReturn, Protocol

from msgspec import Struct

from providers.base import ASKABLE
from providers.wire.dialect import Dialect
from providers.wire.members import Members
from proxy.config import Config
from proxy.core import clock
from proxy.core.call import Body, Call
from proxy.core.errors import CallerFault, GatewayError, ProviderFault
from proxy.pipeline.carry import Carrier, Ride
from proxy.pipeline.model import JsonRequest, ModelRequest, Shape
from proxy.pipeline.narrowed import narrowed
from proxy.pipeline.order import Course, Order
from proxy.pipeline.tariff import Tariff
from proxy.pipeline.tracks import Track, Tracks
from proxy.pipeline.translation import Unsayable
from proxy.relay.client import Outgoing
from proxy.relay.connection import Connection, Sink
from proxy.relay.errors import CallerStalled, UpstreamFailed
from proxy.routing.catalog import Catalog, Resolution
from proxy.routing.dispatch import Dispatch
from proxy.routing.failover import Failover, Next, Rouse, Route, Stop
from proxy.routing.model import Candidate
from proxy.routing.outcome import LEFT, Ending, Outcome, of_passage
from proxy.routing.queue import Claim, priority_of
from proxy.routing.registry import Provider
from proxy.routing.slots import Lease
from proxy.routing.wake import sleeper

_Choice = tuple[Resolution, tuple[Candidate, ...]]
_NO_MODEL: Final = ""


class Going(Sink, Protocol):
    """A request that has been sent, and is to go on as one of ours."""

    @property
    def members(self) -> Members: ...

    @property
    def track(self) -> Track: ...

    @property
    def lease(self) -> Lease: ...

    @property
    def connection(self) -> Connection: ...

    @property
    def sent(self) -> bytes: ...

    @property
    def sent_at(self) -> float: ...

    def let_go(self, body: Body) -> None:
        """Keep no prompt, nor `body`, the caller's."""
        ...


class Begun(Struct, frozen=True):
    """A first attempt that is under way."""

    connection: Connection
    out: Outgoing
    ride: Ride


class Attempts:
    """Serves calls by asking providers, one after the other if need be."""

    def __init__(
        self,
        config: Config,
        catalog: Callable[[], Catalog],
        carrier: Carrier,
        dispatch: Dispatch,
        look_again: Callable[[], Awaitable[None]],
        via: str,
        tracks: Tracks,
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._carrier = carrier
        self._dispatch = dispatch
        self._look_again = look_again
        self._via = via
        self._tracks = tracks

    # -- a model, whoever serves it ---------------------------------------------------

    async def serve(self, course: Course, request: ModelRequest) -> None:
        """Answer the call. Raises GatewayError when nobody has."""
        dispatch = self._dispatch
        self._expect(course, request)
        resolution, candidates = self._choose(course, request)
        lease = dispatch.queue.take(candidates)
        if lease is None or not dispatch.traffic.try_begin(lease.candidate):
            resolution, candidates, lease = await self._begin_later(
                course, request, resolution, candidates, lease
            )
        await self._try_all(course, request, resolution, candidates, lease)

    def take_over(self, course: Course, going: Going) -> Ride:
        """Make what the attempt needs that is under way. When it has ended, `is_served`
        is asked, and `go_on` awaited where it is not; before that, to end the call.
        """
        ride = Ride(self._carrier, course, going.track.order)
        ride.take_over(going.connection, going.sent_at, going)
        if course.record.stream:
            course.is_silent = True
            course.began = partial(going.let_go, course.call.body)
            ride.make_ready()
        return ride

    def is_served(self, going: Going, ride: Ride) -> bool:
        """Note, as `go_on` would, an attempt that has ended with a reply which has gone
        to the caller; False, and nothing is done, where it has not.
        """
        if not ride.has_passed:
            return False
        lease = going.lease
        try:
            ride.close(going.connection)
        finally:
            self._dispatch.traffic.answered(lease.candidate)
            lease.release()
        return True

    async def go_on(self, course: Course, going: Going, ride: Ride) -> None:
        """As `serve`, from where the first attempt is under way."""
        call, record, track = course.call, course.record, going.track
        shape = Shape(track.model, record.stream, track.names_user, track=track)
        operation, resolution = ASKABLE[call.operation], track.resolution
        request = JsonRequest(call, operation, going.members, shape)
        request.tenant = record.tenant
        if record.stream and course.keep_alive is None:
            self._carrier.speak(course, going.sent_at)
        begun = Begun(going.connection, ride.order.outgoing(going.sent), ride)
        await self._try_all(
            course, request, resolution, resolution.candidates, going.lease, begun
        )

    def _expect(self, course: Course, request: ModelRequest) -> None:
        record = course.record
        record.model, record.stream = request.model, request.stream
        request.tenant = record.tenant
        if request.stream and course.dialect is not Dialect.OLLAMA:
            self._carrier.speak(course, clock.monotonic())

    async def _try_all(
        self,
        course: Course,
        request: ModelRequest,
        resolution: Resolution,
        candidates: tuple[Candidate, ...],
        lease: Lease,
        begun: Begun | None = None,
    ) -> None:
        """Ask one after the other, as `failover` says, until one has answered."""
        dispatch = self._dispatch
        key, failover, has_begun = None, None, True
        while True:
            candidate = lease.candidate
            try:
                if key is None:
                    key = dispatch.keys.first(candidate)
                if has_begun:
                    outcome = await self._ask(course, request, candidate, key, begun)
                else:
                    outcome = _being_tried(candidate)
            finally:
                lease.release()
            if outcome.error is None:
                if (marks := request.known_marks) is not None:
                    dispatch.affinity.served(candidate, marks)
                elif failover is None and isinstance(request, JsonRequest):
                    self._tracks.lay(course, request, resolution, candidate)
                return
            if failover is None:
                failover = self._failover(course, request, resolution, candidates)
            step = failover.after(candidate, outcome, key)
            if isinstance(step, Stop):
                raise step.error
            begun = None
            key = await self._next(course, step, outcome.error)
            # Who has no slot is not waited for where another has one.
            able = (step.candidate, *step.others)
            lease = dispatch.queue.take(able) or await self._wait(
                course, able, partial(failover.still, step, dispatch.queue.is_live)
            )
            if lease.candidate is not step.candidate:
                key = None
            has_begun = dispatch.traffic.try_begin(lease.candidate)

    async def _begin_later(
        self,
        course: Course,
        request: ModelRequest,
        resolution: Resolution,
        candidates: tuple[Candidate, ...],
        lease: Lease | None,
    ) -> tuple[Resolution, tuple[Candidate, ...], Lease]:
        """Find somebody to ask first, and wait for a slot there.

        Of a lease that is given another request already shows whether its provider is
        well again: there is no use in holding it.
        """
        dispatch = self._dispatch
        while True:
            if lease is not None:
                lease.release()
                candidates = ()
            if not candidates:
                resolution, candidates = await self._find_somebody(course, request)
            lease = dispatch.queue.take(candidates) or await self._wait(
                course, candidates, partial(self._choose_again, course, request)
            )
            if dispatch.traffic.try_begin(lease.candidate):
                return resolution, candidates, lease

    async def _ask(
        self,
        course: Course,
        request: ModelRequest,
        candidate: Candidate,
        key: int,
        begun: Begun | None = None,
    ) -> Outcome:
        """Ask one candidate, and let routing learn from how that ends."""
        dispatch, carrier = self._dispatch, self._carrier
        outcome, sent = LEFT, None
        try:
            if begun is not None:
                out, ride, sent = begun.out, begun.ride, begun.connection
            else:
                dispatch.retries.asked(candidate.provider.config.id)
                course.order = order = request.order_for(
                    candidate, self._via, carrier.translator, key
                )
                out, ride = request.outgoing(order), Ride(carrier, course, order)
                if request.stream:
                    course.began = partial(_let_go, course.call, request, order, out)
            origin = carrier.origin_of(candidate.provider.config)
            try:
                outcome = ride.ended(await ride.run(carrier.client, origin, out, sent))
            except (UpstreamFailed, CallerStalled) as error:
                outcome = ride.failed(error, out)
            finally:
                ride.note()
        except Unsayable as error:
            # It was not asked: that shows nothing of it, and another may be able to.
            return Outcome(Ending.NOT_THERE, error)
        finally:
            dispatch.traffic.ended(candidate, outcome, key)
        return outcome

    async def _next(
        self, course: Course, step: Next | Rouse, error: GatewayError
    ) -> int | None:
        """Wait until the next candidate may be asked; answer its key's place, if told."""
        if course.keep_alive is not None:  # the attempt that failed has ended it
            self._carrier.ticker.add(course.keep_alive)
        if isinstance(step, Rouse):
            if not await self._wake(course, step.candidate.provider, step.error):
                raise step.error
            return None
        if step.delay_s > 0:
            with self._dispatch.pauses.place(error):
                await clock.sleep(step.delay_s)
            course.record.upstream_wait_s += step.delay_s
        return step.key or None

    async def _wake(
        self, course: Course, machine: Provider, otherwise: GatewayError
    ) -> bool:
        began = clock.monotonic()
        with self._dispatch.pauses.place(otherwise):
            is_up = await self._dispatch.waker.up(machine)
        course.record.upstream_wait_s += clock.monotonic() - began
        return is_up

    # -- choosing ------------------------------------------------------------------------

    def _choose(self, course: Course, request: ModelRequest) -> _Choice:
        chooser = self._dispatch.chooser
        if (pinned := request.pinned) is not None:
            pinned = _for(course, pinned) if course.is_narrow else pinned
            return pinned, chooser.choose(pinned, request)
        operation = ASKABLE[course.call.operation]
        resolution, candidates = chooser.find(
            self._catalog(), request.model, operation, request
        )
        if course.is_narrow:
            resolution = _for(course, resolution)
            candidates = chooser.choose(resolution, request)
        if request.previous_response_id is not None:
            resolution = self._at_its_maker(course, request, resolution)
            candidates = chooser.choose(resolution, request)
        return resolution, candidates

    def _choose_again(
        self, course: Course, request: ModelRequest
    ) -> tuple[Candidate, ...]:
        """Who could serve a request that waits, now that providers have changed."""
        resolution, candidates = self._choose(course, request)
        chooser = self._dispatch.chooser
        return (
            candidates
            or chooser.instead(self._catalog(), resolution, request)
            or chooser.left_alone(resolution, request)
            or _none_because(chooser.refusal(resolution, request))
        )

    def _at_its_maker(
        self, course: Course, request: ModelRequest, resolution: Resolution
    ) -> Resolution:
        """A response is gone on with where it was made, and nowhere else (http-api §2)."""
        assert request.previous_response_id is not None
        owner = self._carrier.owners.provider_id(
            request.previous_response_id, course.record.tenant, "previous_response_id"
        )
        pinned = resolution.at(owner)
        if resolution.everyone and not pinned.everyone:
            raise CallerFault(
                "not_found",
                "The provider that made this response does not serve this model.",
                param="previous_response_id",
            )
        return pinned

    async def _find_somebody(self, course: Course, request: ModelRequest) -> _Choice:
        """Nobody can be asked now: look again, take others, wait, wake; or refuse."""
        resolution, candidates = self._choose(course, request)
        if not resolution.candidates:
            await self._look_again()
            resolution, candidates = self._choose(course, request)
        record, queue = course.record, self._config.routing.queue
        chooser, is_woken = self._dispatch.chooser, False
        while not candidates:
            instead = chooser.instead(self._catalog(), resolution, request)
            if instead:
                return resolution, instead
            machine = None if is_woken else sleeper(resolution)
            wait_s = chooser.available_in_s(resolution, request)
            refusal = chooser.refusal(resolution, request)
            if wait_s is not None and record.queue_s + wait_s < queue.max_wait_seconds:
                with self._dispatch.pauses.place(refusal):
                    await clock.sleep(wait_s)
                record.queue_s += wait_s
            elif machine is not None:
                is_woken = True
                await self._wake(course, machine, refusal)
            else:
                raise refusal
            resolution, candidates = self._choose(course, request)
        return resolution, candidates

    def _failover(
        self,
        course: Course,
        request: ModelRequest,
        resolution: Resolution,
        candidates: tuple[Candidate, ...],
    ) -> Failover:
        """Made after the first failure: what follows costs others nothing."""
        chooser, routing = self._dispatch.chooser, self._config.routing
        asked = (self._catalog(), resolution, request)
        route = Route(
            candidates,
            partial(chooser.fallbacks, *asked),
            partial(chooser.context_fallbacks, *asked),
            chooser.is_open,
            lambda: self._choose(course, request)[1],
        )
        started_at = course.record.started_at
        return Failover(
            route,
            self._dispatch.retries,
            backoff_s=routing.retry.backoff_seconds,
            started_at=started_at,
            wait_until=started_at + routing.queue.max_wait_seconds,
        )

    # -- waiting --------------------------------------------------------------------------

    async def _wait(
        self,
        course: Course,
        candidates: tuple[Candidate, ...],
        choose: Callable[[], tuple[Candidate, ...]] | None = None,
    ) -> Lease:
        """Wait for a slot, no longer in all than the queue allows."""
        record = course.record
        principal = course.principal
        priority = principal.priority
        if priority is None:
            priority = priority_of(self._config.priorities, principal.key_name)
        claim = Claim(
            candidates,
            principal.key or principal.user or principal.tenant,
            priority,
            max(0.0, self._config.routing.queue.max_wait_seconds - record.queue_s),
            choose,
        )
        began = clock.monotonic()
        try:
            return await self._dispatch.queue.wait(claim)
        finally:
            record.queue_s += clock.monotonic() - began

    # -- a provider that the caller names ----------------------------------------------

    async def pass_on(self, course: Course, order: Order, out: Outgoing) -> None:
        """Carry out an order as it is. Raises GatewayError when it failed."""
        course.order = order
        if not order.takes_slot:
            outcome = await self._carrier.carry(course, order, out)
        else:
            candidates = (Candidate(order.provider, _NO_MODEL),)
            lease = self._dispatch.queue.take(candidates)
            async with lease or await self._wait(course, candidates):
                outcome = await self._carrier.carry(course, order, out)
        status = course.record.attempts[-1].status
        self._dispatch.traffic.passed_on(order.provider, of_passage(outcome, status))
        if outcome.error is not None:
            raise outcome.error


def _for(course: Course, resolution: Resolution) -> Resolution:
    """Who may serve this caller."""
    reservation = course.reservation
    tariff = Tariff.ANY if reservation is None else reservation.tariff
    return narrowed(resolution, course.principal, tariff)


def _none_because(error: GatewayError) -> NoReturn:
    raise error


def _let_go(call: Call, request: ModelRequest, order: Order, out: Outgoing) -> None:
    """Keep no prompt for as long as its answer streams: it is sent to nobody else."""
    call.body.whole = None
    request.let_go()
    if order.translation is not None:
        order.translation.let_go()
    if isinstance(out.body, bytes):
        out.body = b""


def _being_tried(candidate: Candidate) -> Outcome:
    """One that failed is being tried by another request: no time for a second."""
    id_ = candidate.provider.id
    error = ProviderFault(
        "all_providers_unavailable",
        f"Provider {id_} has failed again and again, and is being tried just now.",
        retry_after_s=1.0,
    )
    return Outcome(Ending.OVERLOADED, error)
