"""Looks at code without running it: what it defines, and what it wants as input."""

from __future__ import annotations

import ast
from types import CodeType
from typing import Any, Final, NamedTuple

MAIN: Final = "main"
RESULT: Final = "result"
CODE_NAME: Final = "<code>"
"""What the code is called in its tracebacks."""


class Entry(NamedTuple):
    """The function that is called with the input.

    `required` and `accepted` are parameters that can be given by name; `accepted` is
    None where any may be given, or where only calling tells.
    """

    name: str
    is_async: bool
    required: tuple[str, ...]
    accepted: frozenset[str] | None


def parse(code: str) -> tuple[ast.Module, CodeType]:
    """Answer the tree and what it compiles to. Raises SyntaxError for no Python."""
    try:
        tree = ast.parse(code, CODE_NAME)
        return tree, compile(tree, CODE_NAME, "exec", dont_inherit=True)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or "nested too deeply") from None


def entry_of(tree: ast.Module) -> Entry | None:
    """Find the function to call: the only one, or `main`. None: there is none.

    Raises Ambiguous where several are defined and nothing says which is meant.
    """
    functions = {
        node.name: node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    if MAIN in functions:
        return _entry(functions[MAIN])
    if len(functions) == 1:
        return _entry(next(iter(functions.values())))
    if functions and not _assigns(tree, RESULT):
        raise Ambiguous
    return None


class Ambiguous(Exception):
    """Several functions, none of them `main`, and no `result`."""


def refusal(entry: Entry | None, given: dict[str, Any]) -> dict[str, Any] | None:
    """Make the reply to input that does not fit; None where it does."""
    if entry is None:
        odd = next((name for name in given if not name.isidentifier()), None)
        return None if odd is None else {"kind": "unexpected", "name": odd}
    missing = next((name for name in entry.required if name not in given), None)
    if missing is not None:
        return {"kind": "missing", "name": missing, "function": entry.name}
    if entry.accepted is None:
        return None
    odd = next((name for name in given if name not in entry.accepted), None)
    if odd is None:
        return None
    return {"kind": "unexpected", "name": odd, "function": entry.name}


def refused(error: SyntaxError | Ambiguous) -> dict[str, Any]:
    """Make the reply to code that is not run at all."""
    if isinstance(error, Ambiguous):
        return {"kind": "ambiguous"}
    return {
        "kind": "syntax",
        "message": str(error.msg)[:500],
        "line": error.lineno,
        "column": error.offset,
    }


def _entry(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Entry:
    is_async = isinstance(node, ast.AsyncFunctionDef)
    if node.decorator_list:  # which may have changed what it takes
        return Entry(node.name, is_async, (), None)
    taken = node.args
    by_place = taken.args[: len(taken.args) - len(taken.defaults)]
    if len(taken.defaults) > len(taken.args):  # some are of positional-only ones
        by_place = []
    by_name = [
        argument
        for argument, default in zip(taken.kwonlyargs, taken.kw_defaults, strict=True)
        if default is None
    ]
    names = frozenset(argument.arg for argument in (*taken.args, *taken.kwonlyargs))
    return Entry(
        node.name,
        is_async,
        tuple(argument.arg for argument in (*by_place, *by_name)),
        None if taken.kwarg or taken.posonlyargs else names,
    )


def _assigns(tree: ast.Module, name: str) -> bool:
    return any(
        isinstance(node, ast.Name)
        and node.id == name
        and isinstance(node.ctx, ast.Store)
        for node in ast.walk(tree)
    )
