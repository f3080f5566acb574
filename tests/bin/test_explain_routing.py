"""What bin/test-routing prints of a decision."""

from __future__ import annotations

import io
import runpy
from typing import Any

from rich.console import Console

from tests.architecture.source import ROOT

KEPT = {"order": 1, "kept": True, "reason": "kept", "detail": "priority 1, online",
        "provider": "box", "upstream_model": "tiny", "status": "online"}  # fmt: skip
DROPPED = KEPT | {"order": None, "kept": False, "reason": "out_of_use",
                  "detail": "offline: refused", "provider": "spare"}  # fmt: skip
OTHER = {"provider": "cloud", "upstream_model": "big\x1b[31m", "status": "unknown"}


def printed(**changes: Any) -> list[list[str]]:
    """Answer the words of each line."""
    found = {
        "candidates": [KEPT, DROPPED],
        "fallbacks": [],
        "wakes": None,
        "error": None,
    }
    out = io.StringIO()
    show = runpy.run_path(str(ROOT / "bin" / "explain_routing.py"))["show"]
    show(found | changes, Console(file=out, width=200))
    return [line.split() for line in out.getvalue().splitlines()]


def test_candidates_in_order_and_why() -> None:
    _, kept, dropped = printed()
    assert kept == ["1", "box", "tiny", "online", "kept:", "priority", "1,", "online"]
    assert dropped[:2] == ["spare", "tiny"]
    assert dropped[3:] == ["out", "of", "use:", "offline:", "refused"]


def test_who_comes_after_them() -> None:
    *_, last = printed(fallbacks=[OTHER])
    assert (last[0], last[-1]) == ("cloud", "fallback")
    assert "\x1b" not in "".join(last)


def test_who_would_be_woken() -> None:
    assert printed(wakes="box")[-1] == ["box", "would", "be", "woken."]


def test_what_a_caller_would_be_told() -> None:
    error = {"code": "model_not_found", "message": "No such model."}
    lines = printed(candidates=[], error=error)
    assert lines == [["model_not_found:", "No", "such", "model."]]
