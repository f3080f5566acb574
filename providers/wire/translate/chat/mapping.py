"""How chat says what the vocabulary says: its rules and tables."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from providers.wire.dialect import Dialect
from providers.wire.translate.events import Finish
from providers.wire.translate.mapping import Rule, dropped, kept

RULES: Final[Mapping[str, Rule]] = MappingProxyType({
    "temperature": kept("temperature"),
    "top_p": kept("top_p"),
    "top_k": kept("top_k", "an extension; left out where the provider lacks it"),
    "min_p": kept("min_p", "an extension; left out where the provider lacks it"),
    "seed": kept("seed"),
    "frequency_penalty": kept("frequency_penalty"),
    "presence_penalty": kept("presence_penalty"),
    "repetition_penalty": kept("repetition_penalty", "an extension, as top_k"),
    "stop": kept("stop"),
    "n": kept("n"),
    "logprobs": kept("logprobs, top_logprobs"),
    "max_tokens": kept("max_tokens or max_completion_tokens"),
    "tools": kept("tools[].function"),
    "hosted_tools": dropped("tools that run at another vendor"),
    "strict_tools": kept("tools[].function.strict"),
    "tool_choice_auto": kept("tool_choice: auto"),
    "tool_choice_none": kept("tool_choice: none"),
    "tool_choice_required": kept("tool_choice: required"),
    "tool_choice_named": kept("tool_choice.function.name"),
    "allowed_tools": kept("tools", "the others are not sent"),
    "parallel_tool_calls": kept("parallel_tool_calls"),
    "json_object": kept("response_format: json_object"),
    "json_schema": kept("response_format.json_schema"),
    "thinking": kept("reasoning_effort", "a budget becomes the effort that covers it"),
    "images": kept("content[].image_url"),
    "audio": kept("content[].input_audio"),
    "files": kept("content[].file", "plain text becomes a text part"),
    "cache_control": kept("cache_control", "only where the provider knows it"),
    "cache_key": kept("prompt_cache_key"),
    "metadata": kept("metadata", "a Responses caller's is kept with the response"),
    "user": kept("user"),
})  # fmt: skip

SAMPLING: Final[Mapping[str, str]] = MappingProxyType({
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "repetition_penalty": "repetition_penalty",
    "stop": "stop",
    "n": "n",
    "logprobs": "logprobs",
    "top_logprobs": "top_logprobs",
})  # fmt: skip

FINISH_IN: Final[Mapping[str, Finish]] = MappingProxyType({
    "stop": Finish.STOP,
    "length": Finish.LENGTH,
    "tool_calls": Finish.TOOL_CALLS,
    "function_call": Finish.TOOL_CALLS,
    "content_filter": Finish.CONTENT_FILTER,
})  # fmt: skip
FINISH_OUT: Final[Mapping[Finish, str]] = MappingProxyType({
    Finish.STOP: "stop",
    Finish.STOP_SEQUENCE: "stop",
    Finish.LENGTH: "length",
    Finish.CONTEXT: "length",
    Finish.TOOL_CALLS: "tool_calls",
    Finish.CONTENT_FILTER: "content_filter",
    Finish.REFUSAL: "content_filter",
    Finish.PAUSE: "stop",
})  # fmt: skip

# `format` of OpenRouter's reasoning_details: whose signature it is.
REASONING_FORMATS: Final[Mapping[str, Dialect]] = MappingProxyType({
    "anthropic-claude-v1": Dialect.MESSAGES,
    "google-gemini-v1": Dialect.GEMINI,
    "openai-responses-v1": Dialect.RESPONSES,
})  # fmt: skip
REASONING_FORMATS_OUT: Final[Mapping[Dialect, str]] = MappingProxyType(
    {dialect: name for name, dialect in REASONING_FORMATS.items()}
)
