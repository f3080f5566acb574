"""Writing chat replies as a stream of chunks.

A text delta is put between two prepared halves of its chunk: only the text itself is
encoded, 0.3 µs instead of 1.1 µs for the whole object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from providers.wire.dialect import Dialect, Framing
from providers.wire.envelopes import Problem, in_stream
from providers.wire.translate.chat.mapping import FINISH_OUT
from providers.wire.translate.chat.reply_writer import annotation, image_url
from providers.wire.translate.chat.request_writer import (
    extra_content,
    reasoning_details,
)
from providers.wire.translate.events import (
    AudioDelta,
    Cited,
    Counted,
    Finished,
    ImageMade,
    Logprobs,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)
from providers.wire.translate.request import Reasoning
from providers.wire.translate.streams import StreamWriter
from providers.wire.translate.usage import to_chat
from providers.wire.usage import Usage

JSON = dict[str, Any]


class ChatStreamWriter(StreamWriter):
    """Writes chunks, the role first, usage only if asked for, `[DONE]` last."""

    _usage: Usage | None = None
    _head = b""

    def _more_writers(self) -> dict[type, Callable[[Any], None]]:
        return {
            TextDelta: self._text,
            ReasoningDelta: self._reasoning,
            ReasoningEnd: self._reasoned,
            RefusalDelta: self._refusal,
            ToolCallStart: self._call,
            ToolCallDelta: self._arguments,
            ImageMade: self._image,
            AudioDelta: self._audio,
            Cited: self._cited,
            Logprobs: self._logprobs,
            Counted: self._counted,
            Finished: self._finish,
        }

    def _start(self, start: Start) -> None:
        context = self.context
        head = {
            "id": start.id or f"chatcmpl-{context.id}",
            "object": "chat.completion.chunk",
            "created": context.created if start.created is None else start.created,
            "model": start.model or context.model,
        }
        self._usage = start.usage
        self._head = b"data: " + orjson.dumps(head)[:-1]
        self._texts: dict[int, bytes] = {}
        self._roles: set[int] = set()
        self._role(0)

    def _role(self, choice: int) -> None:
        """Begin a choice: its first chunk tells the role."""
        self._roles.add(choice)
        self._texts[choice] = self._opening(choice, b"content")
        self._delta({"role": "assistant"}, choice)

    def _opening(self, choice: int, field: bytes) -> bytes:
        return self._head + b',"choices":[{"index":%d,"delta":{"%b":' % (choice, field)

    def _text(self, event: TextDelta) -> None:
        opening = self._texts.get(event.choice)
        if opening is None:
            self._role(event.choice)
            opening = self._texts[event.choice]
        self._parts.append(
            b'%b%b},"finish_reason":null}]}\n\n' % (opening, orjson.dumps(event.text))
        )

    def _delta(self, delta: JSON, choice: int, **more: object) -> None:
        if choice not in self._roles:
            self._role(choice)
        found = {"index": choice, "delta": delta, **more}
        found.setdefault("finish_reason", None)
        self._parts.append(
            b'%b,"choices":[%b]}\n\n' % (self._head, orjson.dumps(found))
        )

    def _reasoning(self, event: ReasoningDelta) -> None:
        self._delta({"reasoning_content": event.text}, event.choice)

    def _reasoned(self, event: ReasoningEnd) -> None:
        part = Reasoning("", event.signature, event.origin, event.redacted)
        details = reasoning_details([part])
        if details:
            self._delta({"reasoning_details": details}, event.choice)

    def _refusal(self, event: RefusalDelta) -> None:
        self._delta({"refusal": event.text}, event.choice)

    def _call(self, event: ToolCallStart) -> None:
        call: JSON = {
            "index": event.index,
            "id": event.id,
            "type": "function",
            "function": {"name": event.name, "arguments": ""},
        }
        if event.signature is not None:
            call["extra_content"] = extra_content(event.signature)
        self._delta({"tool_calls": [call]}, event.choice)

    def _arguments(self, event: ToolCallDelta) -> None:
        call = {"index": event.index, "function": {"arguments": event.arguments}}
        self._delta({"tool_calls": [call]}, event.choice)

    def _image(self, event: ImageMade) -> None:
        url = image_url(event.media_type, event.data, event.url)
        image = {"type": "image_url", "image_url": {"url": url}}
        self._delta({"images": [image]}, 0)

    def _audio(self, event: AudioDelta) -> None:
        known = {
            "id": event.id,
            "data": event.data,
            "transcript": event.transcript,
        }
        self._delta({"audio": {n: v for n, v in known.items() if v}}, 0)

    def _cited(self, event: Cited) -> None:
        note = annotation(event)
        if note is not None:
            self._delta({"annotations": [note]}, 0)

    def _logprobs(self, event: Logprobs) -> None:
        self._delta({}, event.choice, logprobs={"content": event.tokens})

    def _counted(self, event: Counted) -> None:
        self._usage = event.usage

    def _finish(self, event: Finished) -> None:
        self._delta({}, event.choice, finish_reason=FINISH_OUT[event.reason])

    def _close(self) -> None:
        if self.context.include_usage and self._usage is not None:
            usage = orjson.dumps(to_chat(self._usage))
            self._parts.append(b'%b,"choices":[],"usage":%b}\n\n' % (self._head, usage))
        self._parts.append(b"data: [DONE]\n\n")

    def _error(self, problem: Problem) -> bytes:
        return in_stream(problem, Dialect.CHAT, Framing.SSE)
