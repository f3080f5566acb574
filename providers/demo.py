"""The provider of --demo: an adapter like any other, and the server it speaks to.

The server is a `Responder`, sans-IO: request bytes in, reply bytes and pauses out.
Whoever plays it in place of a socket waits `delay_s`, hands on `data`, hangs up on
`close`. Model names call up faults: demo-error, demo-broken, demo-slow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from msgspec import Struct

from providers import demo_replies as replies
from providers.base import Capabilities, ProbeReply
from providers.demo_answer import DemoError, count_tokens, embeddings
from providers.demo_replies import Dialogue
from providers.listing import read_entries
from providers.openai_compatible import OpenAICompatible

MAX_HEAD_BYTES: Final = 65_536
MAX_BODY_BYTES: Final = 32 << 20
TOKEN_DELAY_S: Final = 0.02
SLOW_START_S: Final = 3.0
SLOW_TOKEN_DELAY_S: Final = 0.5
_BROKEN_AFTER_EVENTS: Final = 4
FAULTY: Final = ("demo-error", "demo-broken", "demo-slow")

_REASONS: Final[Mapping[int, str]] = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    411: "Length Required",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
}


class Demo(OpenAICompatible):
    """Canned answers from inside the process."""

    kind = "demo"
    title = "Demo"
    capabilities = Capabilities(
        operations=frozenset(
            {
                "chat",
                "completions",
                "embeddings",
                "responses",
                "messages",
                "count_tokens",
            }
        )
    )
    default_url = "demo://local"
    metadata_paths = frozenset({"GET /health"})

    def recognises(self, replies: Mapping[str, ProbeReply]) -> bool:
        entries = read_entries(replies.get("models"), "data") or []
        return any(self.owner_of(entry) == "local-ai-demo" for entry in entries)


class Step(Struct, frozen=True):
    """Wait `delay_s`, then hand on `data`; with `close`, hang up after that."""

    delay_s: float = 0.0
    data: bytes = b""
    close: bool = False


class _Head(Struct, frozen=True):
    method: str
    path: str
    length: int
    keep: bool


class Responder:
    """One connection to the demo server: feed it request bytes, play its steps.

    Requests may be pipelined; after a step with `close` further bytes are ignored.
    """

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._closed = False
        self._count = 0

    def feed(self, data: bytes) -> list[Step]:
        """Take bytes as they come; answer the steps of all requests now complete."""
        self._waiting += data
        steps: list[Step] = []
        while not self._closed:
            try:
                taken = self._take()
            except DemoError as error:
                steps += self._refuse(error)
                break
            if taken is None:
                break
            steps += self._answer(*taken)
        return steps

    def _take(self) -> tuple[_Head, bytes] | None:
        """Cut one whole request off the buffer; None while it is not all there."""
        end = self._waiting.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
        if end < 0:
            if len(self._waiting) >= MAX_HEAD_BYTES:
                raise DemoError(431, "the request head is too large")
            return None
        head = _read_head(bytes(self._waiting[:end]))
        size = end + 4 + head.length
        if len(self._waiting) < size:
            return None
        body = bytes(self._waiting[end + 4 : size])
        del self._waiting[:size]
        return head, body

    def _refuse(self, error: DemoError) -> list[Step]:
        """Answer what is not HTTP as we take it, and hang up: no telling what follows."""
        self._closed = True
        body = replies.error_body("", error.status, error.message, error.code)
        return [Step(data=_whole(error.status, body, keep=False)), Step(close=True)]

    def _answer(self, head: _Head, body: bytes) -> list[Step]:
        self._count += 1
        try:
            steps = list(self._reply(head, body))
        except DemoError as error:
            text = replies.error_body(
                head.path, error.status, error.message, error.code
            )
            steps = [Step(data=_whole(error.status, text, head.keep))]
        if not head.keep and not steps[-1].close:
            steps.append(Step(close=True))
        self._closed = steps[-1].close
        return steps

    def _reply(self, head: _Head, body: bytes) -> Iterator[Step]:
        if head.path in ("/v1/models", "/health"):
            if head.method != "GET":
                raise DemoError(405, f"{head.path} takes GET only")
            found = replies.models() if head.path == "/v1/models" else {"status": "ok"}
            yield Step(data=_whole(200, orjson.dumps(found), head.keep))
            return
        dialogue = replies.DIALOGUES.get(head.path)
        plain = {
            "/v1/embeddings": embeddings,
            "/v1/messages/count_tokens": count_tokens,
        }.get(head.path)
        if dialogue is None and plain is None:
            raise DemoError(404, f"no such path: {head.path}")
        if head.method != "POST":
            raise DemoError(405, f"{head.path} takes POST only")
        request = _read_request(body)
        if plain is not None:
            document = orjson.dumps(plain(request))
            yield Step(_start_delay_s(request), _whole(200, document, head.keep))
        elif dialogue is not None:
            yield from self._converse(dialogue, request, head.keep)

    def _converse(
        self, dialogue: Dialogue, request: dict[str, Any], keep: bool
    ) -> Iterator[Step]:
        answer = dialogue.answer(request, f"demo{self._count}")
        start_s, broken = _start_delay_s(request), request["model"] == "demo-broken"
        if request.get("stream") is not True:
            data = _whole(200, orjson.dumps(dialogue.whole(answer)), keep)
            yield Step(start_s, data[: len(data) // 2] if broken else data)
        else:
            slow = request["model"] == "demo-slow"
            token_s = SLOW_TOKEN_DELAY_S if slow else TOKEN_DELAY_S
            yield Step(start_s, _stream_head(keep))
            for number, event in enumerate(dialogue.events(answer, request)):
                if broken and number == _BROKEN_AFTER_EVENTS:
                    break
                yield Step(token_s if number else 0.0, _chunk(event))
            if not broken:
                yield Step(data=b"0\r\n\r\n")
        if broken:
            self._closed = True
            yield Step(close=True)


def _read_head(head: bytes) -> _Head:
    line, *fields = head.decode("latin-1").split("\r\n")
    words = line.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise DemoError(400, "the request line is not HTTP/1.1")
    values: dict[str, str] = {}
    for text in fields:
        name, colon, value = text.partition(":")
        if not colon or not name or name != name.strip():
            raise DemoError(400, "a header field is malformed")
        values[name.lower()] = value.strip()
    if "transfer-encoding" in values:
        raise DemoError(411, "the demo provider takes bodies with a Content-Length")
    length = values.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise DemoError(400, "Content-Length is not a number")
    if len(length) > 12 or int(length) > MAX_BODY_BYTES:
        raise DemoError(413, "the body is too large")
    keep = words[2] == "HTTP/1.1" and values.get("connection", "").lower() != "close"
    return _Head(words[0], words[1].partition("?")[0], int(length), keep)


def _read_request(body: bytes) -> dict[str, Any]:
    try:
        request = orjson.loads(body)
    except ValueError as error:
        raise DemoError(400, "the body is not valid JSON") from error
    if not isinstance(request, dict):
        raise DemoError(400, "the body is not a JSON object")
    model = request.get("model")
    if model == "demo-error":
        raise DemoError(500, "demo-error fails on purpose")
    if model not in replies.MODELS + FAULTY:
        known = ", ".join(replies.MODELS)
        message = f"no such model: {model!r}; there are {known}"
        raise DemoError(404, message, "model_not_found")
    return request


def _start_delay_s(request: dict[str, Any]) -> float:
    return SLOW_START_S if request["model"] == "demo-slow" else TOKEN_DELAY_S


def _whole(status: int, body: bytes, keep: bool) -> bytes:
    length = f"content-length: {len(body)}\r\n"
    return _head(status, "application/json", length, keep) + body


def _stream_head(keep: bool) -> bytes:
    return _head(200, "text/event-stream", "transfer-encoding: chunked\r\n", keep)


def _head(status: int, kind: str, framing: str, keep: bool) -> bytes:
    connection = "" if keep else "connection: close\r\n"
    line = f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
    return f"{line}content-type: {kind}\r\n{framing}{connection}\r\n".encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
