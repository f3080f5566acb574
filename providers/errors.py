"""Whose fault a failed reply is, and whether asking elsewhere can help."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Blame(StrEnum):
    """What a failed reply means, in the order the gateway cares about."""

    CALLER = "caller"  # the request is wrong: give it back with the upstream's words
    KEY = "key"  # the provider refused our credential
    RATE = "rate"  # this model there is rate limited
    LOADING = "loading"  # the model is being loaded, do not start it again
    OVERLOADED = "overloaded"  # 503, 529: somebody else may have room
    BROKEN = "broken"  # any other failure of the provider


@dataclass(frozen=True, slots=True)
class Fault:
    """A failed reply, read. `message`, `code`, `type` and `param` are the upstream's
    words, where it had some; `retry_after_s` is what it asked for. `tells_secret`:
    its body holds a credential of ours, and must not be passed on.
    """

    blame: Blame
    status: int
    message: str
    code: str | None = None
    type: str | None = None
    param: str | None = None
    retry_after_s: float | None = None
    tells_secret: bool = False

    @property
    def retryable(self) -> bool:
        return self.blame is not Blame.CALLER
