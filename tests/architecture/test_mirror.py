"""Each module of some size has a test that imports it, or one named for it.

`proxy/relay/pool.py` has tests/proxy/relay/test_pool.py, or is imported by another.
"""

from __future__ import annotations

from pathlib import Path

from tests.architecture.source import (
    ROOT,
    Module,
    assert_none,
    files_of_tests,
    imports,
    modules,
)

LINES = 60
# Modules that are tested through another's door, and where.
TESTED_ELSEWHERE = {
    "providers.wire.chat": "tests/providers/wire/test_watches.py",
    "providers.wire.responses": "tests/providers/wire/test_watches.py",
    "providers.wire.counts": "tests/providers/wire/test_watches.py",
    "providers.wire.peek": "tests/providers/wire/test_members.py",
    "providers.wire.splice": "tests/providers/wire/test_members.py",
}


def test_every_module_of_some_size_is_imported_by_a_test() -> None:
    tested = {
        name
        for file in files_of_tests()
        if "architecture" not in file.path.parts
        for name, _ in imports(file.tree)
    }
    assert_none(
        [
            module.where
            for module in modules()
            if module.line_count() > LINES
            and module.name not in tested
            and module.name not in TESTED_ELSEWHERE
            and not namesake(module).exists()
        ]
    )


def namesake(module: Module) -> Path:
    folder = ROOT / "tests" / module.path.relative_to(ROOT).parent
    return folder / f"test_{module.path.stem}.py"


def test_the_exceptions_are_modules_and_tests_that_exist() -> None:
    assert TESTED_ELSEWHERE.keys() <= {module.name for module in modules()}
    assert_none(
        [test for test in TESTED_ELSEWHERE.values() if not (ROOT / test).exists()]
    )
