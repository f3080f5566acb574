"""Each module of some size has a test that imports it."""

from __future__ import annotations

from tests.architecture.source import assert_none, files_of_tests, imports, modules

LINES = 60
# Modules that are tested through another's door, and which.
TESTED_ELSEWHERE: dict[str, str] = {}


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
        ]
    )


def test_the_exceptions_are_modules_that_exist() -> None:
    assert TESTED_ELSEWHERE.keys() <= {module.name for module in modules()}
