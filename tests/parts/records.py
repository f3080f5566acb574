"""Records of requests that never were."""

from __future__ import annotations

from typing import Any

from proxy.core.types import Record


def record_of(**facts: Any) -> Record:
    """A record that says so; `id`, `operation` and `started_at` must be among it."""
    made = Record(facts.pop("id"), facts.pop("operation"), facts.pop("started_at"))
    for name, value in facts.items():
        assert hasattr(made, name), f"a record has no {name}"
        setattr(made, name, value)
    return made
