"""What a request may ask for, and how each dialect's rules for it are kept.

A dialect's `mapping` module holds one Rule per Feature; the table in docs/providers
is made of them. A hint that cannot be said is dropped and reported; what would make
the answer wrong is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct

from providers.wire.dialect import Dialect
from providers.wire.translate.problems import UnsupportedParameter
from providers.wire.translate.request import (
    Audio,
    File,
    FormatKind,
    Image,
    Opaque,
    Part,
    Request,
    Target,
    Tool,
    ToolMode,
    ToolResult,
    Written,
)


class Treatment(StrEnum):
    KEPT = "kept"
    DROPPED = "dropped"
    REFUSED = "refused"


class Rule(Struct, frozen=True):
    """What becomes of a feature; `wire` is its name there, `note` the fine print."""

    treatment: Treatment
    wire: str = ""
    note: str = ""


def kept(wire: str = "", note: str = "") -> Rule:
    return Rule(Treatment.KEPT, wire, note)


def dropped(note: str = "") -> Rule:
    return Rule(Treatment.DROPPED, note=note)


def refused(note: str = "") -> Rule:
    return Rule(Treatment.REFUSED, note=note)


class Feature(Struct, frozen=True):
    """`param` is what the caller is told; `asked` tells whether a request has it."""

    param: str
    asked: Callable[[Request], bool]


def _chooses(mode: ToolMode) -> Callable[[Request], bool]:
    return lambda r: r.tool_choice is not None and r.tool_choice.mode is mode


def _formats(kind: FormatKind) -> Callable[[Request], bool]:
    return lambda r: r.response_format is not None and r.response_format.kind is kind


def _samples(name: str) -> Callable[[Request], bool]:
    return lambda r: getattr(r.sampling, name) is not None


def _has(*kinds: type) -> Callable[[Request], bool]:
    return lambda r: any(isinstance(part, kinds) for part in all_parts(r))


FEATURES: Final[Mapping[str, Feature]] = MappingProxyType({
    "temperature": Feature("temperature", _samples("temperature")),
    "top_p": Feature("top_p", _samples("top_p")),
    "top_k": Feature("top_k", _samples("top_k")),
    "min_p": Feature("min_p", _samples("min_p")),
    "seed": Feature("seed", _samples("seed")),
    "frequency_penalty": Feature("frequency_penalty", _samples("frequency_penalty")),
    "presence_penalty": Feature("presence_penalty", _samples("presence_penalty")),
    "repetition_penalty": Feature("repetition_penalty", _samples("repetition_penalty")),
    "stop": Feature("stop", lambda r: bool(r.sampling.stop)),
    "n": Feature("n", lambda r: (r.sampling.n or 1) > 1),
    "logprobs": Feature("logprobs", lambda r: bool(r.sampling.logprobs)),
    "max_tokens": Feature("max_tokens", lambda r: r.max_tokens is not None),
    "tools": Feature("tools", lambda r: any(isinstance(t, Tool) for t in r.tools)),
    "hosted_tools": Feature(
        "tools", lambda r: any(isinstance(t, Opaque) for t in r.tools)
    ),
    "strict_tools": Feature(
        "tools.strict", lambda r: any(isinstance(t, Tool) and t.strict for t in r.tools)
    ),
    "tool_choice_auto": Feature("tool_choice", _chooses(ToolMode.AUTO)),
    "tool_choice_none": Feature("tool_choice", _chooses(ToolMode.NONE)),
    "tool_choice_required": Feature("tool_choice", _chooses(ToolMode.REQUIRED)),
    "tool_choice_named": Feature("tool_choice", _chooses(ToolMode.NAMED)),
    "allowed_tools": Feature(
        "tool_choice", lambda r: bool(r.tool_choice and r.tool_choice.allowed)
    ),
    "parallel_tool_calls": Feature(
        "parallel_tool_calls", lambda r: bool(r.tools) and r.parallel_tools is False
    ),
    "json_object": Feature("response_format", _formats(FormatKind.JSON_OBJECT)),
    "json_schema": Feature("response_format", _formats(FormatKind.JSON_SCHEMA)),
    "thinking": Feature("reasoning_effort", lambda r: r.thinking is not None),
    "images": Feature("image", _has(Image)),
    "audio": Feature("input_audio", _has(Audio)),
    "files": Feature("file", _has(File)),
    "cache_control": Feature("cache_control", lambda r: bool(breakpoints(r))),
    "cache_key": Feature("prompt_cache_key", lambda r: r.cache_key is not None),
    "metadata": Feature("metadata", lambda r: bool(r.metadata)),
    "user": Feature("user", lambda r: r.user is not None),
})  # fmt: skip

# Members that no dialect but their own knows, and that an answer needs all the same.
BINDING: Final[Mapping[Dialect, frozenset[str]]] = MappingProxyType({
    Dialect.CHAT: frozenset({"audio", "functions", "function_call"}),
    Dialect.RESPONSES: frozenset({"prompt", "conversation"}),
    Dialect.MESSAGES: frozenset({"container"}),
    Dialect.OLLAMA: frozenset({"suffix", "raw", "template", "context"}),
    Dialect.GEMINI: frozenset({"cachedContent"}),
})  # fmt: skip


class Report:
    """What is left out and altered while one request is written."""

    def __init__(self, dialect: Dialect, out: frozenset[str]) -> None:
        self.dialect = dialect
        self._out = out
        self._dropped: dict[str, None] = {}
        self._changed: dict[str, str] = {}

    def keeps(self, feature: str) -> bool:
        return feature not in self._out

    def drop(self, param: str) -> None:
        self._dropped[param] = None

    def change(self, param: str, value: object) -> None:
        self._changed[param] = str(value)

    def put(
        self, body: dict[str, Any], values: object, names: Mapping[str, str]
    ) -> None:
        """Write what `values` has under the wire's `names`, save what is left out."""
        for name, wire in names.items():
            value = getattr(values, name)
            if value is not None and value != () and self.keeps(name):
                body[wire] = list(value) if isinstance(value, tuple) else value

    def written(self, body: dict[str, Any]) -> Written:
        return Written(body, tuple(self._dropped), tuple(self._changed.items()))


