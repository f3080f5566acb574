"""What went wrong upstream, as a code of the catalogue. The only such place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.utils import formatdate
from typing import Final

from providers.errors import Blame, Fault
from proxy.core import clock
from proxy.core.errors import CallerFault, GatewayError, ProviderFault
from proxy.core.types import Pair
from proxy.relay.errors import (
    BrokenReply,
    ConnectFailed,
    Phase,
    TimedOut,
    UnfitReply,
    UpstreamFailed,
)
from proxy.routing.outcome import Ending
from proxy.routing.registry import Provider

_LIMIT_NAMES: Final = {
    Phase.CONNECT: "connect",
    Phase.WRITE: "write",
    Phase.FIRST_BYTE: "first_byte",
    Phase.IDLE: "idle",
    Phase.WHOLE: "whole",
}
# Addresses, hosts with a port, URLs and paths of files: the insides of somebody's
# network, which an upstream's own failure likes to tell.
_PLACES: Final = re.compile(
    r"\b[A-Za-z][A-Za-z0-9+.-]*://\S+"
    r"|\[[0-9A-Fa-f:.]*::?[0-9A-Fa-f:.]*\](?::[0-9]+)?"
    r"|(?<![\w:])(?:[0-9A-Fa-f]{1,4}:)*:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*(?!\w)"
    r"|\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::[0-9]+)?\b"
    r"|\blocalhost(?::[0-9]+)?\b|\b[\w-]+(?:\.[\w-]+)+:[0-9]{2,5}\b"
    r"|(?<![\w.])/(?:[\w.@+-]+/)+[\w.@+-]*|\b[A-Za-z]:\\\S+"
)
_TRACE: Final = "Traceback (most recent call last)"


def from_relay(
    error: UpstreamFailed, provider: Provider, *, streaming: bool
) -> GatewayError:
    """Read a failure of the connection or of what came over it."""
    who = f"Provider {provider.id}"
    if isinstance(error, TimedOut):
        limit = _LIMIT_NAMES[error.phase]
        return ProviderFault(
            "upstream_timeout", f"{who}: {error.message} (limit: {limit})."
        )
    if isinstance(error, ConnectFailed):
        return ProviderFault("upstream_error", f"{who}: {error.message}.")
    if isinstance(error, BrokenReply) and streaming:
        return ProviderFault("upstream_stream_broken", f"{who}: {error.message}.")
    return ProviderFault("upstream_error", f"{who}: {error.message}.")


def ending_of(error: UpstreamFailed) -> Ending:
    """What a failure of the connection, before any body byte, means for others."""
    if isinstance(error, ConnectFailed):
        return Ending.UNREACHABLE
    if isinstance(error, TimedOut):
        if error.phase is Phase.CONNECT:
            return Ending.UNREACHABLE
        if error.phase in (Phase.FIRST_BYTE, Phase.WHOLE):
            return Ending.TIMED_OUT
    return Ending.FAILED if isinstance(error, UnfitReply) else Ending.BROKEN


def dated(pairs: Sequence[Pair]) -> Sequence[Pair]:
    """A reply's fields with the date of its receipt where they have none, as RFC 9110
    §6.6.1 has it: a moment to ask again at is read against that.
    """
    if any(name == "date" for name, _ in pairs):
        return pairs
    return (*pairs, ("date", formatdate(clock.wall(), usegmt=True)))


def from_fault(fault: Fault, provider: Provider) -> GatewayError:
    """Read a reply that the adapter has called a failure."""
    who = f"Provider {provider.id}"
    match fault.blame:
        case Blame.CALLER:
            return CallerFault(
                "invalid_field",
                fault.message,
                status=fault.status,
                param=fault.param,
                upstream_code=fault.code,
                upstream_type=fault.type,
            )
        case Blame.KEY:
            return ProviderFault(
                "upstream_auth_failed", f"{who} refused the gateway's key."
            )
        case Blame.RATE:
            return ProviderFault(
                "upstream_rate_limited",
                f"{who}: {fault.message}",
                retry_after_s=fault.retry_after_s,
            )
        case Blame.LOADING:
            return ProviderFault(
                "model_loading",
                f"{who}: {_public(fault.message)}",
                retry_after_s=fault.retry_after_s or 5.0,
            )
        case Blame.OVERLOADED | Blame.BROKEN:
            return ProviderFault(
                "upstream_error",
                f"{who} answered {fault.status}: {_public(fault.message)}",
                retry_after_s=fault.retry_after_s,
            )


def _public(said: str) -> str:
    """What a provider says of its failure, less what is nobody's business."""
    return _PLACES.sub("[…]", said.partition(_TRACE)[0].rstrip()) or "a traceback"
