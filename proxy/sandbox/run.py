"""The values that go in and come out: one run, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

EngineName = Literal["monty", "cpython"]
ENGINES: Final[tuple[EngineName, ...]] = ("monty", "cpython")


class Run(Struct, frozen=True):
    """Code with its input. `engine` None leaves the choice to the sandbox."""

    code: str
    input: Mapping[str, Any]
    timeout_s: float
    engine: EngineName | None = None


class Outcome(Struct, frozen=True):
    """What a run that ended well has left. `result` is JSON text, and checked to be."""

    result: bytes
    result_type: str
    stdout: str
    stderr: str
    duration_ms: float
    engine: EngineName
    isolation: tuple[str, ...]
    truncated: bool
