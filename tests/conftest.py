"""What holds for every test: its surroundings, and what happens when a part is missing.

A test that lacks a part of the system (tests.parts.missing) is skipped and named at
the end of the run; with LOCAL_AI_REQUIRE_PARTS=1 it fails instead. Deadlines are
pytest-timeout's, in setup.cfg.
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
MISSING = pytest.StashKey[dict[str, str]]()

# No deadline: a busy machine must not fail a property. The same examples each time in
# CI, new ones elsewhere; what failed prints how to repeat it.
settings.register_profile("local-ai", deadline=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("local-ai"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local-ai")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MISSING] = {}
    for name in [name for name in os.environ if FOREIGN.fullmatch(name)]:
        del os.environ[name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    judge(report, item.config)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    judge(report, collector.config)
    return report


def judge(
    report: pytest.TestReport | pytest.CollectReport, config: pytest.Config
) -> None:
    """Note a skip for a missing part, and make it a failure where none is allowed."""
    part = missing_part(report)
    if part is None:
        return
    config.stash[MISSING][report.nodeid] = part
    if os.environ.get("LOCAL_AI_REQUIRE_PARTS") == "1":
        report.outcome = "failed"
        report.longrepr = f"{PREFIX}{part}"


def missing_part(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    if not report.skipped or not isinstance(report.longrepr, tuple):
        return None
    _, found, part = str(report.longrepr[2]).partition(PREFIX)
    return part if found else None


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    missing = config.stash[MISSING]
    if not missing:
        return
    terminalreporter.section("not run: parts that this machine lacks")
    for nodeid, part in sorted(missing.items()):
        terminalreporter.line(f"{part}: {nodeid}")
