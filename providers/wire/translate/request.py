"""The neutral vocabulary of requests: what a caller asks of a model.

Readers of every dialect make it, writers of every dialect take it. None and empty
mean that the caller did not say; nothing here has a default of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from providers.wire.dialect import Dialect


class CacheHint(Struct, frozen=True):
    """A breakpoint of prompt caching: what is up to here may be kept. `ttl`: "1h"."""

    ttl: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where media comes from: base64 `data`, a `url`, or a vendor's `file_id`.

    `at` is the field it was read from, for whoever must refuse it.
    """

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    at: str | None = field(default=None, compare=False)


class Text(Struct, frozen=True):
    text: str
    cache: CacheHint | None = None


class Image(Struct, frozen=True):
    source: Source
    detail: str | None = None
    cache: CacheHint | None = None


class Audio(Struct, frozen=True):
    """`media_type` of the source is "audio/wav" and the like; replies have an id."""

    source: Source
    transcript: str | None = None
    id: str | None = None


class File(Struct, frozen=True):
    """A document. `text` instead of a source where it came as plain text."""

    source: Source
    name: str | None = None
    text: str | None = None
    cache: CacheHint | None = None


class ToolCall(Struct, frozen=True):
    """`arguments` is JSON text. `signature` is Gemini's thought signature."""

    id: str
    name: str
    arguments: str
    signature: str | None = None
    cache: CacheHint | None = None


class ToolResult(Struct, frozen=True):
    call_id: str
    parts: tuple[Text | Image | File | Opaque, ...]
    is_error: bool = False
    cache: CacheHint | None = None


class Reasoning(Struct, frozen=True):
    """What the model thought. A `signature` means something to its `origin` alone.

    `redacted` stands instead of a text that the vendor does not show.
    """

    text: str
    signature: str | None = None
    origin: Dialect | None = None
    redacted: str | None = None


class Refusal(Struct, frozen=True):
    text: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """A part, or a tool, that only its own dialect knows; it rides along there."""

    origin: Dialect
    kind: str
    raw: Mapping[str, Any]
    at: str | None = field(default=None, compare=False)


Part = (
    Text | Image | Audio | File | ToolCall | ToolResult | Reasoning | Refusal | Opaque
)


class Role(StrEnum):
    SYSTEM = "system"  # only where it stands amid the turns
    USER = "user"  # tool results are parts of a user's turn
    ASSISTANT = "assistant"


class Message(Struct, frozen=True):
    role: Role
    parts: tuple[Part, ...]
    name: str | None = None


class Tool(Struct, frozen=True):
    """A function the caller offers. `freeform`: it takes text, not JSON."""

    name: str
    description: str | None = None
    schema: Mapping[str, Any] | None = None
    strict: bool | None = None
    freeform: bool = False
    cache: CacheHint | None = None


class ToolMode(StrEnum):
    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"
    NAMED = "named"


class ToolChoice(Struct, frozen=True):
    """`name` belongs to NAMED; `allowed` narrows AUTO and REQUIRED to these tools."""

    mode: ToolMode
    name: str | None = None
    allowed: tuple[str, ...] = ()


class FormatKind(StrEnum):
    TEXT = "text"
    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"


class ResponseFormat(Struct, frozen=True):
    kind: FormatKind
    name: str | None = None
    schema: Mapping[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class Sampling(Struct, frozen=True):
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    n: int | None = None


class Effort(StrEnum):
    NONE = "none"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


class Thinking(Struct, frozen=True):
    """How much to think, as an effort or as a budget in tokens.

    `enabled`: False forbids it; True without effort and budget leaves it to the
    model. `shown`: whether the caller wants to read it.
    """

    effort: Effort | None = None
    budget_tokens: int | None = None
    enabled: bool | None = None
    shown: bool | None = None


class Request(Struct, frozen=True):
    """One request. `extras` are top-level members unknown here, of dialect `origin`.

    `include_usage`: the caller asked for usage in a stream where that is optional.
    `previous_response` and `store` are of Responses.
    """

    origin: Dialect
    model: str
    messages: tuple[Message, ...]
    system: tuple[Text, ...] = ()
    tools: tuple[Tool | Opaque, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    response_format: ResponseFormat | None = None
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    thinking: Thinking | None = None
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)
    user: str | None = None
    cache: CacheHint | None = None
    cache_key: str | None = None
    stream: bool = False
    include_usage: bool = False
    store: bool | None = None
    previous_response: str | None = None
    extras: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Target(Struct, frozen=True):
    """What is known of the model a request is written for; an adapter fills it in.

    `model` is the upstream's id (None: as asked). `drops` names parameters the
    model refuses: they are left out and reported, whatever the dialect allows.
    `image_urls` and `cache_control`: whether it fetches, and knows breakpoints;
    None is the dialect's usual. `signature_of` finds the thought signature of a
    tool call whose caller lost it, `signature_else` stands where there is none. `default_max_tokens` serves where a dialect
    demands a limit; `thinks_by_effort`: newer models take an effort where
    older ones took a budget; `context_window` is asked for where it can be set (Ollama).
    `limit_field` and `reasoning_field` are chat's: servers differ in what they call
    the limit, and the reasoning of earlier turns (None: they take none).
    """

    model: str | None = None
    drops: frozenset[str] = frozenset()
    image_urls: bool | None = None
    cache_control: bool | None = None
    default_max_tokens: int = 8192
    thinks_by_effort: bool = False
    context_window: int | None = None
    limit_field: str = "max_tokens"
    reasoning_field: str | None = None
    signature_of: Callable[[str], str | None] | None = None
    signature_else: str | None = None


class Written(Struct, frozen=True):
    """A request in a dialect: its body, what was left out, what was altered.

    `changed` holds pairs such as ("temperature", "1").
    """

    body: dict[str, Any]
    dropped: tuple[str, ...] = ()
    changed: tuple[tuple[str, str], ...] = ()


ANY_MODEL: Final = Target()
