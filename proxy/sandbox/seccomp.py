"""The system calls that code in a jail may not make, as a program for the kernel.

A classic BPF filter, written out by hand for the two machines whose numbers are
known. It denies what reaches beyond one process: new processes and namespaces,
other processes' memory, sockets that leave the machine, memory that no limit
counts, and the rarely used rest of the kernel. What it does not name is allowed:
the jail's other walls do not depend on it. See seccomp(2).
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from msgspec import Struct

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_IF_EQUAL: Final = 0x15
_IF_AT_LEAST: Final = 0x35
_IF_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_FAIL: Final = 0x00050000
_REFUSE: Final = _FAIL | errno.EPERM
_UNKNOWN: Final = _FAIL | errno.ENOSYS

# offsets in struct seccomp_data; arguments are little-endian 64-bit words
_NUMBER: Final = 0
_MACHINE: Final = 4
_FIRST_ARGUMENT: Final = 16

_CLONE_THREAD: Final = 0x00010000
_CLONE_NEW: Final = 0x7E020080  # every namespace: time, mount, cgroup, uts, …, net
_AF_UNIX: Final = 1


# What is denied: its number on x86-64 and on aarch64, -1 where it does not exist.
_DENIED: Final = MappingProxyType({
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "kcmp": (312, 272), "pidfd_getfd": (438, 438),
    # namespaces and the tree of files
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40),
    "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    # memory that no limit of a process counts
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
    "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190),
    "mq_open": (240, 180), "mbind": (237, 235), "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
    # where kernels have had their holes
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "personality": (135, 92),
    "lookup_dcookie": (212, 18), "uselib": (134, -1), "modify_ldt": (154, -1),
    "ustat": (136, -1), "sysfs": (139, -1),
    # the machine itself
    "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224),
    "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "syslog": (103, 116), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    "vhangup": (153, 58), "ioperm": (173, -1), "iopl": (172, -1),
})  # fmt: skip


class _Machine(Struct, frozen=True):
    """How one architecture is told, and its numbers of what is looked at closely."""

    column: int
    audit: int
    clone: int
    clone3: int
    sockets: tuple[int, ...]
    forks: tuple[int, ...]
    other_abi: int | None


_MACHINES: Final = MappingProxyType(
    {
        "x86_64": _Machine(0, 0xC000003E, 56, 435, (41, 53), (57, 58), 0x40000000),
        "aarch64": _Machine(1, 0xC00000B7, 220, 435, (198, 199), (), None),
    }
)


def program(machine: str, *, forks: bool) -> bytes | None:
    """Assemble the filter; `forks` allows new processes. None: machine not known."""
    known = _MACHINES.get(machine)
    if known is None:
        return None
    return b"".join(struct.pack("=HBBI", *line) for line in _lines(known, forks))


_Line = tuple[int, int, int, int]


def _lines(machine: _Machine, forks: bool) -> Iterator[_Line]:
    """Yield (operation, lines to skip if true, if false, operand)."""
    yield _LOAD, 0, 0, _MACHINE
    yield _IF_EQUAL, 1, 0, machine.audit
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER
    if machine.other_abi is not None:
        yield _IF_AT_LEAST, 0, 1, machine.other_abi
        yield _RETURN, 0, 0, _REFUSE
    denied = [numbers[machine.column] for numbers in _DENIED.values()]
    for number in denied if forks else [*denied, *machine.forks]:
        if number >= 0:
            yield _IF_EQUAL, 0, 1, number
            yield _RETURN, 0, 0, _REFUSE
    # Its flags lie in memory, where a filter cannot look; libraries then use clone.
    yield _IF_EQUAL, 0, 1, machine.clone3
    yield _RETURN, 0, 0, _UNKNOWN
    for number in machine.sockets:  # those within this machine, and no others
        yield _IF_EQUAL, 0, 4, number
        yield _LOAD, 0, 0, _FIRST_ARGUMENT
        yield _IF_EQUAL, 1, 0, _AF_UNIX
        yield _RETURN, 0, 0, _REFUSE
        yield _RETURN, 0, 0, _ALLOW
    yield _IF_EQUAL, 1, 0, machine.clone
    yield _RETURN, 0, 0, _ALLOW
    yield _LOAD, 0, 0, _FIRST_ARGUMENT
    yield _IF_ANY_BIT, 0, 1, _CLONE_NEW
    yield _RETURN, 0, 0, _REFUSE
    if not forks:
        yield _IF_ANY_BIT, 1, 0, _CLONE_THREAD
        yield _RETURN, 0, 0, _REFUSE
    yield _RETURN, 0, 0, _ALLOW
