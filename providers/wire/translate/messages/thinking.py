"""Thinking in a Messages request, and what it forbids beside itself."""

from __future__ import annotations

from typing import Any, Final

from providers.wire.dialect import Dialect
from providers.wire.translate.mapping import Report
from providers.wire.translate.messages.mapping import LEAST_BUDGET
from providers.wire.translate.request import (
    Effort,
    Reasoning,
    Request,
    Role,
    Target,
    Thinking,
    ToolCall,
)
from providers.wire.translate.thinking import budget_of, effort_of

JSON = dict[str, Any]
_EFFORTS: Final = {Effort.MINIMAL: "low"}
_FORCED: Final = frozenset({"any", "tool"})


def write_thinking(
    request: Request, target: Target, report: Report, body: JSON
) -> None:
    """Write `thinking` and `output_config.effort`, or drop what cannot be."""
    thinking = request.thinking
    if thinking is None or not report.keeps("thinking"):
        return
    if thinking.enabled is False or thinking.effort is Effort.NONE:
        body["thinking"] = {"type": "disabled"}
        return
    if target.thinks_by_effort:
        _write_adaptive(thinking, body)
        return
    budget = budget_of(thinking)
    if budget is None:
        if request.origin is Dialect.MESSAGES and thinking.enabled:
            _write_adaptive(thinking, body)
        return
    if _is_forbidden(request, body):
        report.drop("reasoning_effort")
        return
    budget = _within_limit(request, thinking, budget, report, body)
    if budget >= body["max_tokens"]:
        report.drop("reasoning_effort")
        return
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    _show(thinking, body)
    for name in ("temperature", "top_k"):
        if body.pop(name, None) is not None:
            report.drop(name)


def _within_limit(
    request: Request, thinking: Thinking, budget: int, report: Report, body: JSON
) -> int:
    """Fit a budget into the limit, which it is part of, and leave an answer room.

    A limit that the caller did not set grows instead.
    """
    limit: int = body["max_tokens"]
    budget = max(LEAST_BUDGET, budget)
    if request.max_tokens is None:
        body["max_tokens"] = limit + budget
        report.change("max_tokens", limit + budget)
        return budget
    most = limit - 1 if thinking.budget_tokens is not None else limit * 4 // 5
    return max(LEAST_BUDGET, min(budget, most))


def _write_adaptive(thinking: Thinking, body: JSON) -> None:
    effort = effort_of(thinking)
    if thinking.enabled is not None or effort is not None:
        body["thinking"] = {"type": "adaptive"}
        _show(thinking, body)
    if effort is not None:
        config = body.setdefault("output_config", {})
        config["effort"] = _EFFORTS.get(effort, effort.value)


def _show(thinking: Thinking, body: JSON) -> None:
    if thinking.shown is not None:
        body["thinking"]["display"] = "summarized" if thinking.shown else "omitted"


def _is_forbidden(request: Request, body: JSON) -> bool:
    """A budget goes with no forced tool, nor after a tool call without its thinking."""
    if body.get("tool_choice", {}).get("type") in _FORCED:
        return True
    answers = [m for m in request.messages if m.role is Role.ASSISTANT]
    if not answers or request.messages[-1].role is Role.ASSISTANT:
        return False
    parts = answers[-1].parts
    called = any(isinstance(part, ToolCall) for part in parts)
    signed = any(
        isinstance(part, Reasoning) and part.origin is Dialect.MESSAGES
        for part in parts
    )
    return called and not signed
