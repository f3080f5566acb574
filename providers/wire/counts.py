"""Reading Usage from each dialect's own counts."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from providers.wire.peek import Object, value
from providers.wire.usage import Usage

_ABSURD: Final = 1 << 53  # no such count; it would not fit a database column either
_Count = Annotated[int, msgspec.Meta(ge=0, lt=_ABSURD)] | None


class _Details(msgspec.Struct):
    cached_tokens: _Count = None
    cache_write_tokens: _Count = None
    reasoning_tokens: _Count = None


class _OpenAICounts(msgspec.Struct):
    """Both spellings: chat's and Responses'."""

    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    input_tokens: _Count = None
    output_tokens: _Count = None
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    cost: float | None = None


class _OpenAIReply(msgspec.Struct):
    usage: _OpenAICounts | None = None
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_openai_counts: Final = msgspec.json.Decoder(_OpenAICounts)
_openai_reply: Final = msgspec.json.Decoder(_OpenAIReply)
_NO_DETAILS: Final = _Details()


def openai_usage(raw: msgspec.Raw | None) -> Usage | None:
    """Read the `usage` of chat, completions, embeddings, rerank or Responses.

    Counts of the usual shape are read in one go (bench: CPU per request).
    """
    if raw is None:
        return None
    try:
        counts = _openai_counts.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _odd_openai_usage(raw)
    return _usage_of(counts) or _odd_openai_usage(raw)


def openai_usage_in(reply: bytes) -> Usage | None:
    """Read the usage of a whole reply in one go; None where its shape is unusual, or it
    has an `error`.
    """
    try:
        found = _openai_reply.decode(reply)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    counts = found.usage
    if counts is None or found.error is not msgspec.UNSET:
        return None
    if counts.prompt_tokens_details is counts.completion_tokens_details is None:
        prompt = counts.prompt_tokens
        if prompt is not None and counts.cost is None:  # most local servers
            return Usage(prompt, counts.completion_tokens)
    return _usage_of(counts)


def _usage_of(counts: _OpenAICounts) -> Usage | None:
    first = counts.prompt_tokens
    second = counts.completion_tokens
    prompt = counts.input_tokens if first is None else first
    completion = counts.output_tokens if second is None else second
    if prompt is None and completion is None:
        return None
    within = counts.prompt_tokens_details or counts.input_tokens_details
    written = counts.completion_tokens_details or counts.output_tokens_details
    if within is written is None:  # most local servers
        return Usage(prompt, completion, cost_usd=counts.cost)
    within, written = within or _NO_DETAILS, written or _NO_DETAILS
    return Usage(
        prompt,
        completion,
        within.cached_tokens,
        within.cache_write_tokens,
        written.reasoning_tokens,
        counts.cost,
    )


def _odd_openai_usage(raw: msgspec.Raw | None) -> Usage | None:
    """As `openai_usage`, count by count: what has an odd shape reads as absent."""
    counts = _table(value(raw))
    if not counts:
        return None
    prompt = _table(counts.get("prompt_tokens_details"))
    prompt = prompt or _table(counts.get("input_tokens_details"))
    completion = _table(counts.get("completion_tokens_details"))
    completion = completion or _table(counts.get("output_tokens_details"))
    return Usage(
        prompt=_count(counts, "prompt_tokens", "input_tokens"),
        completion=_count(counts, "completion_tokens", "output_tokens"),
        cached=_count(prompt, "cached_tokens"),
        cache_write=_count(prompt, "cache_write_tokens"),
        reasoning=_count(completion, "reasoning_tokens"),
        cost_usd=_number(counts.get("cost")),
    )


def anthropic_usage(*raws: msgspec.Raw | None) -> Usage | None:
    """Read the `usage` of a message, or of several events of one stream.

    Counts are cumulative, and either event may give 0 for what the other knows:
    the largest of each holds. The input is the sum of its three parts.
    """
    tables = [table for raw in raws if (table := _table(value(raw)))]
    if not tables:
        return None

    def largest(name: str) -> int | None:
        found = [n for table in tables if (n := _count(table, name)) is not None]
        return max(found, default=None)

    fresh = largest("input_tokens")
    written = largest("cache_creation_input_tokens")
    cached = largest("cache_read_input_tokens")
    parts = [n for n in (fresh, written, cached) if n is not None]
    thought = [_table(table.get("output_tokens_details")) for table in tables]
    return Usage(
        prompt=sum(parts) if parts else None,
        completion=largest("output_tokens"),
        cached=cached,
        cache_write=written,
        reasoning=max(
            (n for t in thought if (n := _count(t, "thinking_tokens")) is not None),
            default=None,
        ),
    )


def ollama_usage(members: Object) -> Usage | None:
    """Read the counts of Ollama's last line, or of its whole reply.

    `prompt_eval_count` is left out by servers that had the whole prompt cached.
    """
    counts = {
        name: value(members.get(name)) for name in ("prompt_eval_count", "eval_count")
    }
    prompt = _count(counts, "prompt_eval_count")
    completion = _count(counts, "eval_count")
    if prompt is None and completion is None:
        return None
    return Usage(prompt=prompt, completion=completion)


def _table(found: object) -> dict[str, object]:
    return found if isinstance(found, dict) else {}


def _count(table: dict[str, object], *names: str) -> int | None:
    for name in names:
        found = _number(table.get(name))
        if found is not None and 0 <= found < _ABSURD:
            return int(found)
    return None


def _number(found: object) -> float | int | None:
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return found
