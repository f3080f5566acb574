"""`python -m proxy usage`: tokens and cost, by key, model and day, or what is wanted."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

from proxy.reports.command import (
    FINE,
    add_filters,
    answered,
    ask,
    common,
    filters,
    read_config,
    say,
    say_json,
    table,
)

_FILTERS: Final = ("model", "provider", "tenant", "key")
_FLAGS: Final = {"since": "--last", "by": "--by", **{f: f"--{f}" for f in _FILTERS}}
_SUMS: Final = {
    "requests": "requests", "errors": "errors", "prompt_tokens": "prompt",
    "completion_tokens": "completion", "cached_tokens": "cached",
    "reasoning_tokens": "reasoning", "estimated": "estimated", "unpriced": "unpriced",
    "cost_usd": "cost USD",
}  # fmt: skip


def run(arguments: Sequence[str]) -> int:
    """Carry out the command; answers the exit code."""
    given = parser().parse_args(arguments)

    def work() -> int:
        config = read_config(given.config)
        asked = {**filters(given, _FILTERS), "since": given.last, "by": given.by}
        found = ask(config, lambda queries: queries.usage(asked))
        currency = config.metrics.currency
        if given.json:
            say_json(found)
        else:
            say(drawn(found, given.by, given.last, currency.code, currency.per_usd))
        return FINE

    return answered(work, _FLAGS)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m proxy usage",
        description="Tell how many tokens were used and what they cost, in whole days.",
        parents=[common()],
    )
    made.add_argument(
        "--last", default="30d", metavar="SPAN", help="such as 24h, 7d (30d)"
    )
    made.add_argument(
        "--by", default="key,model,day", metavar="LIST",
        help="any of key, model, day, provider, tenant (key,model,day)",
    )  # fmt: skip
    add_filters(made, _FILTERS)
    return made


def drawn(found: Any, by: str, span: str, code: str, per_usd: float) -> str:
    """The sums as a table, and what they come to."""
    if not found["usage"]:
        return f"Nothing was used in the last {span}."
    names = list(found["usage"][0])[: len(set(by.split(",")) - {""})]
    is_other = code != "USD"
    heads = [*names, *_SUMS.values(), *([f"cost {code}"] if is_other else [])]
    rows = [*found["usage"], {**dict.fromkeys(names, "all"), **found["total"]}]
    return table(
        heads,
        [
            [row[name] for name in (*names, *_SUMS)]
            + ([row["cost_usd"] * per_usd] if is_other else [])
            for row in rows
        ],
    )
