"""Usage as each dialect writes it; reading it is in `providers.wire.counts`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from providers.wire.counts import anthropic_usage, openai_usage
from providers.wire.usage import Usage

JSON = dict[str, Any]


def from_openai(found: object) -> Usage | None:
    """Read chat's and Responses' usage."""
    return openai_usage(msgspec.Raw(orjson.dumps(found))) if found else None


def from_anthropic(*found: object) -> Usage | None:
    """Read the usage of a message, or of several events of one stream."""
    return anthropic_usage(*[msgspec.Raw(orjson.dumps(one)) for one in found if one])


def from_gemini(found: Mapping[str, Any]) -> Usage | None:
    """Read usageMetadata. Thoughts are part of the completion, as everywhere else."""
    counts = {name: n for name, n in found.items() if isinstance(n, int)}
    if not counts:
        return None
    prompt = counts.get("promptTokenCount")
    by_tools = counts.get("toolUsePromptTokenCount", 0)
    thoughts = counts.get("thoughtsTokenCount")
    answer = counts.get("candidatesTokenCount")
    if answer is None and thoughts is None and "totalTokenCount" in counts:
        answer = max(0, counts["totalTokenCount"] - (prompt or 0) - by_tools)
    return Usage(
        prompt=None if prompt is None else prompt + by_tools,
        completion=(answer or 0) + (thoughts or 0),
        cached=counts.get("cachedContentTokenCount"),
        reasoning=thoughts,
    )


def to_chat(usage: Usage) -> JSON:
    found: JSON = {
        "prompt_tokens": usage.prompt or 0,
        "completion_tokens": usage.completion or 0,
        "total_tokens": (usage.prompt or 0) + (usage.completion or 0),
    }
    details = {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write}
    known = {name: n for name, n in details.items() if n is not None}
    if known:
        found["prompt_tokens_details"] = known
    if usage.reasoning is not None:
        found["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    if usage.cost_usd is not None:
        found["cost"] = usage.cost_usd
    return found


def to_responses(usage: Usage) -> JSON:
    """Write Responses' usage, whose details are all required."""
    return {
        "input_tokens": usage.prompt or 0,
        "input_tokens_details": {
            "cached_tokens": usage.cached or 0,
            "cache_write_tokens": usage.cache_write or 0,
        },
        "output_tokens": usage.completion or 0,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": (usage.prompt or 0) + (usage.completion or 0),
    }


def to_anthropic(usage: Usage) -> JSON:
    """Write a message's usage, whose input leaves the cached parts out."""
    cached, written = usage.cached or 0, usage.cache_write or 0
    found: JSON = {
        "input_tokens": max(0, (usage.prompt or 0) - cached - written),
        "output_tokens": usage.completion or 0,
    }
    if usage.cached is not None:
        found["cache_read_input_tokens"] = cached
    if usage.cache_write is not None:
        found["cache_creation_input_tokens"] = written
    if usage.reasoning is not None:
        found["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return found


def to_gemini(usage: Usage) -> JSON:
    thoughts = usage.reasoning or 0
    found: JSON = {
        "promptTokenCount": usage.prompt or 0,
        "candidatesTokenCount": max(0, (usage.completion or 0) - thoughts),
        "totalTokenCount": (usage.prompt or 0) + (usage.completion or 0),
    }
    if usage.reasoning is not None:
        found["thoughtsTokenCount"] = thoughts
    if usage.cached is not None:
        found["cachedContentTokenCount"] = usage.cached
    return found
