"""Writing generateContent replies as a stream; calls go whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from providers.wire.envelopes import Problem
from providers.wire.translate.events import (
    AudioDelta,
    Cited,
    Counted,
    Finish,
    Finished,
    ImageMade,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from providers.wire.translate.gemini.errors import error_object
from providers.wire.translate.gemini.mapping import FINISH_OUT
from providers.wire.translate.gemini.reply_writer import grounding_chunk, part_of
from providers.wire.translate.media import DEFAULT_IMAGE
from providers.wire.translate.streams import Context, StreamWriter
from providers.wire.translate.toolcalls import OpenCall
from providers.wire.translate.usage import to_gemini
from providers.wire.usage import Usage

JSON = dict[str, Any]


class GeminiStreamWriter(StreamWriter):
    """Writes chunks; the last has the finishReason and the usage, none ends it."""

    sequential = True

    _usage: Usage | None = None
    _finish = Finish.STOP
    _tail = b""

    def __init__(self, context: Context) -> None:
        self._call = OpenCall()
        super().__init__(context)

    def _more_writers(self) -> dict[type, Callable[[Any], None]]:
        return {
            TextDelta: self._text,
            RefusalDelta: self._text,
            ReasoningDelta: self._reasoning,
            ToolCallStart: self._call.start,
            ToolCallDelta: self._call.add,
            ToolCallEnd: self._called,
            ImageMade: self._image,
            AudioDelta: self._audio,
            Cited: self._cited,
            Counted: self._counted,
            Finished: self._finished,
        }

    def _start(self, start: Start) -> None:
        self._usage = start.usage
        self._identity: JSON = {
            "modelVersion": start.model or self.context.model,
            "responseId": start.id or self.context.id,
        }
        self._tail = b"," + orjson.dumps(self._identity)[1:] + b"\n\n"

    def _part(self, part: object) -> None:
        self._parts.append(
            b'data: {"candidates":[{"content":{"role":"model","parts":[%b]},'
            b'"index":0}]%b' % (orjson.dumps(part), self._tail)
        )

    def _text(self, event: TextDelta | RefusalDelta) -> None:
        self._part({"text": event.text})

    def _reasoning(self, event: ReasoningDelta) -> None:
        self._part({"text": event.text, "thought": True})

    def _called(self, _event: ToolCallEnd) -> None:
        self._part(part_of(self._call.whole()))

    def _image(self, event: ImageMade) -> None:
        kind = event.media_type or DEFAULT_IMAGE
        self._part({"inlineData": {"mimeType": kind, "data": event.data or ""}})

    def _audio(self, event: AudioDelta) -> None:
        if event.data:
            kind = event.media_type or "audio/wav"
            self._part({"inlineData": {"mimeType": kind, "data": event.data}})

    def _cited(self, event: Cited) -> None:
        grounding = {"groundingChunks": [grounding_chunk(event)]}
        candidate = {"groundingMetadata": grounding, "index": 0}
        self._send({"candidates": [candidate], **self._identity})

    def _send(self, found: JSON) -> None:
        self._parts.append(b"data: %b\n\n" % orjson.dumps(found))

    def _counted(self, event: Counted) -> None:
        self._usage = event.usage

    def _finished(self, event: Finished) -> None:
        self._finish = event.reason

    def _close(self) -> None:
        candidate = {
            "content": {"role": "model", "parts": []},
            "finishReason": FINISH_OUT[self._finish],
            "index": 0,
        }
        last: JSON = {"candidates": [candidate], **self._identity}
        if self._usage is not None:
            last["usageMetadata"] = to_gemini(self._usage)
        self._send(last)

    def _error(self, problem: Problem) -> bytes:
        return b"data: %b\n\n" % orjson.dumps(error_object(problem))
