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
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from typing import Final, Literal, TextIO

import orjson

from proxy.core import clock
from proxy.core.types import Record
from proxy.observability.text import printable

Format = Literal["text", "json"]
Value = str | int | float | bool | None

# Eight texts of at most 97 characters of at most 4 bytes, an ASCII one of 129, and
# numbers: below the 4096 bytes that a pipe which is ready takes at once and whole.
_LONGEST_TEXT: Final = 96
_LONGEST_ID: Final = 128
_LONGEST_MESSAGE: Final = 4000

_PORTION: Final = 4096
_plain_word: Final = re.compile(r"[A-Za-z0-9_./:@+\-]+").fullmatch

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
        soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        """`soon` calls back at the end of the loop's turn: its lines go in one write.

        Without it each line is written at once.
        """
        self.lost = 0
        self._wall = wall
        self._line = _json_line if form == "json" else _text_line
        self._descriptor: int | None = descriptor if enabled else None
        self._may_block = enabled and not _is_file(descriptor)
        self._soon = soon
        self._waiting: list[bytes] = []
        self._second = 0
        self._second_text = ""
        self._now = b""

    def write(self, *records: Record) -> None:
        """Write a line each, at the end of the loop's turn at the latest."""
        if self._descriptor is None:
            return
        if not self._waiting:  # those of one turn of the loop share their time
            self._now = self._time()
            if self._soon is not None:
                self._soon(self.flush)
        line, now = self._line, self._now
        self._waiting += [line(now, record) for record in records]
        if self._soon is None:
            self.flush()

    def flush(self) -> None:
        """Write what waits: a pipe takes only so much at once and whole."""
        lines, self._waiting = self._waiting, []
        data = b"".join(lines)
        if len(data) <= _PORTION or not self._may_block:
            if data:
                self._put(data, len(lines))
            return
        portion: list[bytes] = []
        size = 0
        for line in lines:
            if portion and size + len(line) > _PORTION:
                self._put(b"".join(portion), len(portion))
                portion, size = [], 0
            portion.append(line)
            size += len(line)
        self._put(b"".join(portion), len(portion))

    def _time(self) -> bytes:
        """The time of day, to the millisecond; the second's text is remembered."""
        now = self._wall()
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = _time(second)[:-4]
        return f"{self._second_text}{int((now - second) * 1000):03d}Z".encode()

    def _put(self, data: bytes, lines: int) -> None:
        descriptor = self._descriptor
        if descriptor is None:
            self.lost += lines
            return
        try:
            # Non-blocking mode would be shared with whoever else has the descriptor.
            if self._may_block and not select.select((), (descriptor,), (), 0)[1]:
                self.lost += lines
                return
            os.write(descriptor, data)
        except OSError as error:
            self.lost += lines
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
        "tried": _cut(_tried(record)) if len(record.attempts) > 1 else None,
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


def _json_line(time: bytes, record: Record) -> bytes:
    known = {name: value for name, value in _facts(record).items() if value is not None}
    document = {"time": time.decode(), **known}
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _text_line(time: bytes, record: Record) -> bytes:
    """Columns for people, then what is out of the ordinary as name=value.

    Written for speed (bench: CPU per request): where nothing is out of the ordinary, only
    what differs among lines of one kind is filled in.
    """
    started_at, first_at, memo = record.started_at, record.first_byte_at, record.memo
    ended_at = record.ended_at
    if memo is not None:
        template = memo.get(_text_line)
        if template is None:
            template = memo[_text_line] = _template_of(record)
    elif (
        first_at is not None
        and ended_at is not None
        and record.code is None
        and record.prompt_tokens is not None
        and record.completion_tokens is not None
        and record.model is not None
        and len(record.attempts) < 2
    ):
        template = _template_of(record)
    else:
        return _odd_line(time, record)
    id_ = record.id
    if record.client_request_id is not None:
        id_ = _ids(record)
    return template % (
        time,
        (ended_at - started_at) * 1000,  # type: ignore[operator]
        (first_at - started_at) * 1000,  # type: ignore[operator]
        record.prompt_tokens,
        record.completion_tokens,
        record.bytes_in,
        record.bytes_out,
        id_.encode(),
    )


def _template_of(record: Record) -> bytes:
    """The line of such a record, with places for what differs among its kind."""
    return _template(
        record.status,
        record.operation,
        record.model,
        record.provider,
        record.upstream_model,
        record.tenant,
    )


@lru_cache(maxsize=256)
def _template(
    status: int,
    operation: str,
    model: str | None,
    provider: str | None,
    upstream_model: str | None,
    tenant: str,
) -> bytes:
    what, whose = _what(model, provider, upstream_model), _whose(tenant)
    return (
        f"%b {status} {operation:<12} %8.1fms first_ms=%.1f{what.replace('%', '%%')}"
        f" tokens=%d+%d bytes=%d/%d{whose.replace('%', '%%')} id=%b\n"
    ).encode()


def _odd_line(time: bytes, record: Record) -> bytes:
    started_at, first_at = record.started_at, record.first_byte_at
    took_ms = ((record.ended_at or started_at) - started_at) * 1000
    first = (
        "" if first_at is None else f" first_ms={(first_at - started_at) * 1000:.1f}"
    )
    what = _what(record.model, record.provider, record.upstream_model)
    tokens = ""
    if record.prompt_tokens is not None or record.completion_tokens is not None:
        tokens = f" tokens={record.prompt_tokens}+{record.completion_tokens}"
    odd = ""
    if record.code is not None or len(record.attempts) > 1:
        odd = _odd(record)
    path = ""
    if record.model is None:  # it says what no model says
        path = f" path={_word(_without_key(record.path))}"
    return (
        f"{time.decode()} {record.status} {record.operation:<12} {took_ms:>8.1f}ms"
        f"{first}{what}{tokens} bytes={record.bytes_in}/{record.bytes_out}{odd}"
        f"{_whose(record.tenant)}{path} id={_ids(record)}\n"
    ).encode()


@lru_cache(maxsize=256)
def _what(model: str | None, provider: str | None, upstream_model: str | None) -> str:
    """Which model was asked for, and who served it; the same again and again."""
    text = ""
    if model is not None:
        text += f" model={_word(model)}"
    if provider is not None:
        text += f" provider={_word(provider)}"
    if upstream_model is not None and upstream_model != model:
        text += f" upstream_model={_word(upstream_model)}"
    return text


def _odd(record: Record) -> str:
    text = ""
    if len(record.attempts) > 1:
        text = f" attempts={len(record.attempts)} tried={_word(_tried(record))}"
    return text if record.code is None else f"{text} code={_word(record.code)}"


def _tried(record: Record) -> str:
    """Whom it was tried at, in order, and how each failed: `a:upstream_error*2,b`."""
    steps = [
        f"{a.provider}:{a.code}" if a.code else a.provider for a in record.attempts
    ]
    runs = [(step, len(list(run))) for step, run in groupby(steps)]
    return ",".join(f"{step}*{times}" if times > 1 else step for step, times in runs)


def _whose(tenant: str) -> str:
    return "" if tenant == "default" else f" tenant={_word(tenant)}"


def _ids(record: Record) -> str:
    """Our id, and the caller's own."""
    client_id = record.client_request_id
    if client_id is None:
        return record.id
    return f"{record.id} client_id={_word(client_id, _LONGEST_ID)}"


def _word(text: str, limit: int = _LONGEST_TEXT) -> str:
    """A value as it may stand in a line: bounded, printable, quoted where it must."""
    if len(text) <= limit and _plain_word(text):
        return text
    text = printable(text, limit)
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