def begin(
    request: Request, dialect: Dialect, rules: Mapping[str, Rule], target: Target
) -> Report:
    """Hold a request against a dialect's rules; raises UnsupportedParameter."""
    out = frozenset(
        name
        for name, rule in rules.items()
        if rule.treatment is not Treatment.KEPT or FEATURES[name].param in target.drops
    )
    if "logprobs" in out:
        out |= {"top_logprobs"}
    report = Report(dialect, out | target.drops)
    for name, feature in FEATURES.items():
        if name not in out or not feature.asked(request):
            continue
        rule = rules[name]
        if rule.treatment is Treatment.REFUSED and feature.param not in target.drops:
            raise UnsupportedParameter(
                feature.param,
                f"{feature.param} cannot be asked of this provider"
                + (f": {rule.note}" if rule.note else ""),
            )
        report.drop(feature.param)
    _settle_extras(request, report)
    return report


def _settle_extras(request: Request, report: Report) -> None:
    if request.origin is report.dialect:
        return
    binding = BINDING.get(request.origin, frozenset())
    for name in request.extras:
        if name in binding:
            raise UnsupportedParameter(name, f"{name} cannot be asked of this provider")
        report.drop(name)


def all_parts(request: Request) -> Iterator[Part]:
    """Yield every part of every message, those within tool results too."""
    for message in request.messages:
        for part in message.parts:
            yield part
            if isinstance(part, ToolResult):
                yield from part.parts


def breakpoints(request: Request) -> list[object]:
    """List what carries a cache breakpoint: tools, system, then messages in order."""
    marked: list[object] = [request] if request.cache else []
    carriers = (*request.tools, *request.system, *all_parts(request))
    return marked + [c for c in carriers if getattr(c, "cache", None) is not None]


def opaque(part: Opaque, report: Report) -> dict[str, Any]:
    """Write a part of the same dialect as it came; raises for another's."""
    if part.origin is report.dialect:
        return dict(part.raw)
    raise UnsupportedParameter(
        part.at, f"content of type {part.kind!r} cannot be sent to this provider"
    )


def leave_out_media(parts: Iterable[Part], report: Report) -> None:
    """Report media that a model made, for dialects that take none back from it."""
    for part in parts:
        if isinstance(part, Image | Audio | File):
            report.drop(type(part).__name__.lower())
