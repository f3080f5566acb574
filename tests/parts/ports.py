"""Ports on 127.0.0.1: a free one, and waiting until somebody answers on one."""

from __future__ import annotations

import http.client
import random
import socket
import subprocess
import time
from pathlib import Path

HOST = "127.0.0.1"
POLL_S = 0.02
# Below what systems give to outgoing connections and to who listens on port 0 (Linux
# from 32768, macOS from 49152): nobody gets one by chance before it is used.
PORTS = range(20_000, 32_000)
CHANCE = random.SystemRandom()  # hypothesis seeds the other one, alike everywhere


def free_port() -> int:
    """Pick a port that nobody listens on now."""
    while True:
        port = CHANCE.choice(PORTS)
        if not is_taken(port):
            return port


def is_taken(port: int) -> bool:
    """Tell whether somebody listens on `port`, or could not be stopped to."""
    try:
        with socket.create_server((HOST, port)):
            return False
    except OSError:
        return True


def wait_until_ready(
    process: subprocess.Popen[bytes], port: int, path: str, log: Path, timeout_s: float
) -> None:
    """Wait for a 200 at `path`; fails with the log when it dies or is too slow."""
    deadline = time.monotonic() + timeout_s
    while not _answers(port, path):
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode}:\n{log.read_text()}")
        if time.monotonic() > deadline:
            raise AssertionError(f"no answer in {timeout_s} s:\n{log.read_text()}")
        time.sleep(POLL_S)


def stop_process(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    """Send SIGTERM, and SIGKILL when that does not help; gives the exit code."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
