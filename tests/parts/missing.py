"""What a test does when a part of it (a program, a library) is not installed.

Every such skip goes through here, so that its reason reads alike and a run can
list the missing parts by name.
"""

from __future__ import annotations

import importlib.util
import shutil
from typing import NoReturn

import pytest

PREFIX = "missing part: "


def missing_part(name: str) -> NoReturn:
    """Skip the running test, naming the part that it lacks."""
    pytest.skip(PREFIX + name)


def need_module(name: str) -> None:
    """Skip unless the Python module `name` can be imported."""
    if importlib.util.find_spec(name) is None:
        missing_part(name)


def need_program(name: str) -> str:
    """Find a program's path, or skip."""
    return shutil.which(name) or missing_part(name)
