"""How Ollama says what the vocabulary says: its rules and tables."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from providers.wire.translate.events import Finish
from providers.wire.translate.mapping import Rule, dropped, kept, refused
from providers.wire.translate.request import Effort

RULES: Final[Mapping[str, Rule]] = MappingProxyType({
    "temperature": kept("options.temperature"),
    "top_p": kept("options.top_p"),
    "top_k": kept("options.top_k"),
    "min_p": kept("options.min_p"),
    "seed": kept("options.seed"),
    "frequency_penalty": kept("options.frequency_penalty"),
    "presence_penalty": kept("options.presence_penalty"),
    "repetition_penalty": kept("options.repeat_penalty"),
    "stop": kept("options.stop"),
    "n": refused("there is one answer"),
    "logprobs": kept("logprobs, top_logprobs"),
    "max_tokens": kept("options.num_predict"),
    "tools": kept("tools[].function"),
    "hosted_tools": dropped("tools that run at another vendor"),
    "strict_tools": dropped(),
    "tool_choice_auto": kept("tools"),
    "tool_choice_none": kept("tools", "none are sent"),
    "tool_choice_required": refused("it cannot be made to call a tool"),
    "tool_choice_named": refused("it cannot be made to call a tool"),
    "allowed_tools": kept("tools", "the others are not sent"),
    "parallel_tool_calls": dropped(),
    "json_object": kept("format: json"),
    "json_schema": kept("format"),
    "thinking": kept("think", "a level only where the model has levels"),
    "images": kept("messages[].images", "base64 alone"),
    "audio": refused(),
    "files": kept("messages[].content", "plain text alone"),
    "cache_control": dropped("caching is implicit"),
    "cache_key": dropped(),
    "metadata": dropped(),
    "user": dropped(),
})  # fmt: skip

OPTIONS: Final[Mapping[str, str]] = MappingProxyType({
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "repetition_penalty": "repeat_penalty",
    "stop": "stop",
})  # fmt: skip
# What stands in `options`, by what callers and operators call it: the names above, limits,
# and what Ollama alone has.
OPTION_OF: Final[Mapping[str, str]] = MappingProxyType({
    **OPTIONS,
    "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict",
    **{name: name for name in (
        "main_gpu", "num_batch", "num_ctx", "num_gpu", "num_keep", "num_predict",
        "num_thread", "repeat_last_n", "repeat_penalty", "typical_p", "use_mmap",
    )},
})  # fmt: skip
LOGPROBS: Final[Mapping[str, str]] = MappingProxyType({
    "logprobs": "logprobs",
    "top_logprobs": "top_logprobs",
})  # fmt: skip

LEVELS: Final[Mapping[Effort, str]] = MappingProxyType({
    Effort.MINIMAL: "low",
    Effort.LOW: "low",
    Effort.MEDIUM: "medium",
    Effort.HIGH: "high",
    Effort.XHIGH: "high",
    Effort.MAX: "high",
})  # fmt: skip

FINISH_IN: Final[Mapping[str, Finish]] = MappingProxyType({
    "stop": Finish.STOP,
    "length": Finish.LENGTH,
    "load": Finish.STOP,
    "unload": Finish.STOP,
})  # fmt: skip
# There are no words for a filter or a refusal: both have stopped.
FINISH_OUT: Final[Mapping[Finish, str]] = MappingProxyType({
    Finish.STOP: "stop",
    Finish.STOP_SEQUENCE: "stop",
    Finish.LENGTH: "length",
    Finish.CONTEXT: "length",
    Finish.TOOL_CALLS: "stop",
    Finish.CONTENT_FILTER: "stop",
    Finish.REFUSAL: "stop",
    Finish.PAUSE: "stop",
})  # fmt: skip
