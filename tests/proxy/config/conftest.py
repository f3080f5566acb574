"""Reading configurations from text, as the gateway would from a file."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from proxy.config import ConfigError, Loaded, Options, Problem, load

Read = Callable[..., Loaded]
Faults = Callable[..., list[str]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Load a file of this text; keywords are the flags."""

    def read(
        text: str = "", environ: Mapping[str, str] | None = None, **flags: Any
    ) -> Loaded:
        file = tmp_path / "gateway.yaml"
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return load(Options(config=str(file), **flags), environ or {}, places=())

    return read


@pytest.fixture
def problems(read: Read) -> Callable[..., tuple[Problem, ...]]:
    """What is wrong with a file of this text; fails when nothing is."""

    def problems(*arguments: Any, **flags: Any) -> tuple[Problem, ...]:
        with pytest.raises(ConfigError) as raised:
            read(*arguments, **flags)
        return raised.value.problems

    return problems


@pytest.fixture
def faults(problems: Callable[..., tuple[Problem, ...]]) -> Faults:
    """As `problems`, each as `line: path: message` without the file's name."""

    def faults(*arguments: Any, **flags: Any) -> list[str]:
        return [
            f"{p.line or p.file}: {p.path}: {p.message}"
            for p in problems(*arguments, **flags)
        ]

    return faults


@pytest.fixture
def warnings(read: Read) -> Faults:
    """What a file of this text is warned about."""

    def warnings(*arguments: Any, **flags: Any) -> list[str]:
        found = read(*arguments, **flags).warnings
        return [f"{w.line or w.file}: {w.path}: {w.message}" for w in found]

    return warnings
