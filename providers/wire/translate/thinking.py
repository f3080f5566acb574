"""Effort and budget: two ways to say how much to think, and the table between them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from providers.wire.translate.request import Effort, Thinking

# The budgets of low, medium and high are those of Google's OpenAI endpoint.
BUDGETS: Final[Mapping[Effort, int]] = MappingProxyType({
    Effort.NONE: 0,
    Effort.MINIMAL: 512,
    Effort.LOW: 1024,
    Effort.MEDIUM: 8192,
    Effort.HIGH: 24576,
    Effort.XHIGH: 32768,
    Effort.MAX: 65536,
})  # fmt: skip

# The efforts that every model with efforts knows: a budget becomes one of them.
_USUAL: Final = (Effort.LOW, Effort.MEDIUM, Effort.HIGH)


def effort_of(thinking: Thinking | None) -> Effort | None:
    """Say it as an effort; None leaves it to the model."""
    if thinking is None:
        return None
    if thinking.enabled is False:
        return Effort.NONE
    if thinking.effort is not None or thinking.budget_tokens is None:
        return thinking.effort
    budget = thinking.budget_tokens
    return next((e for e in _USUAL if BUDGETS[e] >= budget), Effort.HIGH)


def budget_of(thinking: Thinking | None) -> int | None:
    """Say it as a budget in tokens, 0 for none; None leaves it to the model."""
    if thinking is None:
        return None
    if thinking.enabled is False:
        return 0
    if thinking.budget_tokens is not None or thinking.effort is None:
        return thinking.budget_tokens
    return BUDGETS[thinking.effort]


def from_effort(effort: str | None, *, shown: bool | None = None) -> Thinking | None:
    if effort is None:
        return None if shown is None else Thinking(shown=shown)
    said = Effort(effort)
    return Thinking(effort=said, enabled=said is not Effort.NONE, shown=shown)
