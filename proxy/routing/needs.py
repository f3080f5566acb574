"""What a request needs, against what a candidate is known to lack.

Unknown is allowed: the upstream is the judge of what nobody has told. Tokens are
estimated from bytes, 4 to a token in the middle and 8 at the very most: whoever is
too small even then is left out, whoever may be is asked after those that are not.
Needs are read from the body only where some candidate is restricted.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

from providers.base import EMBEDDING, FoundModel
from providers.wire import wants
from providers.wire.members import Members
from proxy.config import ModelConfig

BYTES_PER_TOKEN: Final = 4
MOST_BYTES_PER_TOKEN: Final = 8
UNLIMITED: Final = 1 << 62


class Trait(StrEnum):
    """Something that not every model can do; the value is said to callers."""

    VISION = "images"
    TOOLS = "tools"
    JSON = "JSON mode"
    EMBEDDINGS = "embeddings"
    STREAMING = "streaming"


_LONG: Final = {
    "completions": "prompt",
    "embeddings": "input",
    "ollama_embed": "input",
    "ollama_embeddings": "prompt",
    "ollama_generate": "prompt",
    "responses": "input",
}
_JSON: Final = {
    "messages": "output_config.format",
    "ollama_chat": "format",
    "ollama_generate": "format",
    "responses": "text.format",
}


def prompt_field(operation: str) -> str:
    """Answer where the caller of an operation says what is long."""
    return _LONG.get(operation, "messages")


def trait_field(trait: Trait, operation: str) -> str:
    """Answer where the caller of an operation asks for something."""
    match trait:
        case Trait.VISION:
            return (
                "images" if operation == "ollama_generate" else prompt_field(operation)
            )
        case Trait.JSON:
            return _JSON.get(operation, "response_format")
        case Trait.TOOLS:
            return "tools"
        case Trait.EMBEDDINGS:
            return "model"
        case Trait.STREAMING:
            return "stream"


class Fit(StrEnum):
    """How a request fits into a context."""

    WELL = "well"
    DOUBTFUL = "doubtful"
    TOO_LONG = "too_long"


class Limits(Struct, frozen=True):
    """What a candidate is known to lack, and its context in tokens where known."""

    lacking: frozenset[Trait] = frozenset()
    window: int = UNLIMITED


NO_LIMITS: Final = Limits()


def limits_of(config: ModelConfig | None, found: FoundModel | None) -> Limits:
    """Read a candidate's limits: the operator's word first, else the server's.

    The context is the loaded one where the server says so, never more than what
    the operator allows.
    """
    if config is None and found is None:
        return NO_LIMITS
    lacking = _lacking(config, found)
    window = min(
        (config and config.context_window) or UNLIMITED,
        (found and found.context_window) or UNLIMITED,
    )
    return Limits(lacking, window) if lacking or window < UNLIMITED else NO_LIMITS


class Needs:
    """What one request needs; each answer is found when it is first asked for."""

    __slots__ = ("_has", "_members", "_sizes", "operation", "stream")

    def __init__(
        self, operation: str, members: Members | None = None, *, stream: bool = False
    ) -> None:
        """Without `members`, as for forms, nothing but the operation is known."""
        self.operation = operation
        self.stream = stream
        self._members = members
        self._has: dict[Trait, bool] = {}
        self._sizes: tuple[int, int] | None = None

    def missing(self, limits: Limits) -> Trait | None:
        """Answer what the request needs and the candidate lacks, if anything."""
        for trait in limits.lacking:
            known = self._has.get(trait)
            if known is None:
                known = self._has[trait] = self._needs(trait)
            if known:
                return trait
        return None

    def fit(self, limits: Limits) -> Fit:
        """Answer whether the request, and what it asks for, goes into the context."""
        window = limits.window
        if self._members is None or window >= UNLIMITED:
            return Fit.WELL
        size, most_tokens = self.sizes()
        if size > window * MOST_BYTES_PER_TOKEN:
            return Fit.TOO_LONG
        if size // BYTES_PER_TOKEN + most_tokens > window:
            return Fit.DOUBTFUL
        return Fit.WELL

    def sizes(self) -> tuple[int, int]:
        """Answer the request's bytes as text, and the tokens it lets a model write.

        Each is 0 where nobody knows.
        """
        if self._sizes is None:
            members = self._members
            self._sizes = (
                (0, 0)
                if members is None
                else (wants.text_bytes(members), wants.most_tokens(members))
            )
        return self._sizes

    def _needs(self, trait: Trait) -> bool:
        if trait is Trait.EMBEDDINGS:
            return self.operation in EMBEDDING
        if trait is Trait.STREAMING:
            return self.stream
        if self._members is None:
            return False
        match trait:
            case Trait.VISION:
                return wants.wants_vision(self._members)
            case Trait.TOOLS:
                return wants.wants_tools(self._members)
            case Trait.JSON:
                return wants.wants_json(self._members)


def _lacking(config: ModelConfig | None, found: FoundModel | None) -> frozenset[Trait]:
    lacking: set[Trait] = set()
    if found is not None and found.inputs and "image" not in found.inputs:
        lacking.add(Trait.VISION)
    if config is None:
        return frozenset(lacking)
    said = config.capabilities
    for trait, can in (
        (Trait.VISION, said.vision),
        (Trait.TOOLS, said.function_calling),
        (Trait.JSON, said.json_mode),
        (Trait.EMBEDDINGS, said.embeddings),
        (Trait.STREAMING, said.streaming),
    ):
        if can is not None:
            (lacking.discard if can else lacking.add)(trait)
    return frozenset(lacking)
