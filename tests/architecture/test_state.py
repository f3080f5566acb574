"""No module keeps state: what it holds at its top level does not change.

A table may be a plain dict, list or set if its name is in capitals, it is `Final`, and
nothing in the tree changes it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.source import Module, assert_none, dotted, modules

TABLES = (ast.Dict, ast.DictComp, ast.List, ast.ListComp, ast.Set, ast.SetComp)
TABLE_TYPES = {"dict", "list", "set"}
STATEFUL_TYPES = {
    "bytearray", "count", "cycle", "defaultdict", "deque", "ContextVar", "Counter",
    "Event", "Lock", "OrderedDict", "Queue", "SimpleQueue", "WeakKeyDictionary",
    "WeakSet", "WeakValueDictionary",
}  # fmt: skip
CHANGES = {
    "add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove",
    "reverse", "setdefault", "sort", "update",
}  # fmt: skip


def test_no_module_level_value_can_change() -> None:
    assert_none(
        [
            f"{module.where}:{value.lineno} {name}"
            for module in modules()
            for name, value, annotation in top_level_values(module)
            if name != "__all__"
            if is_stateful(value)
            or (is_table(value) and not (name.isupper() and "Final" in annotation))
        ]
    )


def test_no_table_is_changed() -> None:
    tables = {
        name
        for module in modules()
        for name, value, _ in top_level_values(module)
        if is_table(value)
    }
    assert_none(
        [
            f"{module.where}:{line} changes {name}"
            for module in modules()
            for name, line in changes(module.tree)
            if name.split(".")[-1] in tables
        ]
    )


def test_no_function_rebinds_a_module_level_name() -> None:
    assert_none(
        [
            f"{module.where}:{node.lineno}"
            for module in modules()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Global)
        ]
    )


def top_level_values(module: Module) -> Iterator[tuple[str, ast.expr, str]]:
    for node in module.tree.body:
        if isinstance(node, ast.Assign):
            yield dotted(node.targets[0]), node.value, ""
        elif isinstance(node, ast.AnnAssign) and node.value:
            yield dotted(node.target), node.value, ast.unparse(node.annotation)


def is_table(value: ast.expr) -> bool:
    return isinstance(value, TABLES) or type_called(value) in TABLE_TYPES


def is_stateful(value: ast.expr) -> bool:
    return type_called(value) in STATEFUL_TYPES


def type_called(value: ast.expr) -> str | None:
    if isinstance(value, ast.Call):
        return dotted(value.func).split(".")[-1]
    return None


def changes(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield what is changed in place: by item, by `|=` and its like, by method."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            yield dotted(node.value), node.lineno
        elif isinstance(node, ast.AugAssign):
            yield dotted(node.target), node.lineno
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in CHANGES
        ):
            yield dotted(node.func.value), node.lineno
