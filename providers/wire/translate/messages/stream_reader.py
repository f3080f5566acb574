"""Reading Messages replies: the events of a stream, and the whole message."""

from __future__ import annotations

from typing import Any

from providers.wire.dialect import Dialect
from providers.wire.translate.events import (
    Cited,
    Counted,
    Finish,
    Finished,
    ReasoningDelta,
    ReasoningEnd,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from providers.wire.translate.messages.errors import failed_of
from providers.wire.translate.messages.mapping import FINISH_IN
from providers.wire.translate.reply import Reply, assemble
from providers.wire.translate.signatures import unseal
from providers.wire.translate.streams import StreamReader
from providers.wire.translate.toolcalls import dump
from providers.wire.translate.usage import from_anthropic

JSON = dict[str, Any]


def read_reply(body: bytes, made_id: str = "") -> Reply:
    """Read a whole message."""
    return assemble(MessagesStreamReader(made_id).whole(body))


class _Block:
    """An open block: of a tool call its `index` among calls, of thinking its seal."""

    __slots__ = ("given", "index", "kind", "said", "sealed")

    def __init__(self, kind: str, index: int, given: object) -> None:
        self.kind = kind
        self.index = index
        self.given = given
        self.said = False
        self.sealed = ""


class MessagesStreamReader(StreamReader):
    """Reads events up to `message_stop`; blocks of Anthropic's own tools are skipped.

    Counts and the reason to stop come cumulatively, perhaps more than once: they are
    told at the end.
    """

    def __init__(self, made_id: str = "", **options: Any) -> None:
        super().__init__(made_id, **options)
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._counts: list[object] = []
        self._stopped: JSON = {}

    def _read(self, found: JSON) -> None:
        kind = found.get("type")
        if kind == "content_block_delta":
            self._delta(found.get("delta") or {}, found.get("index") or 0)
        elif kind == "content_block_start":
            self._open(found.get("content_block") or {}, found.get("index") or 0)
        elif kind == "content_block_stop":
            self._shut(found.get("index") or 0)
        elif kind == "message_start":
            self._begin(found.get("message") or {})
        elif kind == "message_delta":
            self._stopped = found.get("delta") or {}
            self._finished = True
            self._counts.append(found.get("usage"))
        elif kind == "message_stop":
            self._end()
        elif kind == "error":
            self._give_up(failed_of(found))
        elif kind == "message":
            self._whole(found)

    def _whole(self, message: JSON) -> None:
        self._begin(message)
        for index, block in enumerate(message.get("content") or ()):
            self._open(block, index)
            self._shut(index)
        self._stopped = message

    def _begin(self, message: JSON) -> None:
        self._counts.append(message.get("usage"))
        usage = from_anthropic(message.get("usage"))
        name, model = message.get("id") or "", message.get("model") or ""
        self._out.append(Start(name, model, None, usage))

    def _open(self, found: JSON, at: int) -> None:
        kind = found.get("type") or ""
        block = self._blocks[at] = _Block(kind, 0, found.get("input"))
        if kind == "text":
            if found.get("text"):
                self._out.append(TextDelta(found["text"]))
            for citation in found.get("citations") or ():
                self._cite(citation)
        elif kind == "thinking":
            block.sealed = found.get("signature") or ""
            if found.get("thinking"):
                self._out.append(ReasoningDelta(found["thinking"]))
        elif kind == "redacted_thinking":
            data, origin = unseal(found.get("data") or "", Dialect.MESSAGES)
            self._out.append(ReasoningEnd(None, origin, data))
        elif kind == "tool_use":
            block.index = self._calls
            self._calls += 1
            name, call_id = found.get("name") or "", found.get("id") or ""
            self._out.append(ToolCallStart(block.index, call_id, name))

    def _delta(self, delta: JSON, at: int) -> None:
        kind = delta.get("type")
        if kind == "text_delta":
            if delta.get("text"):
                self._out.append(TextDelta(delta["text"]))
            return
        block = self._blocks.get(at)
        if block is None:
            return
        if kind == "input_json_delta":
            if delta.get("partial_json") and block.kind == "tool_use":
                block.said = True
                self._out.append(ToolCallDelta(block.index, delta["partial_json"]))
        elif kind == "thinking_delta":
            if delta.get("thinking"):
                self._out.append(ReasoningDelta(delta["thinking"]))
        elif kind == "signature_delta":
            block.sealed += delta.get("signature") or ""
        elif kind == "citations_delta":
            self._cite(delta.get("citation") or {})

    def _cite(self, citation: JSON) -> None:
        self._out.append(
            Cited(
                Dialect.MESSAGES,
                citation,
                citation.get("url"),
                citation.get("title") or citation.get("document_title"),
                citation.get("cited_text"),
            )
        )

    def _shut(self, at: int) -> None:
        block = self._blocks.pop(at, None)
        if block is None:
            return
        if block.kind == "tool_use":
            if not block.said:
                given = block.given if isinstance(block.given, dict) else {}
                self._out.append(ToolCallDelta(block.index, dump(given)))
            self._out.append(ToolCallEnd(block.index))
        elif block.kind == "thinking":
            if block.sealed:
                signature, origin = unseal(block.sealed, Dialect.MESSAGES)
                self._out.append(ReasoningEnd(signature, origin))
            else:
                self._out.append(ReasoningEnd())

    def _end(self) -> None:
        for at in list(self._blocks):
            self._shut(at)
        reason = self._stopped.get("stop_reason")
        if reason:
            finish = FINISH_IN.get(reason, Finish.STOP)
            sequence = self._stopped.get("stop_sequence")
            self._out.append(Finished(finish, sequence))
        usage = from_anthropic(*self._counts)
        if usage is not None:
            self._out.append(Counted(usage))
        super()._end()
