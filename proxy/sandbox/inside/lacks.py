"""What code needs that monty lacks, as far as that shows without running it.

Its interpreter is asked, with lines of ours alone: has it such a module, such a
built-in? Its answers are remembered. What it cannot parse, it says of `never_run`.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator
from typing import Final

Try = Callable[[str], Exception | None]
"""Runs a line in a session of its own; answers how it failed."""

_NO_FILES: Final = "open"
_MOST_REMEMBERED: Final = 4096
_BUILTINS: Final = frozenset(dir(builtins))


class Lacks:
    """Knows what one version of monty cannot do."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}

    def find(self, tree: ast.Module, attempt: Try) -> str | None:
        """Answer what is lacking of modules and names; None where nothing is."""
        for line, words in _needs(tree):
            known = self._known.get(line)
            if known is None:
                if len(self._known) >= _MOST_REMEMBERED:
                    self._known.clear()
                known = self._known[line] = attempt(line) is not None
            if known:
                return words
        return None


def never_run(code: str) -> str:
    """Make code that is parsed in full, of which nothing is run."""
    lines = "".join(f" {line}" for line in code.splitlines(keepends=True))
    return f"if 0:\n{lines}\n pass\n"


def _needs(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield lines that try one thing each, and what that is."""
    bound = _bound(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield f"import {alias.name}", f"the module {alias.name}"
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                line = f"from {node.module} import {alias.name}"
                yield line, f"{alias.name} of the module {node.module}"
        elif isinstance(node, ast.Name) and node.id not in bound:
            if node.id == _NO_FILES:
                yield "raise OSError", "files"
            elif node.id in _BUILTINS:
                yield node.id, f"the built-in {node.id}"


def _bound(tree: ast.Module) -> set[str]:
    """The names that the code itself gives a meaning somewhere."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
    return names
