"""The locks serve every platform, name no index, and pin every file by its hash."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.source import ROOT, assert_none

LOCKS = ("run", "test", "dev")
# Index options would send an installation somewhere else.
INDEX_OPTION = re.compile(
    r"^\s*(?:--(?:extra-)?index-url|--find-links|-i|-f)\b", re.MULTILINE
)
PIN = re.compile(r"^([\w.-]+)==[^\n]*$", re.MULTILINE)
PLATFORMS = [
    {"sys_platform": system, "platform_system": name, "platform_machine": machine}
    for system, name, machines in (
        ("linux", "Linux", ("x86_64", "aarch64")),
        ("darwin", "Darwin", ("x86_64", "arm64")),
    )
    for machine in machines
]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_every_file_and_names_no_index(name: str) -> None:
    text = lock(name)
    assert not INDEX_OPTION.search(text)
    pins = [match.group() for match in PIN.finditer(text)]
    assert pins
    assert_none([pin for pin in pins if not pin.endswith("\\")])
    assert len(re.findall(r"\\\n +--hash=sha256:[0-9a-f]{64}", text)) >= len(pins)


def test_larger_locks_agree_with_smaller_ones() -> None:
    run, test, dev = (pins(name).items() for name in LOCKS)
    assert run <= test
    assert test <= dev


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_what_every_platform_and_python_needs(name: str) -> None:
    locked = pins(name)
    assert_none(
        sorted(
            {
                f"{package} needs {needed.name} on {environment}"
                for package in locked
                for needed in requirements(package)
                for environment in environments()
                if applies(needed, environment)
                and canonicalize_name(needed.name) not in locked
            }
        )
    )


def lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    return {
        canonicalize_name(match.group(1)): match.group().split()[0]
        for match in PIN.finditer(lock(name))
    }


def requirements(package: str) -> list[Requirement]:
    """What an installed package needs; nothing is known of one that is not."""
    try:
        return [Requirement(text) for text in requires(package) or ()]
    except PackageNotFoundError:
        return []


def environments() -> list[dict[str, str]]:
    return [
        {
            **platform,
            "python_version": version,
            "python_full_version": f"{version}.0",
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
            "os_name": "posix",
            "extra": "",
        }
        for platform in PLATFORMS
        for version in PYTHONS
    ]


def applies(needed: Requirement, environment: dict[str, str]) -> bool:
    return needed.marker is None or needed.marker.evaluate(environment)
