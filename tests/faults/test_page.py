"""docs/operations.md shows the fault table as it is."""

from __future__ import annotations

from tests.faults.page import HEADING, PAGE, renewed


def test_the_page_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count(HEADING) == 1
    assert page == renewed(page), "docs/operations.md is not what bin/docs writes"
