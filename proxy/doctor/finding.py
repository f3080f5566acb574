"""One thing the doctor looked at."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Grade(StrEnum):
    FINE = "fine"
    ODD = "odd"
    WRONG = "wrong"


class Finding(Struct, frozen=True):
    """One thing looked at; `advice` says what to do where it is not fine."""

    grade: Grade
    subject: str
    text: str
    advice: str = ""

    def __str__(self) -> str:
        line = f"{self.grade:6}{self.subject}: {self.text}"
        return f"{line}\n      → {self.advice}" if self.advice else line


def reason(error: OSError) -> str:
    """Why the system refused, in its words."""
    return error.strerror or str(error)
