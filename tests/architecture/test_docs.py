"""The documentation tells what is: its links lead somewhere, its pages are current."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from proxy.accounting.ledger import Lag
from proxy.accounting.ledger_gauges import LedgerGauges
from proxy.core.errors import CATALOGUE
from proxy.observability.allowance_gauges import AllowanceGauges, Kept
from proxy.observability.metrics import Metrics
from proxy.observability.state_gauges import StateGauges
from tests.architecture.source import ROOT, assert_none, tracked_files

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")


def test_links_between_pages_resolve() -> None:
    assert_none(
        [
            f"{page.relative_to(ROOT)}: {target}"
            for page in pages()
            for target in links(page)
            if not resolves(page, target)
        ]
    )


def test_generated_pages_are_current() -> None:
    generated = runpy.run_path(str(ROOT / "bin" / "generate_docs.py"))["pages"]()
    assert_none(
        [
            f"{path.relative_to(ROOT)} is not what bin/docs writes"
            for path, text in generated.items()
            if not path.exists() or path.read_text(encoding="utf-8") != text
        ]
    )


def test_every_error_code_is_documented() -> None:
    headings = anchors(ROOT / "docs" / "errors.md")
    assert_none([code for code in CATALOGUE if code not in headings])


def test_every_metric_is_documented_and_no_other() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    metrics = Metrics()
    metrics.add(LedgerGauges(lambda: Lag(0, 0, 0.0, 0, 0, 0, None)))
    metrics.add(StateGauges(lambda: False, dict, dict))
    metrics.add(AllowanceGauges({}, float, lambda: Kept({}, 0, 0)))
    exposition = metrics.exposition()[0].decode()
    exposed = {
        name
        for name in re.findall(r"^# HELP (local_ai_\w+)", exposition, re.MULTILINE)
        if not name.endswith("_created")  # the library adds these to its counters
    }
    documented = set(re.findall(r"^\| `(local_ai_\w+)`", text, re.MULTILINE))
    assert exposed == documented


def test_every_page_is_reached_from_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {
        (index.parent / target.partition("#")[0]).resolve() for target in links(index)
    }
    assert_none(
        [
            str(page.relative_to(ROOT))
            for page in pages()
            if page.is_relative_to(index.parent)
            and page != index
            and page not in listed
        ]
    )


def test_the_first_screen_has_both_commands_and_ci_walks_through_them() -> None:
    first_screen = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in ("bin/run", "bin/test"):
        assert any(line.strip().startswith(command) for line in first_screen), command
    assert re.search(r"^bin/check\b", ci, re.MULTILINE)
    assert re.search(r"^bin/test\b", ci, re.MULTILINE)


def pages() -> list[Path]:
    return [path for path in tracked_files() if path.suffix == ".md"]


def links(page: Path) -> Iterator[str]:
    """Yield the targets of a page's links that lead to files of ours."""
    for target in LINK.findall(prose(page)):
        if not re.match(r"[a-z]+:", target):
            yield unquote(target)


def prose(page: Path) -> str:
    return CODE.sub("", CODE_BLOCK.sub("", page.read_text(encoding="utf-8")))


def resolves(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists() or not file.is_relative_to(ROOT):
        return False
    return not anchor or anchor in anchors(file)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    text = CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(text)
    }
