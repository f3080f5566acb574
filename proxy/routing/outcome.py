"""How an attempt ended, as far as asking again is concerned.

The pipeline fills it from what the relay raised or the adapter read; failover,
breaker and health decide by it. Knows neither connections nor wire formats.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from providers.errors import Blame, Fault
from proxy.core.errors import GatewayError


class Ending(StrEnum):
    """What happened, up to the first body byte but for ANSWERED and CUT."""

    ANSWERED = "answered"  # a good reply is here, or its first body byte
    CUT = "cut"  # the reply broke after body bytes had gone to the caller
    UNREACHABLE = "unreachable"  # no connection: refused, unknown host, TLS, too slow
    TIMED_OUT = "timed_out"  # asked, and no reply within firstByte or whole
    BROKEN = "broken"  # 502, 504, or what came is no whole reply
    OVERLOADED = "overloaded"  # 503, 529
    FAILED = "failed"  # 500 and every other failure that the same server would repeat
    LOADING = "loading"  # 503 that says so
    RATE_LIMITED = "rate_limited"  # 429
    KEY_REFUSED = "key_refused"  # 401, 403: the gateway's key
    NOT_THERE = "not_there"  # 404, 410: that provider lacks the model or the operation
    TOO_LONG = "too_long"  # the context is too small for the request
    CALLER = "caller"  # any other 4xx: the caller's own
    LEFT = "left"  # the caller went away, or the gateway ended it: shows nothing


OF_HOST: Final = frozenset(
    {
        Ending.UNREACHABLE, Ending.TIMED_OUT, Ending.BROKEN, Ending.OVERLOADED,
        Ending.FAILED, Ending.LOADING,
    }
)  # fmt: skip
"""These tell of the host: it is not asked again, by whatever name. The others tell of
one model there, or of one key."""

AGAINST_MODEL: Final = frozenset(
    {Ending.CUT, Ending.TIMED_OUT, Ending.BROKEN, Ending.OVERLOADED, Ending.FAILED}
)
"""The breaker of that model at that provider counts these."""

AGAINST_PROVIDER: Final = frozenset({Ending.UNREACHABLE})
"""The breaker of the whole provider counts these."""

_OF_BLAME: Final[Mapping[Blame, Ending]] = MappingProxyType({
    Blame.CALLER: Ending.CALLER,
    Blame.KEY: Ending.KEY_REFUSED,
    Blame.RATE: Ending.RATE_LIMITED,
    Blame.LOADING: Ending.LOADING,
    Blame.OVERLOADED: Ending.OVERLOADED,
    Blame.BROKEN: Ending.FAILED,
})  # fmt: skip


class Outcome(Struct, frozen=True):
    """How one attempt ended.

    `error` is what the caller would be told if it was the last one. `status` is the
    upstream's, where it gave one. `spent`: the caller's body was a stream and part
    of it has been read, so it cannot be sent to anybody else. `absent` is the operation
    that was asked for, where it turns out to have no address there.
    """

    ending: Ending
    error: GatewayError | None = None
    status: int | None = None
    retry_after_s: float | None = None
    spent: bool = False
    absent: str | None = None


ANSWERED: Final = Outcome(Ending.ANSWERED)
LEFT: Final = Outcome(Ending.LEFT)


def of_fault(
    fault: Fault,
    error: GatewayError,
    *,
    spent: bool = False,
    operation: str | None = None,
) -> Outcome:
    """Make the outcome of a reply that the adapter has called a failure.

    `operation` is what was asked for as it is, not translated.
    """
    absent = operation if fault.lacks_route else None
    return Outcome(
        _ending(fault), error, fault.status, fault.retry_after_s, spent, absent
    )


def of_passage(outcome: Outcome, status: int | None) -> Outcome:
    """Make the outcome of a call whose reply passed as it came: only its status is known."""
    if outcome.ending is not Ending.ANSWERED or status is None or status < 400:
        return outcome
    return Outcome(_of_status(status), status=status)


def _of_status(status: int) -> Ending:
    if status in (401, 403):
        return Ending.KEY_REFUSED
    if status in (404, 410):
        return Ending.NOT_THERE
    if status == 429:
        return Ending.RATE_LIMITED
    if status < 500:
        return Ending.CALLER
    if status in (502, 504):
        return Ending.BROKEN
    return Ending.OVERLOADED if status in (503, 529) else Ending.FAILED


def _ending(fault: Fault) -> Ending:
    if fault.exceeds_context:
        return Ending.TOO_LONG
    if fault.lacks_route:
        return Ending.NOT_THERE
    if fault.blame is Blame.CALLER and fault.status in (404, 410):
        return Ending.NOT_THERE
    if fault.blame is Blame.BROKEN and fault.status in (502, 504):
        return Ending.BROKEN
    return _OF_BLAME[fault.blame]
