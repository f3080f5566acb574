"""What a run may use, and what a process is told of it at its start."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

# What an interpreter maps before it runs anything, beside what the code may use.
INTERPRETER_BYTES: Final = 64 << 20
# The monty worker is two programs and their threads' stacks, mapped but not used; its
# own limit of memory is the one that counts.
MONTY_MAPPED_BYTES: Final = 2 << 30
TEMPORARY_FILES_BYTES: Final = 16 << 20


class Limits(Struct, frozen=True):
    """Of one run. Output is counted for each stream and the result alone."""

    timeout_s: float = 5.0
    most_timeout_s: float = 30.0
    memory_bytes: int = 128 << 20
    output_bytes: int = 64 << 10
    input_bytes: int = 1 << 20
    threads: int = 32
