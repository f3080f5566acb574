"""Writing Messages replies as a stream.

A text delta costs the encoding of its text: the rest of its event is prepared when
the block opens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from providers.wire.dialect import Dialect, Framing
from providers.wire.envelopes import Problem, in_stream
from providers.wire.translate.events import (
    Cited,
    Counted,
    Finish,
    Finished,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from providers.wire.translate.messages.mapping import FINISH_OUT
from providers.wire.translate.messages.reply_writer import citation, message_id
from providers.wire.translate.signatures import seal
from providers.wire.translate.streams import StreamWriter, sse
from providers.wire.translate.usage import to_anthropic
from providers.wire.usage import Usage

JSON = dict[str, Any]


class MessagesStreamWriter(StreamWriter):
    """Writes message_start, one block after another, message_delta, message_stop."""

    sequential = True

    _usage: Usage | None = None
    _finished: Finished | None = None
    _refused = False
    _index = -1
    _kind = ""
    _delta_head = b""

    def _more_writers(self) -> dict[type, Callable[[Any], None]]:
        return {
            TextDelta: self._text,
            ReasoningDelta: self._reasoning,
            ReasoningEnd: self._reasoned,
            RefusalDelta: self._refusal,
            ToolCallStart: self._call,
            ToolCallDelta: self._arguments,
            ToolCallEnd: self._shut,
            Cited: self._cited,
            Counted: self._counted,
            Finished: self._finish,
        }

    def _start(self, start: Start) -> None:
        self._usage = start.usage
        usage = to_anthropic(start.usage or Usage(prompt=self.context.prompt_tokens))
        message: JSON = {
            "id": message_id(start.id, self.context),
            "type": "message",
            "role": "assistant",
            "model": start.model or self.context.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        self._send("message_start", message=message)

    def _send(self, kind: str, **members: object) -> None:
        self._parts.append(sse(kind, {"type": kind, **members}))

    def _open(self, kind: str, block: JSON, delta: bytes) -> None:
        """Begin a block, whose deltas begin with the bytes `delta`."""
        self._shut()
        self._kind = kind
        self._index += 1
        self._send("content_block_start", index=self._index, content_block=block)
        self._delta_head = (
            b"event: content_block_delta\n"
            b'data: {"type":"content_block_delta","index":%d,"delta":{%b'
            % (self._index, delta)
        )

    def _shut(self, _event: ToolCallEnd | None = None) -> None:
        if self._kind:
            self._kind = ""
            self._send("content_block_stop", index=self._index)

    def _delta(self, text: str) -> None:
        self._parts.append(b"%b%b}}\n\n" % (self._delta_head, orjson.dumps(text)))

    def _text(self, event: TextDelta | RefusalDelta) -> None:
        if self._kind != "text":
            block: JSON = {"type": "text", "text": ""}
            self._open("text", block, b'"type":"text_delta","text":')
        self._parts.append(b"%b%b}}\n\n" % (self._delta_head, orjson.dumps(event.text)))

    def _refusal(self, event: RefusalDelta) -> None:
        self._refused = True
        self._text(event)

    def _think(self) -> None:
        if self._kind != "thinking":
            block = {"type": "thinking", "thinking": "", "signature": ""}
            self._open("thinking", block, b'"type":"thinking_delta","thinking":')

    def _reasoning(self, event: ReasoningDelta) -> None:
        self._think()
        self._delta(event.text)

    def _reasoned(self, event: ReasoningEnd) -> None:
        if event.redacted is not None:
            data = seal(event.redacted, event.origin, Dialect.MESSAGES)
            self._open("redacted", {"type": "redacted_thinking", "data": data}, b"")
        elif event.signature is not None:
            self._think()
            signature = seal(event.signature, event.origin, Dialect.MESSAGES)
            delta = {"type": "signature_delta", "signature": signature}
            self._send("content_block_delta", index=self._index, delta=delta)
        elif self._kind != "thinking":
            return
        self._shut()

    def _call(self, event: ToolCallStart) -> None:
        if event.signature is not None:
            # A tool_use has no place for it: it travels in the thinking before.
            self._reasoned(ReasoningEnd(event.signature, Dialect.GEMINI))
        block: JSON = {
            "type": "tool_use",
            "id": event.id,
            "name": event.name,
            "input": {},
        }
        self._open("tool_use", block, b'"type":"input_json_delta","partial_json":')

    def _arguments(self, event: ToolCallDelta) -> None:
        if self._kind == "tool_use":
            self._delta(event.arguments)

    def _cited(self, event: Cited) -> None:
        if self._kind == "text" and (found := citation(event)) is not None:
            delta = {"type": "citations_delta", "citation": found}
            self._send("content_block_delta", index=self._index, delta=delta)

    def _counted(self, event: Counted) -> None:
        self._usage = event.usage

    def _finish(self, event: Finished) -> None:
        self._finished = event

    def _close(self) -> None:
        self._shut()
        finished = self._finished or Finished(Finish.STOP)
        reason = finished.reason
        if self._refused and reason is Finish.STOP:
            reason = Finish.REFUSAL
        delta = {
            "stop_reason": FINISH_OUT[reason],
            "stop_sequence": finished.stop_sequence,
        }
        usage = to_anthropic(self._usage or Usage(prompt=self.context.prompt_tokens))
        self._send("message_delta", delta=delta, usage=usage)
        self._send("message_stop")

    def _error(self, problem: Problem) -> bytes:
        return in_stream(problem, Dialect.MESSAGES, Framing.SSE)
