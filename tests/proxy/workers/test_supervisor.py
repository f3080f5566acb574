"""The supervisor with workers that are a line of shell each."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from proxy.workers.supervisor import Supervisor, hold_port
from tests.parts.ports import HOST, free_port
from tests.parts.until import until

READY = 'echo $$ >> "$0/started-$1"; touch "$0/worker-$1.ready"; '


def supervisor(
    folder: Path, script: str, count: int = 2, patience_s: float = 10
) -> Supervisor:
    command = ["/bin/sh", "-c", script, str(folder)]
    return Supervisor(folder, command, [], count, patience_s)


def started(folder: Path, number: int) -> list[str]:
    file = folder / f"started-{number}"
    return file.read_text().split() if file.exists() else []


async def test_all_are_told_to_stop(tmp_path: Path) -> None:
    kept = supervisor(tmp_path, READY + "exec sleep 60")
    running = asyncio.create_task(kept.run())
    await until(lambda: started(tmp_path, 1) and started(tmp_path, 2), "both run")
    kept._stop.set()
    assert await asyncio.wait_for(running, 5) == 0


async def test_one_that_ends_is_started_again_after_a_pause(tmp_path: Path) -> None:
    kept = supervisor(tmp_path, READY + '[ "$1" = 1 ] || exec sleep 60')
    running = asyncio.create_task(kept.run())
    await until(lambda: len(started(tmp_path, 1)) == 3, "the third of its number")
    assert len(started(tmp_path, 2)) == 1
    kept._stop.set()
    assert await asyncio.wait_for(running, 5) == 0


async def test_if_none_could_ever_serve_it_gives_up(tmp_path: Path) -> None:
    kept = supervisor(tmp_path, '[ "$1" = 1 ] && exit 2; exec sleep 60')
    assert await asyncio.wait_for(kept.run(), 5) == 2
    assert not kept._running


async def test_one_that_does_not_stop_in_time_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; " + READY + "while :; do sleep 0.1; done"
    kept = supervisor(tmp_path, script, count=1, patience_s=0.2)
    running = asyncio.create_task(kept.run())
    await until(lambda: started(tmp_path, 1), "it runs")
    kept._stop.set()
    assert await asyncio.wait_for(running, 5) == 1


async def test_only_those_who_serve_are_told_to_reload(tmp_path: Path) -> None:
    script = (
        'touch "$0/began-$1"; [ "$1" = 1 ] && exec sleep 60; '
        "trap 'touch \"$0/reloaded\"' HUP; " + READY + "while :; do sleep 0.05; done"
    )
    kept = supervisor(tmp_path, script)
    running = asyncio.create_task(kept.run())
    await until((tmp_path / "began-1").exists, "one begins")
    await until((tmp_path / "worker-2.ready").exists, "the other serves")
    kept._pass_on_reload()
    await until((tmp_path / "reloaded").exists, "it reloads")
    assert len(kept._running) == 2, "the one that begins lives on"
    kept._stop.set()
    assert await asyncio.wait_for(running, 5) == 0


def test_a_port_is_held_for_those_who_share_it() -> None:
    port = free_port()
    held = hold_port(HOST, port)
    try:
        with socket.socket() as sharing:
            sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sharing.bind((HOST, port))
            sharing.listen()
            with pytest.raises(OSError, match="in use"):
                hold_port(HOST, port)  # another gateway's would not share with ours
            with socket.create_connection((HOST, port), timeout=5):
                sharing.accept()[0].close()
    finally:
        for one in held:
            one.close()


def test_any_free_port_will_do_if_none_is_named() -> None:
    held = hold_port(HOST, 0)
    assert held[0].getsockname()[1] > 0
    for one in held:
        one.close()
