"""Whose fault a failed reply is, and whether asking elsewhere can help."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from msgspec import Struct

_CONTEXT_WORDS: Final = frozenset(
    {
        "context_length_exceeded",
        "exceed_context_size_error",
        "model_context_window_exceeded",
    }
)
# Most servers have no code for it: vLLM, Anthropic, Ollama, LM Studio, llama.cpp.
_CONTEXT_SAID: Final = re.compile(
    r"maximum context length|maximum model length|exceed\w*.{0,40}context"
    r"|context (?:length|size|window).{0,60}(?:exceed|overflow|too (?:small|long)|greater)"
    r"|(?:prompt|input|number of tokens).{0,40}(?:too long|greater than the context)",
    re.IGNORECASE | re.DOTALL,
)


class Blame(StrEnum):
    """What a failed reply means, in the order the gateway cares about."""

    CALLER = "caller"  # the request is wrong: give it back with the upstream's words
    KEY = "key"  # the provider refused our credential
    RATE = "rate"  # this model there is rate limited
    LOADING = "loading"  # the model is being loaded, do not start it again
    OVERLOADED = "overloaded"  # 503, 529: somebody else may have room
    BROKEN = "broken"  # any other failure of the provider


class Fault(Struct, frozen=True):
    """A failed reply, read. `message`, `code`, `type` and `param` are the upstream's
    words, where it had some; `retry_after_s` is what it asked for. `tells_secret`:
    its body holds a credential of ours, and must not be passed on. `lacks_route`: it
    says that it has no such address, whatever the model; so it has done nothing.
    """

    blame: Blame
    status: int
    message: str
    code: str | None = None
    type: str | None = None
    param: str | None = None
    retry_after_s: float | None = None
    tells_secret: bool = False
    lacks_route: bool = False

    @property
    def retryable(self) -> bool:
        return self.blame is not Blame.CALLER

    @property
    def exceeds_context(self) -> bool:
        """True when the request is longer than what the model can take."""
        if self.blame is not Blame.CALLER or self.status not in (400, 413, 422):
            return False
        if self.code in _CONTEXT_WORDS or self.type in _CONTEXT_WORDS:
            return True
        return _CONTEXT_SAID.search(self.message) is not None
