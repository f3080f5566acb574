"""What Anthropic's models refuse, and the beta flags its API knows: data, of 2026-11.

Read off its migration guides, its SDK and what Claude Code sends. A model of a line
or a version that is not here counts as new, one without a version as it is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct

Version = tuple[int, int]

_ID: Final = re.compile(
    r"claude-(?P<line>[a-z]+)(?:-(?P<major>\d{1,2})(?!\d)(?:-(?P<minor>\d{1,2})(?!\d))?)?"
)
_NEW: Final[Version] = (5, 0)
_ALWAYS: Final[Version] = (0, 0)
_NEVER: Final[Version] = (99, 0)

# The first version of each line that refuses sampling parameters (400 unless they
# have their default values) …
_NO_SAMPLING: Final[Mapping[str, Version]] = MappingProxyType({
    "opus": (4, 7),
    "sonnet": (5, 0),
    "haiku": (5, 0),
    "fable": _ALWAYS,
    "mythos": _ALWAYS,
})  # fmt: skip
# … that refuses temperature and top_p together …
_ONE_OF_TWO: Final[Mapping[str, Version]] = MappingProxyType({
    "opus": (4, 1),
    "sonnet": (4, 5),
    "haiku": (4, 5),
})  # fmt: skip
# … that thinks by effort (adaptive): a budget is deprecated, then refused …
_EFFORT: Final[Mapping[str, Version]] = MappingProxyType({
    "opus": (4, 6),
    "sonnet": (4, 6),
    "haiku": (5, 0),
    "fable": _ALWAYS,
    "mythos": _ALWAYS,
})  # fmt: skip

# … and that cannot be kept from thinking.
_THINKS: Final[Mapping[str, Version]] = MappingProxyType({
    "opus": (5, 5),
    "sonnet": (5, 5),
    "haiku": _NEVER,
    "fable": _ALWAYS,
    "mythos": _ALWAYS,
})  # fmt: skip

SAMPLING: Final = frozenset({"temperature", "top_k", "top_p"})

_FLAG: Final = re.compile(r"([a-z][a-z0-9-]{1,60})-20\d{2}-?[01]\d-?[0-3]\d")
_FEATURES: Final = frozenset({
    "advanced-tool-use", "advisor-tool", "afk-mode", "agent-memory",
    "auto-mode-classifier", "cache-diagnosis", "cache-keepalive", "claude-code",
    "claude-code-side-query", "code-execution", "compact", "computer-use",
    "context-1m", "context-hint", "context-management", "dangerous-tool-use",
    "dev-full-thinking", "effort", "extended-cache-ttl", "fallback-credit",
    "fast-mode", "files-api", "fine-grained-tool-streaming", "inline-tools",
    "interleaved-thinking", "mcp-client", "mcp-servers", "mcp-tunnels",
    "message-batches", "message-threads", "mid-conversation-output-config",
    "mid-conversation-system", "mid-conversation-system-clear-at",
    "mid-conversation-tool-changes", "model-context-window-exceeded", "oauth",
    "output-128k", "output-300k", "pdfs", "per-turn-control", "program-use-case-ids",
    "prompt-caching", "prompt-caching-evict", "prompt-caching-scope",
    "redact-thinking", "request-tags", "resumption", "server-side-fallback", "skills",
    "structured-outputs", "task-budgets", "thinking-binding-controls",
    "thinking-display-updates", "thinking-resumption", "thinking-token-count",
    "timing", "token-counting", "token-efficient-tools", "tool-examples",
    "tool-provenance", "tool-search-tool", "user-profiles", "user-profiles-billing",
    "web-fetch", "web-search", "web-search-results-only",
})  # fmt: skip


class Traits(Struct, frozen=True):
    """`refuses` are parameters it answers 400 to, `takes_one_of_two` that it does so
    to temperature and top_p together, `thinks_by_effort` that it wants no budget,
    `always_thinks` that it cannot be told not to.
    """

    refuses: frozenset[str] = frozenset()
    takes_one_of_two: bool = False
    thinks_by_effort: bool = False
    always_thinks: bool = False


def traits_of(model: str) -> Traits:
    """Look a model up by its id."""
    found = _ID.match(model)
    if found is None:
        return Traits()  # before Claude 4 the line came last, and all was allowed
    line = found["line"]
    version = (int(found["major"] or 0), int(found["minor"] or 0))

    def has(since: Mapping[str, Version]) -> bool:
        return version >= since.get(line, _NEW)

    return Traits(
        refuses=SAMPLING if has(_NO_SAMPLING) else frozenset(),
        takes_one_of_two=has(_ONE_OF_TWO),
        thinks_by_effort=has(_EFFORT),
        always_thinks=has(_THINKS),
    )


def refused_of(model: str, fields: frozenset[str]) -> frozenset[str]:
    """Say which members of a request must be left out for a model to take it."""
    traits = traits_of(model)
    if not traits.refuses and traits.takes_one_of_two and "temperature" in fields:
        return fields & {"top_p"}
    return fields & traits.refuses


def sort_flags(values: Iterable[str]) -> tuple[list[str], list[str]]:
    """Part the flags of `anthropic-beta` fields into those known and the others.

    A feature is known by its name: a later date of it is too.
    """
    known: list[str] = []
    others: list[str] = []
    for value in values:
        for flag in (item.strip() for item in value.split(",")):
            named = _FLAG.fullmatch(flag)
            if named is not None and named[1] in _FEATURES:
                known.append(flag)
            elif flag:
                others.append(flag)
    return known, others
