"""What can go wrong with an upstream, in words the pipeline turns into codes."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """Where an exchange was; also the name of the limit that bounds it."""

    CONNECT = "connect"
    WRITE = "write"
    FIRST_BYTE = "first_byte"
    IDLE = "idle"
    WHOLE = "whole"


class UpstreamFailed(Exception):
    """The upstream could not be asked or did not answer properly.

    `phase` says how far it got; `message` is fit for the caller: no address,
    nothing of the reply.
    """

    def __init__(self, message: str, phase: Phase) -> None:
        super().__init__(message)
        self.message = message
        self.phase = phase


class ConnectFailed(UpstreamFailed):
    """No connection: refused, unreachable, unknown name, TLS."""

    def __init__(self, message: str, reason: str = "refused") -> None:
        super().__init__(message, Phase.CONNECT)
        self.reason = reason


class TimedOut(UpstreamFailed):
    """A limit of `timeouts` was hit; `phase` names it."""


class BrokenReply(UpstreamFailed):
    """The connection was lost or what came is not valid HTTP."""


class UnfitReply(BrokenReply):
    """The reply is whole and cannot be used; asked again, the same would come."""


class StaleConnection(BrokenReply):
    """A kept connection closed before any byte of the reply: worth a fresh one."""


class CallerStalled(Exception):
    """The caller has taken no byte for too long."""
