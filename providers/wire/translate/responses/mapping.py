"""How Responses says what the vocabulary says: its rules and tables."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from providers.wire.translate.events import Finish
from providers.wire.translate.mapping import Rule, dropped, kept, refused

RULES: Final[Mapping[str, Rule]] = MappingProxyType({
    "temperature": kept("temperature"),
    "top_p": kept("top_p"),
    "top_k": dropped(),
    "min_p": dropped(),
    "seed": dropped(),
    "frequency_penalty": dropped(),
    "presence_penalty": dropped(),
    "repetition_penalty": dropped(),
    "stop": refused("there are no stop sequences"),
    "n": refused("there is one answer"),
    "logprobs": kept("include: message.output_text.logprobs"),
    "max_tokens": kept("max_output_tokens", "at least 16"),
    "tools": kept("tools[]"),
    "hosted_tools": dropped("tools that run at another vendor"),
    "strict_tools": kept("tools[].strict"),
    "tool_choice_auto": kept("tool_choice: auto"),
    "tool_choice_none": kept("tool_choice: none"),
    "tool_choice_required": kept("tool_choice: required"),
    "tool_choice_named": kept("tool_choice.name"),
    "allowed_tools": kept("tools", "the others are not sent"),
    "parallel_tool_calls": kept("parallel_tool_calls"),
    "json_object": kept("text.format: json_object"),
    "json_schema": kept("text.format"),
    "thinking": kept("reasoning.effort", "a budget becomes the effort that covers it"),
    "images": kept("input_image"),
    "audio": refused(),
    "files": kept("input_file", "plain text becomes a text part"),
    "cache_control": dropped("caching is implicit"),
    "cache_key": kept("prompt_cache_key"),
    "metadata": kept("metadata"),
    "user": kept("user"),
})  # fmt: skip

SAMPLING: Final[Mapping[str, str]] = MappingProxyType({
    "temperature": "temperature",
    "top_p": "top_p",
    "top_logprobs": "top_logprobs",
})  # fmt: skip
LEAST_MAX_TOKENS: Final = 16
LOGPROBS: Final = "message.output_text.logprobs"
ENCRYPTED: Final = "reasoning.encrypted_content"

# Why a response is incomplete; None: it is complete.
FINISH_OUT: Final[Mapping[Finish, str | None]] = MappingProxyType({
    Finish.STOP: None,
    Finish.STOP_SEQUENCE: None,
    Finish.LENGTH: "max_output_tokens",
    Finish.CONTEXT: "max_output_tokens",
    Finish.TOOL_CALLS: None,
    Finish.CONTENT_FILTER: "content_filter",
    Finish.REFUSAL: "content_filter",
    Finish.PAUSE: None,
})  # fmt: skip
FINISH_IN: Final[Mapping[str, Finish]] = MappingProxyType({
    "max_output_tokens": Finish.LENGTH,
    "content_filter": Finish.CONTENT_FILTER,
})  # fmt: skip
