"""Log lines: the gateway's own on stderr, one for each finished request on stdout.

A request's line holds names, numbers and codes, never a header, a body or a
query, and nothing in it can begin a line of its own. It is written at once: to
encode and flush many in one go would hold up the streams meanwhile.
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import stat
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

import orjson

from proxy.core import clock
from proxy.core.types import Record
from proxy.observability.text import printable

Format = Literal["text", "json"]
Value = str | int | float | bool | None

# Seven texts of at most 97 characters of at most 4 bytes, an ASCII one of 129, and
# numbers: below the 4096 bytes that a pipe which is ready takes at once and whole.
_LONGEST_TEXT: Final = 96
_LONGEST_ID: Final = 128
_LONGEST_MESSAGE: Final = 4000

_log = logging.getLogger(__name__)


def setup(
    level: str = "info", form: Format = "text", stream: TextIO | None = None
) -> None:
    """Send the standard library's logging to stderr (or `stream`), once."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonLines() if form == "json" else _TextLines())
    root = logging.getLogger()
    for old in tuple(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())


class RequestLog:
    """Writes a line for each finished request to a file descriptor.

    A reader that stalls or leaves costs lines (`lost` counts them), never a
    request.
    """

    def __init__(
        self,
        form: Format = "text",
        descriptor: int = 1,
        *,
        enabled: bool = True,
        wall: Callable[[], float] = clock.wall,
    ) -> None:
        self.lost = 0
        self._wall = wall
        self._line = _json_line if form == "json" else _text_line
        self._descriptor: int | None = descriptor if enabled else None
        self._may_block = enabled and not _is_file(descriptor)

    def write(self, record: Record) -> None:
        descriptor = self._descriptor
        if descriptor is None:
            return
        self._put(descriptor, self._line(_time(self._wall()), _facts(record)))

    def _put(self, descriptor: int, line: bytes) -> None:
        try:
            # Non-blocking mode would be shared with whoever else has the descriptor.
            if self._may_block and not select.select((), (descriptor,), (), 0)[1]:
                self.lost += 1
                return
            os.write(descriptor, line)
        except OSError as error:
            self.lost += 1
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        # A full disk may have room again; a closed pipe does not open again.
        if self._may_block and not isinstance(error, BlockingIOError):
            self._descriptor = None
            _log.warning("stdout is closed: requests are no longer logged")


def _is_file(descriptor: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _facts(record: Record) -> dict[str, Value]:
    """What a line tells, in its order; absent things are None."""
    ended_at = record.started_at if record.ended_at is None else record.ended_at
    first_at = record.first_byte_at
    return {
        "status": record.status,
        "operation": record.operation,
        "duration_ms": round((ended_at - record.started_at) * 1000, 1),
        "first_token_ms": None
        if first_at is None
        else round((first_at - record.started_at) * 1000, 1),
        "model": _cut(record.model),
        "provider": _cut(record.provider),
        "upstream_model": _cut(record.upstream_model),
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "attempts": len(record.attempts),
        "code": _cut(record.code),
        "tenant": _cut(record.tenant),
        "method": _cut(record.method),
        "path": _cut(_without_key(record.path)),
        "id": record.id,
        "client_request_id": _cut(record.client_request_id, _LONGEST_ID),
    }


def _cut(text: str | None, limit: int = _LONGEST_TEXT) -> str | None:
    return text if text is None else printable(text, limit)


def _without_key(path: str) -> str:
    """A WebSocket client that can send no header has its key in the path (http-api §5)."""
    return re.sub(r"/~[^/]*", "/~…", path) if "/~" in path else path


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _json_line(time: str, facts: Mapping[str, Value]) -> bytes:
    known = {name: value for name, value in facts.items() if value is not None}
    return orjson.dumps({"time": time, **known}, option=orjson.OPT_APPEND_NEWLINE)


def _text_line(time: str, facts: Mapping[str, Value]) -> bytes:
    """Columns for people, then what is out of the ordinary as name=value."""
    rest = [
        f"{name}={_word(value)}"
        for name, value in _remarks(facts)
        if value not in (None, "")
    ]
    line = (
        f"{time} {facts['status']} {facts['operation']:<12} "
        f"{facts['duration_ms']:>8}ms {' '.join(rest)}"
    )
    return line.encode() + b"\n"


def _remarks(facts: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    same = facts["upstream_model"] == facts["model"]
    several = facts["attempts"] not in (0, 1)
    tokens = (facts["prompt_tokens"], facts["completion_tokens"])
    return (
        ("first_ms", facts["first_token_ms"]),
        ("model", facts["model"]),
        ("provider", facts["provider"]),
        ("upstream_model", None if same else facts["upstream_model"]),
        ("tokens", None if tokens == (None, None) else "{}+{}".format(*tokens)),
        ("bytes", f"{facts['bytes_in']}/{facts['bytes_out']}"),
        ("attempts", facts["attempts"] if several else None),
        ("code", facts["code"]),
        ("tenant", None if facts["tenant"] == "default" else facts["tenant"]),
        ("path", facts["path"] if facts["model"] is None else None),
        ("id", facts["id"]),
        ("client_id", facts["client_request_id"]),
    )


def _word(value: Value) -> str:
    text = str(value)
    plain = " " not in text and '"' not in text and "=" not in text
    return text if plain else json.dumps(text, ensure_ascii=False)


class _TextLines(logging.Formatter):
    """One line for each message; a traceback's lines are indented below it, so that
    what an exception quotes cannot look like a message of ours.
    """

    def format(self, record: logging.LogRecord) -> str:
        message = printable(record.getMessage(), _LONGEST_MESSAGE)
        line = f"{_time(record.created)} {record.levelname:<7} {record.name}: {message}"
        trace = _trace(self, record)
        return line + "".join(f"\n    | {printable(row)}" for row in trace)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Value] = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:_LONGEST_MESSAGE],
        }
        trace = _trace(self, record)
        if trace:
            document["trace"] = "\n".join(trace)
        # Escapes whatever is not ASCII: a message may quote anything.
        return json.dumps(document, separators=(",", ":"))


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    if not record.exc_info:
        return []
    return formatter.formatException(record.exc_info).splitlines()
