"""What only one place may do: read the environment or the clock, start a task, …

Ruff bans the plain spellings; this reads the syntax tree, so that another spelling of
the same is found too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from tests.architecture.source import (
    Module,
    assert_none,
    dotted,
    functions,
    imports,
    modules,
)

ENVIRONMENT = {"environ", "environb", "getenv", "putenv", "unsetenv"}
STARTERS = {"create_task", "ensure_future", "run_coroutine_threadsafe", "TaskGroup"}
CLOCKS = {"time", "monotonic", "perf_counter", "process_time", "sleep"}
CLOCKS |= {f"{name}_ns" for name in CLOCKS}
NOW = {"now", "utcnow", "today"}
WEB = (
    "proxy.app",
    "proxy.front",
    "proxy.routes",
    "proxy.api",
    "proxy.web",
    "proxy.server",
)
INPUT_OUTPUT = {
    "aiohttp", "asyncio", "ftplib", "http.client", "multiprocessing", "os", "pathlib",
    "select", "selectors", "shutil", "socket", "sqlite3", "ssl", "subprocess",
    "threading", "urllib.request", "uvloop",
}  # fmt: skip
LATE_IMPORTS = {
    "proxy.__main__",
    "proxy.auth.open_keys",
    "proxy.auth.tokens",
    "proxy.cli",
    "proxy.observability.traces",
    "proxy.state.opening",
    "proxy.storage.schema",
}


def test_only_the_environment_module_reads_the_environment() -> None:
    assert_none(uses("os", ENVIRONMENT, owner="proxy.config.env"))


def test_only_the_clock_reads_the_time() -> None:
    assert_none(uses("time", CLOCKS, owner="proxy.core.clock"))
    assert_none(uses("asyncio", {"sleep"}, owner="proxy.core.clock"))
    assert_none(calls(NOW, receivers={"datetime", "date", "datetime.datetime"}))


def test_only_the_task_group_starts_tasks() -> None:
    assert_none(uses("asyncio", STARTERS, owner="proxy.core.tasks"))
    assert_none(calls(STARTERS, owner="proxy.core.tasks"))


def test_only_the_web_side_knows_the_web_framework() -> None:
    assert_none(
        [
            f"{module.where}:{line} imports {name}"
            for module in modules()
            if not module.name.startswith(WEB)
            for name, line in imports(module.tree)
            if name == "aiohttp.web"
            or name.startswith(("aiohttp.web.", "aiohttp.web_"))
        ]
    )


def test_adapters_and_dialects_do_no_input_or_output() -> None:
    assert_none(
        [
            f"{module.where}:{line} imports {name}"
            for module in modules()
            if module.name.startswith("providers") and module.name != "providers.http"
            for name, line in imports(module.tree)
            if name in INPUT_OUTPUT or name.split(".")[0] in INPUT_OUTPUT
        ]
    )


def test_the_core_needs_the_standard_library_alone() -> None:
    assert_none(
        [
            f"{module.where}:{line} imports {name}"
            for module in modules()
            if module.name.startswith("proxy.core")
            for name, line in imports(module.tree)
            if name.split(".")[0] not in sys.stdlib_module_names
            and not name.startswith("proxy.core")
        ]
    )


def test_imports_stand_at_the_top() -> None:
    assert_none(
        [
            f"{module.where}:{line} imports {name} late"
            for module in modules()
            if module.name not in LATE_IMPORTS
            for function in functions(module)
            for name, line in imports(function)
        ]
    )


def uses(module_name: str, attributes: set[str], *, owner: str) -> list[str]:
    """List where a module other than `owner` takes one of the attributes."""
    names = {f"{module_name}.{attribute}" for attribute in attributes}
    return [
        f"{module.where}:{line} uses {name}"
        for module in modules()
        if module.name != owner
        for name, line in (*imports(module.tree), *attributes_of(module))
        if name in names
    ]


def attributes_of(module: Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            yield dotted(node), node.lineno


def calls(
    names: set[str], *, owner: str = "", receivers: set[str] | None = None
) -> list[str]:
    """List calls of methods so named, on any object or on those named."""
    return [
        f"{module.where}:{node.lineno} calls {dotted(node.func)}"
        for module in modules()
        if module.name != owner
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in names
        and (receivers is None or dotted(node.func.value) in receivers)
    ]
