"""The source tree as data: modules with their syntax trees, and the tracked files."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("proxy", "providers")


@dataclass(frozen=True)
class Module:
    path: Path
    name: str
    text: str
    tree: ast.Module

    @property
    def where(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    def line_count(self) -> int:
        return len(self.text.splitlines())


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the gateway and the adapters."""
    return tuple(
        read_module(path)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    )


@cache
def files_of_tests() -> tuple[Module, ...]:
    return tuple(read_module(path) for path in sorted((ROOT / "tests").rglob("*.py")))


def assert_none(findings: list[str]) -> None:
    """Fail with every finding on a line of its own."""
    assert not findings, "\n".join(("", *findings))


def read_module(path: Path) -> Module:
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(part for part in parts if part != "__init__")
    text = path.read_text(encoding="utf-8")
    return Module(path, name, text, ast.parse(text, str(path)))


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield every imported dotted name, `from a import b` as a and as a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def dotted(node: ast.AST) -> str:
    """Answer `a.b.c` for a chain of attributes, with `?` for what is no name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def functions(
    module: Module,
) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file that belongs to the project: git's list, or in an unpacked archive
    whatever is not hidden."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode == 0:
        paths = (ROOT / name for name in listing.stdout.split("\0") if name)
    else:
        paths = (p for p in ROOT.rglob("*") if not any_hidden(p.relative_to(ROOT)))
    return tuple(sorted(path for path in paths if path.is_file()))


def any_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def text_files() -> Iterator[tuple[str, str]]:
    """Yield each tracked text file's path and content."""
    for path in tracked_files():
        data = path.read_bytes()
        if b"\0" not in data:
            text = data.decode("utf-8", "replace")
            yield path.relative_to(ROOT).as_posix(), text
