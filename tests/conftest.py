"""What holds for every test: its surroundings, and what happens when a part is missing.

A test that lacks a part of the system (tests.parts.missing) is skipped and named at
the end of the run; with LOCAL_AI_REQUIRE_PARTS=1 it fails instead. Deadlines are
pytest-timeout's, in setup.cfg. Tests marked `alone` measure the machine, or load all
of it: while several processes share the tests (`-n 2`) they are left out, and
`--alone` runs nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.parts.missing import PREFIX

# A developer's own keys, endpoints and proxies must not change what a test sees.
FOREIGN = re.compile(
    r"PROXY_.*|PROVIDER_.*|LOG_LEVEL|DATABASE_URL|REDIS_URL|JWT_SECRET|OLLAMA_HOST"
    r"|LM_API_TOKEN|[A-Z]+_API_KEY|OTEL_.*|(?i:https?_proxy|all_proxy|no_proxy)"
)

# No deadline: a busy machine must not fail a property. The same examples each time in
# CI, new ones elsewhere; what failed prints how to repeat it.
settings.register_profile("local-ai", deadline=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("local-ai"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local-ai")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--alone", action="store_true", help="run only the tests marked `alone`"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(MissingParts(), "missing-parts")
    for name in [name for name in os.environ if FOREIGN.fullmatch(name)]:
        del os.environ[name]


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Keep those that are to run by themselves apart from those that share."""
    shares, only_alone = hasattr(config, "workerinput"), config.getoption("--alone")
    if not shares and not only_alone:
        return
    alone = [item for item in items if item.get_closest_marker("alone")]
    others = [item for item in items if not item.get_closest_marker("alone")]
    items[:], left_out = (alone, others) if only_alone else (others, alone)
    config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Tests wait as much as they compute: one more process than there are CPUs."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[
    None, pytest.TestReport, pytest.TestReport
]:
    report = yield
    judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[
    None, pytest.CollectReport, pytest.CollectReport
]:
    report = yield
    judge(report)
    return report


def judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make a skip for a missing part a failure where none is allowed."""
    part = missing_part(report)
    if part is not None and os.environ.get("LOCAL_AI_REQUIRE_PARTS") == "1":
        report.outcome = "failed"
        report.longrepr = f"{PREFIX}{part}"


def missing_part(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    said = report.longrepr
    if isinstance(said, tuple):  # skipped: file, line, reason
        said = said[2]
    if not isinstance(said, str):
        return None
    _, found, part = said.partition(PREFIX)
    return part if found else None


class MissingParts:
    """Names at the end what did not run, whichever process should have run it."""

    def __init__(self) -> None:
        self._parts: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        if not self._parts:
            return
        terminalreporter.section("not run: parts that this machine lacks")
        for nodeid, part in sorted(self._parts.items()):
            terminalreporter.line(f"{part}: {nodeid}")

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        part = missing_part(report)
        if part is not None:
            self._parts[report.nodeid] = part
