"""How a provider is, and the one table of how that changes.

Probes and real traffic both end in a `Sign`; whoever saw it asks `after` what the
provider is from now on. Disabled and draining are the operator's word: they hide
what is known here, and nothing that is seen ends them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Status(StrEnum):
    """How a provider is; the only such enum, on every page and in every metric."""

    UNKNOWN = "unknown"
    ONLINE = "online"
    DEGRADED = "degraded"
    OFFLINE = "offline"
    LOADING = "loading"
    DISABLED = "disabled"
    DRAINING = "draining"


WELL: Final = frozenset({Status.ONLINE, Status.DEGRADED})
"""The health gauge is 1 for these."""

OUT_OF_USE: Final = frozenset({Status.OFFLINE, Status.DISABLED, Status.DRAINING})
"""A provider in one of these gets no new request."""

OFFLINE_AFTER: Final = 3
"""Failures in a row that make a provider which was up go offline: a busy GPU box is
slow, not gone."""


class Sign(StrEnum):
    """What a look at a provider, or a request to it, showed."""

    WELL = "well"  # answered as it should
    SLOW = "slow"  # so, but later than half of healthCheckTimeout
    AILING = "ailing"  # answers, but refuses our key or limits us: no outage
    LOADING = "loading"
    FAILED = "failed"  # no answer in time, or 5xx
    LOST = "lost"  # the same for the third time in a row
    GONE = "gone"  # refused, unknown host, no TLS; or what answers is no such server


_SEEN: Final = (
    Status.UNKNOWN, Status.ONLINE, Status.DEGRADED, Status.OFFLINE, Status.LOADING,
)  # fmt: skip

# The three failures in a row are for silence. Who refuses connections is not slow:
# to wait for a third refusal would send two more requests where nobody listens. A
# provider never seen up has no patience to claim either.
_AFTER: Final[Mapping[Sign, tuple[Status, ...]]] = MappingProxyType({
    # from:        unknown          online           degraded         offline         loading
    Sign.WELL:    (Status.ONLINE,   Status.ONLINE,   Status.ONLINE,   Status.ONLINE,   Status.ONLINE),
    Sign.SLOW:    (Status.DEGRADED, Status.DEGRADED, Status.DEGRADED, Status.DEGRADED, Status.DEGRADED),
    Sign.AILING:  (Status.DEGRADED, Status.DEGRADED, Status.DEGRADED, Status.DEGRADED, Status.DEGRADED),
    Sign.LOADING: (Status.LOADING,  Status.LOADING,  Status.LOADING,  Status.LOADING,  Status.LOADING),
    Sign.FAILED:  (Status.OFFLINE,  Status.DEGRADED, Status.DEGRADED, Status.OFFLINE,  Status.DEGRADED),
    Sign.LOST:    (Status.OFFLINE,  Status.OFFLINE,  Status.OFFLINE,  Status.OFFLINE,  Status.OFFLINE),
    Sign.GONE:    (Status.OFFLINE,  Status.OFFLINE,  Status.OFFLINE,  Status.OFFLINE,  Status.OFFLINE),
})  # fmt: skip

TRANSITIONS: Final[Mapping[tuple[Status, Sign], Status]] = MappingProxyType(
    {
        (before, sign): row[place]
        for sign, row in _AFTER.items()
        for place, before in enumerate(_SEEN)
    }
)


def after(health: Status, sign: Sign) -> Status:
    """Answer what a provider is once a sign was seen; `health` is never a held one."""
    return TRANSITIONS[health, sign]


def failure(misses: int) -> Sign:
    """Answer the sign of one more failure after `misses` in a row."""
    return Sign.LOST if misses + 1 >= OFFLINE_AFTER else Sign.FAILED
