"""The gateway's end of one sandboxed process: starts it, asks it, kills it.

What comes from there is not trusted: frames are bounded, output is cut, and whoever
asks keeps a deadline. Killing the process kills its whole tree: a jail's processes
end with it, those without a jail are one process group.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
from collections.abc import Mapping
from typing import Any, Final, cast

import orjson
from msgspec import Struct, field

from proxy.sandbox.jail import Command

_LARGEST_FRAME: Final = 2 << 20
_START_S: Final = 15.0
_END_S: Final = 5.0


class Died(Exception):
    """The process ended, or spoke nonsense. `code` is its exit code, if it has one."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


class _Output(Struct):
    """What one stream carried, as much of it as is kept."""

    limit: int
    kept: bytearray = field(default_factory=bytearray)
    is_cut: bool = False

    def take(self, data: bytes) -> None:
        room = self.limit - len(self.kept)
        self.kept += data[:room]
        self.is_cut = self.is_cut or len(data) > room

    @property
    def text(self) -> str:
        return self.kept.decode("utf-8", "replace")


class _Ends(asyncio.SubprocessProtocol):
    """Takes what the process prints, and notices its end."""

    def __init__(self, limit: int) -> None:
        self.out, self.err = _Output(limit), _Output(limit)
        self.gone = asyncio.Event()
        self.transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        (self.out if fd == 1 else self.err).take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()


class Process:
    """One sandboxed process. Made by `start`, ended by `kill`, waited for by `ended`."""

    def __init__(
        self,
        transport: asyncio.SubprocessTransport,
        ends: _Ends,
        replies: asyncio.StreamReader,
        replies_end: asyncio.ReadTransport,
    ) -> None:
        self._transport = transport
        self._ends = ends
        self._replies = replies
        self._replies_end = replies_end

    @classmethod
    async def start(
        cls, command: Command, settings: Mapping[str, Any], output_bytes: int
    ) -> Process:
        """Start it and wait until it is ready. Raises Died, OSError, TimeoutError."""
        loop = asyncio.get_running_loop()
        ends = _Ends(output_bytes)
        with contextlib.ExitStack() as files:
            replies_file, writing = _pipe()
            files.enter_context(writing)
            passed = [writing.fileno()]
            words = {}
            if command.filter is not None:
                filter_, source = _pipe()
                files.enter_context(filter_)
                with source:
                    source.write(command.filter)
                passed.append(filter_.fileno())
                words["{filter}"] = str(filter_.fileno())
            told = dict(settings, replies=writing.fileno(), user=command.user)
            words["{settings}"] = json.dumps(told)
            replies = asyncio.StreamReader(limit=_LARGEST_FRAME)
            replies_end, _ = await loop.connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(replies), replies_file
            )
            try:
                transport, _ = await loop.subprocess_exec(
                    lambda: ends,
                    *(words.get(word, word) for word in command.arguments),
                    env={},
                    cwd="/",
                    start_new_session=True,
                    pass_fds=passed,
                )
            except BaseException:
                replies_end.close()
                _kill_group(ends.transport)  # there already, if this was cancelled
                raise
        process = cls(transport, ends, replies, replies_end)
        try:
            async with asyncio.timeout(_START_S):
                reply = await process._receive()
            if reply.get("kind") != "ready":
                raise Died(None)
        except BaseException:
            process.kill()
            transport.close()
            raise
        return process

    async def ask(self, job: bytes) -> dict[str, Any]:
        """Send a job and wait for its reply. Raises Died. The deadline is the caller's."""
        stdin = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0))
        stdin.write(len(job).to_bytes(4, "big") + job)
        return await self._receive()

    @property
    def is_alive(self) -> bool:
        return self._transport.get_returncode() is None and not self._replies.at_eof()

    @property
    def output(self) -> tuple[str, str, bool]:
        """What it printed to both streams, and whether some of it was left out."""
        out, err = self._ends.out, self._ends.err
        return out.text, err.text, out.is_cut or err.is_cut

    def kill(self) -> None:
        """End it and all that it started, at once."""
        _kill_group(self._transport)
        stdin = self._transport.get_pipe_transport(0)
        if stdin is not None:
            stdin.close()
        self._replies_end.close()

    async def ended(self, within_s: float = _END_S) -> None:
        """Wait until it is gone and all that it printed is here; then kill it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._ends.gone.wait()
        _kill_group(self._transport)
        self._transport.close()

    async def _receive(self) -> dict[str, Any]:
        try:
            size = int.from_bytes(await self._replies.readexactly(4), "big")
            if size > _LARGEST_FRAME:
                raise Died(None)
            reply = orjson.loads(await self._replies.readexactly(size))
        except asyncio.IncompleteReadError:
            await self.ended()
            raise Died(self._transport.get_returncode()) from None
        except ValueError:
            raise Died(None) from None
        if not isinstance(reply, dict):
            raise Died(None)
        return reply


def _kill_group(transport: asyncio.SubprocessTransport | None) -> None:
    """Kill a process and all of its group: a jail that is being built is two."""
    if transport is not None and transport.get_returncode() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(transport.get_pid(), signal.SIGKILL)


def _pipe() -> tuple[io.FileIO, io.FileIO]:
    reading, writing = os.pipe()
    return io.FileIO(reading, "r"), io.FileIO(writing, "w")
