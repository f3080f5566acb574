"""The filter, run by a small interpreter of its own: what is let through, what not."""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping

import pytest

from proxy.sandbox.seccomp import program

X86_64, AARCH64 = 0xC000003E, 0xC00000B7
ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSED = 0x00050000 | errno.EPERM
NEWUSER, THREAD, VFORK = 0x10000000, 0x003D0F00, 0x00004111

# number on x86-64, on aarch64
CALLS: Mapping[str, tuple[int, int]] = {
    "read": (0, 63),
    "openat": (257, 56),
    "execve": (59, 221),
    "setresuid": (117, 147),
    "clone": (56, 220),
    "clone3": (435, 435),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "ptrace": (101, 117),
    "unshare": (272, 97),
    "mount": (165, 40),
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "memfd_create": (319, 279),
    "keyctl": (250, 219),
}


def verdict(filter_: bytes, audit: int, number: int, first: int = 0) -> int:
    """Do what the kernel does with a system call."""
    data = struct.pack("<IIQQ", number, audit, 0, first)
    lines = list(struct.iter_unpack("=HBBI", filter_))
    at, value = 0, 0
    while True:
        operation, if_true, if_false, operand = lines[at]
        at += 1
        if operation == 0x06:
            return operand
        if operation == 0x20:
            (value,) = struct.unpack_from("<I", data, operand)
            continue
        holds = {
            0x15: value == operand,
            0x35: value >= operand,
            0x45: bool(value & operand),
        }[operation]
        at += if_true if holds else if_false


def asked(
    name: str, first: int = 0, *, forks: bool = False, machine: str = "x86_64"
) -> int:
    filter_ = program(machine, forks=forks)
    assert filter_ is not None
    column, audit = {"x86_64": (0, X86_64), "aarch64": (1, AARCH64)}[machine]
    return verdict(filter_, audit, CALLS[name][column], first)


machines = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])


@machines
@pytest.mark.parametrize("name", ["read", "openat", "execve", "setresuid"])
def test_what_programs_need_is_allowed(machine: str, name: str) -> None:
    assert asked(name, machine=machine) == ALLOW


@machines
@pytest.mark.parametrize("forks", [True, False])
@pytest.mark.parametrize(
    "name",
    ["ptrace", "unshare", "mount", "bpf", "io_uring_setup", "memfd_create", "keyctl"],
)
def test_what_reaches_beyond_a_process_is_refused(
    machine: str, forks: bool, name: str
) -> None:
    assert asked(name, machine=machine, forks=forks) == REFUSED


@machines
def test_sockets_are_of_this_machine_alone(machine: str) -> None:
    for name in ("socket", "socketpair"):
        assert asked(name, 1, machine=machine) == ALLOW
        for family in (0, 2, 10, 16, 17, 40):  # IPv4, IPv6, netlink, packet, vsock
            assert asked(name, family, machine=machine) == REFUSED


@machines
def test_threads_are_allowed_and_processes_where_said(machine: str) -> None:
    assert asked("clone", THREAD, machine=machine) == ALLOW
    assert asked("clone", VFORK, machine=machine) == REFUSED
    assert asked("clone", VFORK, machine=machine, forks=True) == ALLOW


@machines
@pytest.mark.parametrize("forks", [True, False])
def test_no_clone_makes_a_namespace(machine: str, forks: bool) -> None:
    flags = NEWUSER | THREAD
    assert asked("clone", flags, machine=machine, forks=forks) == REFUSED


@machines
def test_clone3_is_unknown_so_that_libraries_use_clone(machine: str) -> None:
    assert asked("clone3", machine=machine) == 0x00050000 | errno.ENOSYS


@pytest.mark.parametrize("number", [57, 58])
def test_the_old_ways_to_fork_are_refused_too(number: int) -> None:
    alone, forking = (program("x86_64", forks=f) for f in (False, True))
    assert alone is not None
    assert forking is not None
    assert verdict(alone, X86_64, number) == REFUSED
    assert verdict(forking, X86_64, number) == ALLOW


def test_another_machines_numbers_are_deadly_and_the_other_abi_is_refused() -> None:
    filter_ = program("x86_64", forks=False)
    assert filter_ is not None
    assert verdict(filter_, 0x40000003, CALLS["read"][0]) == KILL
    assert verdict(filter_, X86_64, 0x40000000 | CALLS["read"][0]) == REFUSED


def test_there_is_no_filter_for_a_machine_that_is_not_known() -> None:
    assert program("riscv64", forks=False) is None
