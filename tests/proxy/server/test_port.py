from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from proxy.server.port import holder_of

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt"


def table(*rows: tuple[str, str, str]) -> str:
    """A /proc/net/tcp with (local address, state, inode) rows."""
    lines = [
        f"   0: {local} 00000000:0000 {state} 0:0 0:0 0 0 0 {inode}"
        for local, state, inode in rows
    ]
    return "\n".join((HEAD, *lines))


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A made-up /proc in which process 42, `ollama`, holds the socket 777."""
    (tmp_path / "net").mkdir()
    held = tmp_path / "42" / "fd"
    held.mkdir(parents=True)
    (held / "3").symlink_to("socket:[777]")
    (held / "4").symlink_to("/dev/null")
    (tmp_path / "42" / "comm").write_text("ollama\n")
    return tmp_path


def test_the_process_that_listens_is_named(proc: Path) -> None:
    (proc / "net/tcp").write_text(table(("0100007F:0DAC", "0A", "777")))
    assert holder_of(3500, proc) == "ollama (process 42)"


def test_one_that_listens_on_ipv6_is_named_too(proc: Path) -> None:
    (proc / "net/tcp6").write_text(table(("0" * 32 + ":0DAC", "0A", "777")))
    assert holder_of(3500, proc) == "ollama (process 42)"


def test_a_connection_of_that_port_holds_nothing(proc: Path) -> None:
    (proc / "net/tcp").write_text(table(("0100007F:0DAC", "01", "777")))
    assert holder_of(3500, proc) is None


def test_another_port_is_another_matter(proc: Path) -> None:
    (proc / "net/tcp").write_text(table(("0100007F:0DAD", "0A", "777")))
    assert holder_of(3500, proc) is None


def test_a_holder_that_cannot_be_seen_has_no_name(proc: Path) -> None:
    (proc / "net/tcp").write_text(table(("0100007F:0DAC", "0A", "778")))
    assert holder_of(3500, proc) is None


def test_without_a_proc_nobody_is_named(tmp_path: Path) -> None:
    assert holder_of(3500, tmp_path / "none") is None


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_this_process_finds_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = holder_of(listener.getsockname()[1])
    assert found is not None
    assert found.endswith(f"(process {os.getpid()})")
