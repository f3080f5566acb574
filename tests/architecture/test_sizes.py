"""Files, functions and constructors stay small enough to be read at once."""

from __future__ import annotations

import ast
import warnings

from tests.architecture.source import assert_none, files_of_tests, functions, modules

FILE_LINES = 600
FILE_LINES_TO_THINK_ABOUT = 400
FUNCTION_LINES = 80
CONSTRUCTOR_PARAMETERS = 7


def test_no_file_is_longer_than_the_limit() -> None:
    sizes = {m.where: m.line_count() for m in (*modules(), *files_of_tests())}
    assert_none([f"{w} has {n} lines" for w, n in sizes.items() if n > FILE_LINES])
    for where, lines in sizes.items():
        if lines > FILE_LINES_TO_THINK_ABOUT:
            warnings.warn(f"{where} has {lines} lines: think of a cut", stacklevel=1)


def test_no_function_is_longer_than_the_limit() -> None:
    assert_none(
        [
            f"{module.where}:{function.lineno} {function.name} has {length} lines"
            for module in modules()
            for function in functions(module)
            if (length := (function.end_lineno or 0) - function.lineno + 1)
            > FUNCTION_LINES
        ]
    )


def test_no_constructor_takes_more_dependencies_than_one_can_see() -> None:
    assert_none(
        [
            f"{module.where}:{function.lineno} takes {count} parameters"
            for module in modules()
            for function in functions(module)
            if function.name == "__init__"
            and (count := parameter_count(function)) > CONSTRUCTOR_PARAMETERS
        ]
    )


def parameter_count(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = function.args
    return len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs) - 1


def test_modules_open_by_saying_what_they_are() -> None:
    assert_none(
        [m.where for m in modules() if m.text and not ast.get_docstring(m.tree)]
    )
