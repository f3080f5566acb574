"""The fault table as a section of docs/operations.md: python -m tests.faults.page.

A test compares the page with the table, so neither can drift.
"""

from __future__ import annotations

from pathlib import Path

from tests.faults.row import End, Outcome, Row
from tests.faults.table import TABLE

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
HEADING = "## When a provider misbehaves\n"
INTRODUCTION = """
What a caller gets for each way in which a provider may fail, for a whole reply and for a
stream. `tests/faults` plays every row through both doors; `bin/docs` writes this section
from its table.

An error code alone is an error reply with that status. "Then" means that what had come
before was passed on, and the error follows in the stream, in the caller's dialect; such a
stream never looks complete. "Asked next" tells who is asked before the caller is told:
another provider of the model, or where there is none the same one once more (one that loads
the model: until `timeouts.firstByte` is over), within the limits of
[Failover and retries](#failover-and-retries). "Connection" tells whether the one to the
provider serves on. Where two entries differ for a whole reply and for a stream, they stand in
this order.
"""
TABLE_HEAD = """
| the provider | whole reply | stream | asked next | connection |
|---|---|---|---|---|
"""


def section() -> str:
    """Write the section, from its heading to what follows it."""
    parts = [
        f"\n### {title}\n{TABLE_HEAD}{''.join(map(line, rows))}"
        for title, rows in TABLE.items()
    ]
    return HEADING + INTRODUCTION + "".join(parts) + "\n"


def line(row: Row) -> str:
    cases = (row.whole.outcome, row.stream.outcome)
    cells = (
        row.name,
        *map(told, cases),
        both(*(outcome.again.value for outcome in cases)),
        both(*map(connection, cases)),
    )
    return f"| {' | '.join(cells)} |\n"


def told(outcome: Outcome) -> str:
    code = f"`{outcome.code}`"
    match outcome.end:
        case End.REFUSED:
            return f"{outcome.status} {code}"
        case End.TOLD:
            return f"200, then {code}"
        case End.CUT:
            return "200, cut off"
        case End.COMES if outcome.status >= 400:
            return f"{outcome.status}, as the provider says it"
        case End.COMES if outcome.status != 200:
            return f"{outcome.status}"
        case End.COMES:
            return "as it comes"


def connection(outcome: Outcome) -> str:
    if outcome.kept is None:
        return "either"
    return "kept" if outcome.kept else "closed"


def both(whole: str, stream: str) -> str:
    return whole if whole == stream else f"{whole} / {stream}"


def renewed(page: str) -> str:
    """Answer the page with the section as it is now."""
    before, _, rest = page.partition(HEADING)
    after = rest.partition("\n## ")[2]
    return f"{before}{section()}## {after}"


def main() -> None:
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
