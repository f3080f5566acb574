"""How a reload is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from msgspec.structs import asdict

from proxy.config.reload import Reload


def detailed_reload(outcome: Reload) -> dict[str, Any]:
    return {
        **brief_reload(outcome),
        "problems": [asdict(problem) for problem in outcome.problems],
        "needs_restart": list(outcome.needs_restart),
        "warnings": [str(problem) for problem in outcome.warnings],
    }


def brief_reload(outcome: Reload) -> dict[str, Any]:
    """Nothing of what the file holds: for everybody."""
    at = datetime.fromtimestamp(outcome.at, UTC)
    return {
        "status": "ok" if outcome.ok else "failed",
        "at": at.isoformat(timespec="milliseconds"),
        "trigger": outcome.trigger,
        "problem_count": len(outcome.problems),
    }
