"""HTTP/1.1 as plain bytes, both ways: what fakes send and what taps recorded.

Sans-IO, and written apart from the gateway's own parsers, so that neither hides
the other's mistakes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

EVENT_STREAM = "text/event-stream"
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Message:
    """One request or response. `raw` is every byte of it; `body` has no chunk frames.

    `complete` is False when the recording ends before the body does.
    """

    start: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    raw: bytes
    complete: bool = True

    @property
    def method(self) -> str:
        return self.start.split(" ")[0]

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


def head(status: int, *fields: str) -> bytes:
    """Write a response's head from whole `name: value` lines."""
    lines = (f"HTTP/1.1 {status} Status", *fields, "", "")
    return "\r\n".join(lines).encode("latin-1")


def event_stream_head() -> bytes:
    """The head of a stream of events in chunks."""
    return head(200, f"content-type: {EVENT_STREAM}", "transfer-encoding: chunked")


def chunk(data: bytes) -> bytes:
    """Frame data as one chunk; no data gives nothing, as that would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def whole(body: bytes, *, status: int = 200, kind: str = "application/json") -> bytes:
    """Write a whole response with its length."""
    fields = (f"content-type: {kind}", f"content-length: {len(body)}")
    return head(status, *fields) + body


def post(path: str, body: bytes, *fields: str) -> bytes:
    """Write a JSON request to 127.0.0.1 with exactly this body."""
    lines = (
        f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json",
        f"content-length: {len(body)}", *fields, "", "",
    )  # fmt: skip
    return "\r\n".join(lines).encode("latin-1") + body


def events(body: bytes) -> list[bytes]:
    """Split an event stream after each blank line; the last may be unfinished."""
    parts = body.split(b"\n\n")
    return [part + b"\n\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def data_of(event: bytes) -> object:
    """The JSON of an event's data line; None for a comment or `[DONE]`."""
    for line in event.splitlines():
        if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
            return json.loads(line[5:])
    return None


def requests(recorded: bytes) -> list[Message]:
    """Read the requests that one connection carried."""
    return list(_messages(recorded, to_close=False))


def responses(recorded: bytes) -> list[Message]:
    """Read the responses that one connection carried (none of them to a HEAD)."""
    return list(_messages(recorded, to_close=True))


def _messages(recorded: bytes, *, to_close: bool) -> Iterator[Message]:
    while recorded:
        text, separator, rest = recorded.partition(b"\r\n\r\n")
        if not separator:
            return
        start, *lines = text.decode("latin-1").split("\r\n")
        headers = tuple(_field(line) for line in lines)
        body, taken, complete = _body(dict(headers), rest, to_close=to_close)
        size = len(text) + len(separator) + taken
        yield Message(start, headers, body, recorded[:size], complete)
        recorded = recorded[size:]


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.lower(), value.strip()


def _body(
    headers: dict[str, str], rest: bytes, *, to_close: bool
) -> tuple[bytes, int, bool]:
    """Give the body, how many bytes it took, and whether its end was there."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return dechunk(rest)
    if (length := headers.get("content-length")) is not None:
        body = rest[: int(length)]
        return body, len(body), len(body) == int(length)
    return (rest, len(rest), True) if to_close else (b"", 0, True)


def dechunk(framed: bytes) -> tuple[bytes, int, bool]:
    """Take the frames off: the data, the size of the frames, and was it whole."""
    data, at = b"", 0
    while (line_end := framed.find(b"\r\n", at)) >= 0:
        size = int(framed[at:line_end].split(b";")[0], 16)
        begin = line_end + 2
        if size == 0:
            end = framed.find(b"\r\n\r\n", line_end)
            return data, (len(framed) if end < 0 else end + 4), end >= 0
        data += framed[begin : begin + size]
        at = begin + size + 2
    return data, len(framed), False
