"""How Messages says what the vocabulary says: its rules and tables."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from providers.wire.translate.events import Finish
from providers.wire.translate.mapping import Rule, dropped, kept, refused

RULES: Final[Mapping[str, Rule]] = MappingProxyType({
    "temperature": kept("temperature", "at most 1; not sent while thinking"),
    "top_p": kept("top_p"),
    "top_k": kept("top_k", "not sent while thinking"),
    "min_p": dropped(),
    "seed": dropped(),
    "frequency_penalty": dropped(),
    "presence_penalty": dropped(),
    "repetition_penalty": dropped(),
    "stop": kept("stop_sequences", "blank ones are left out"),
    "n": refused("there is one answer"),
    "logprobs": refused("there are none"),
    "max_tokens": kept("max_tokens", "required; 8192 where the caller set none"),
    "tools": kept("tools[].input_schema"),
    "hosted_tools": dropped("tools that run at another vendor"),
    "strict_tools": kept("tools[].strict"),
    "tool_choice_auto": kept("tool_choice: auto"),
    "tool_choice_none": kept("tool_choice: none"),
    "tool_choice_required": kept("tool_choice: any", "not together with a budget"),
    "tool_choice_named": kept("tool_choice: tool", "not together with a budget"),
    "allowed_tools": kept("tools", "the others are not sent"),
    "parallel_tool_calls": kept("tool_choice.disable_parallel_tool_use"),
    "json_object": dropped("needs a schema"),
    "json_schema": kept("output_config.format"),
    "thinking": kept(
        "thinking.budget_tokens or output_config.effort",
        "dropped where the last tool call came without its signed thinking",
    ),
    "images": kept("image"),
    "audio": refused(),
    "files": kept("document"),
    "cache_control": kept("cache_control", "the last four"),
    "cache_key": dropped(),
    "metadata": dropped("metadata has user_id alone"),
    "user": kept("metadata.user_id"),
})  # fmt: skip

SAMPLING: Final[Mapping[str, str]] = MappingProxyType({
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
})  # fmt: skip

TOP_TEMPERATURE: Final = 1
LEAST_BUDGET: Final = 1024
MOST_BREAKPOINTS: Final = 4

FINISH_IN: Final[Mapping[str, Finish]] = MappingProxyType({
    "end_turn": Finish.STOP,
    "stop_sequence": Finish.STOP_SEQUENCE,
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.CONTEXT,
    "tool_use": Finish.TOOL_CALLS,
    "pause_turn": Finish.PAUSE,
    "refusal": Finish.REFUSAL,
})  # fmt: skip
FINISH_OUT: Final[Mapping[Finish, str]] = MappingProxyType({
    Finish.STOP: "end_turn",
    Finish.STOP_SEQUENCE: "stop_sequence",
    Finish.LENGTH: "max_tokens",
    Finish.CONTEXT: "model_context_window_exceeded",
    Finish.TOOL_CALLS: "tool_use",
    Finish.CONTENT_FILTER: "refusal",
    Finish.REFUSAL: "refusal",
    Finish.PAUSE: "pause_turn",
})  # fmt: skip

STATUS_OF_ERROR: Final[Mapping[str, int]] = MappingProxyType({
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
})  # fmt: skip
