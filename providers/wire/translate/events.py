"""The neutral vocabulary of replies: the events of a stream.

A whole reply is the same events joined (`reply`). Text deltas pass in thousands,
hence structs, which cost a quarter of a frozen dataclass. `choice` is not zero only
where a chat caller asked a chat upstream for several answers (n).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType, UnionType
from typing import Any, Final, get_args, get_origin

import msgspec

from providers.wire.dialect import Dialect
from providers.wire.usage import Usage


class Finish(StrEnum):
    """Why a model stopped."""

    STOP = "stop"
    STOP_SEQUENCE = "stop_sequence"
    LENGTH = "length"
    CONTEXT = "context"  # the window is full
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"
    PAUSE = "pause"  # the vendor's own tools want another turn


class Start(msgspec.Struct, frozen=True, gc=False):
    """`usage` is what is known before the first token: the prompt's count."""

    id: str = ""
    model: str = ""
    created: int | None = None
    usage: Usage | None = None


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    text: str
    choice: int = 0


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False):
    text: str
    choice: int = 0


class ReasoningEnd(msgspec.Struct, frozen=True, gc=False):
    """Ends a stretch of reasoning, with the signature that its `origin` gave it."""

    signature: str | None = None
    origin: Dialect | None = None
    redacted: str | None = None
    choice: int = 0


class RefusalDelta(msgspec.Struct, frozen=True, gc=False):
    text: str
    choice: int = 0


class ToolCallStart(msgspec.Struct, frozen=True, gc=False):
    """`index` counts the tool calls of one reply from 0."""

    index: int
    id: str
    name: str
    signature: str | None = None
    choice: int = 0


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    """More of a call's arguments (JSON text); calls may be interleaved."""

    index: int
    arguments: str
    choice: int = 0


class ToolCallEnd(msgspec.Struct, frozen=True, gc=False):
    index: int
    choice: int = 0


class ImageMade(msgspec.Struct, frozen=True, gc=False):
    """An image in the reply: base64 `data`, or a `url`."""

    media_type: str
    data: str | None = None
    url: str | None = None


class AudioDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of base64 audio, of its transcript, or both."""

    data: str = ""
    transcript: str = ""
    id: str = ""
    media_type: str = ""


class Cited(msgspec.Struct, frozen=True, gc=False):
    """A source of the text before it. `raw` is the citation as its `origin` said it."""

    origin: Dialect
    raw: dict[str, Any]
    url: str | None = None
    title: str | None = None
    quote: str | None = None


class Logprobs(msgspec.Struct, frozen=True, gc=False):
    """Log probabilities of the tokens before it, in chat's shape."""

    tokens: list[dict[str, Any]]
    choice: int = 0


class Counted(msgspec.Struct, frozen=True, gc=False):
    """Usage so far; the last one holds."""

    usage: Usage


class Finished(msgspec.Struct, frozen=True, gc=False):
    reason: Finish
    stop_sequence: str | None = None
    choice: int = 0


class Failed(msgspec.Struct, frozen=True, gc=False):
    """The upstream's own error, or a stream that broke. `status` where it says one."""

    message: str
    type: str = "upstream_error"
    code: str = "upstream_error"
    status: int = 502


class End(msgspec.Struct, frozen=True, gc=False):
    """The terminator: the reply is complete. Writers close with theirs only now."""


Event = (
    Start
    | TextDelta
    | ReasoningDelta
    | ReasoningEnd
    | RefusalDelta
    | ToolCallStart
    | ToolCallDelta
    | ToolCallEnd
    | ImageMade
    | AudioDelta
    | Cited
    | Logprobs
    | Counted
    | Finished
    | Failed
    | End
)


def _classes(annotation: Any) -> tuple[type, ...]:
    if isinstance(annotation, UnionType):
        return tuple(kind for one in get_args(annotation) for kind in _classes(one))
    return (get_origin(annotation) or annotation,)


_FIELDS: Final[Mapping[type, tuple[tuple[str, tuple[type, ...]], ...]]] = (
    MappingProxyType({
        kind: tuple(
            (field.name, _classes(field.type)) for field in msgspec.structs.fields(kind)
        )
        for kind in get_args(Event)
    })
)  # fmt: skip


def check(event: Event) -> None:
    """Raise TypeError for an event made of what is no text where text must be.

    Structs do not look at what they are given; servers give anything (0.2 µs).
    """
    for name, kinds in _FIELDS[type(event)]:
        if not isinstance(getattr(event, name), kinds):
            raise TypeError(f"{name} of {event!r}")
