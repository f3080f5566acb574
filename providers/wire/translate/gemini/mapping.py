"""How Gemini says what the vocabulary says: its rules and tables."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from providers.wire.translate.events import Finish
from providers.wire.translate.mapping import Rule, dropped, kept, refused
from providers.wire.translate.request import Effort, ToolMode

RULES: Final[Mapping[str, Rule]] = MappingProxyType({
    "temperature": kept("generationConfig.temperature"),
    "top_p": kept("generationConfig.topP"),
    "top_k": kept("generationConfig.topK"),
    "min_p": dropped(),
    "seed": kept("generationConfig.seed"),
    "frequency_penalty": kept("generationConfig.frequencyPenalty"),
    "presence_penalty": kept("generationConfig.presencePenalty"),
    "repetition_penalty": dropped(),
    "stop": kept("generationConfig.stopSequences"),
    "n": refused("there is one answer"),
    "logprobs": kept("generationConfig.responseLogprobs, logprobs"),
    "max_tokens": kept("generationConfig.maxOutputTokens"),
    "tools": kept("tools[].functionDeclarations[].parametersJsonSchema"),
    "hosted_tools": dropped("tools that run at another vendor"),
    "strict_tools": dropped(),
    "tool_choice_auto": kept("functionCallingConfig.mode: AUTO"),
    "tool_choice_none": kept("functionCallingConfig.mode: NONE"),
    "tool_choice_required": kept("functionCallingConfig.mode: ANY"),
    "tool_choice_named": kept("functionCallingConfig.allowedFunctionNames"),
    "allowed_tools": kept("tools", "the others are not sent"),
    "parallel_tool_calls": dropped(),
    "json_object": kept("generationConfig.responseMimeType"),
    "json_schema": kept("generationConfig.responseJsonSchema"),
    "thinking": kept("thinkingConfig.thinkingBudget or thinkingLevel"),
    "images": kept("inlineData", "a URL only where the provider fetches"),
    "audio": kept("inlineData"),
    "files": kept("inlineData"),
    "cache_control": dropped("caching is implicit"),
    "cache_key": dropped(),
    "metadata": dropped(),
    "user": dropped(),
})  # fmt: skip

SAMPLING: Final[Mapping[str, str]] = MappingProxyType({
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
    "stop": "stopSequences",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
})  # fmt: skip

MODES: Final[Mapping[ToolMode, str]] = MappingProxyType({
    ToolMode.AUTO: "AUTO",
    ToolMode.NONE: "NONE",
    ToolMode.REQUIRED: "ANY",
    ToolMode.NAMED: "ANY",
})  # fmt: skip

LEVELS: Final[Mapping[Effort, str]] = MappingProxyType({
    Effort.NONE: "MINIMAL",
    Effort.MINIMAL: "MINIMAL",
    Effort.LOW: "LOW",
    Effort.MEDIUM: "MEDIUM",
    Effort.HIGH: "HIGH",
    Effort.XHIGH: "HIGH",
    Effort.MAX: "HIGH",
})  # fmt: skip

# What every model that thinks may be given; an explicit budget goes as it is.
MOST_BUDGET: Final = 24_576

LEVELS_IN: Final[Mapping[str, Effort | None]] = MappingProxyType({
    "THINKING_LEVEL_UNSPECIFIED": None,
    "MINIMAL": Effort.MINIMAL,
    "LOW": Effort.LOW,
    "MEDIUM": Effort.MEDIUM,
    "HIGH": Effort.HIGH,
})  # fmt: skip

# Google's own word for a tool call of another model's, which has no signature
# (ai.google.dev, thought signatures); an adapter sets it as Target.signature_else.
NO_SIGNATURE: Final = "skip_thought_signature_validator"

FINISH_IN: Final[Mapping[str, Finish]] = MappingProxyType({
    "STOP": Finish.STOP,
    "MAX_TOKENS": Finish.LENGTH,
    "SAFETY": Finish.CONTENT_FILTER,
    "RECITATION": Finish.CONTENT_FILTER,
    "LANGUAGE": Finish.CONTENT_FILTER,
    "OTHER": Finish.CONTENT_FILTER,
    "BLOCKLIST": Finish.CONTENT_FILTER,
    "PROHIBITED_CONTENT": Finish.CONTENT_FILTER,
    "SPII": Finish.CONTENT_FILTER,
    "NO_IMAGE": Finish.CONTENT_FILTER,
})  # fmt: skip
# The model went wrong: an empty answer that would look like a complete one.
FAILURES: Final[Mapping[str, str]] = MappingProxyType({
    "MALFORMED_FUNCTION_CALL": "the model made a malformed tool call",
    "UNEXPECTED_TOOL_CALL": "the model called a tool that it was not given",
    "TOO_MANY_TOOL_CALLS": "the model called too many tools",
})  # fmt: skip
FINISH_OUT: Final[Mapping[Finish, str]] = MappingProxyType({
    Finish.STOP: "STOP",
    Finish.STOP_SEQUENCE: "STOP",
    Finish.LENGTH: "MAX_TOKENS",
    Finish.CONTEXT: "MAX_TOKENS",
    Finish.TOOL_CALLS: "STOP",
    Finish.CONTENT_FILTER: "SAFETY",
    Finish.REFUSAL: "SAFETY",
    Finish.PAUSE: "STOP",
})  # fmt: skip

STATUS_NAMES: Final[Mapping[int, str]] = MappingProxyType({
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
})  # fmt: skip
