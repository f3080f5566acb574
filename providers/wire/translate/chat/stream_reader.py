"""Reading chat replies: chunks of a stream, and the whole completion."""

from __future__ import annotations

from typing import Any

import orjson

from providers.wire.dialect import Dialect
from providers.wire.translate import toolcalls
from providers.wire.translate.chat.errors import failed_of
from providers.wire.translate.chat.mapping import FINISH_IN, REASONING_FORMATS
from providers.wire.translate.chat.request_reader import read_signature
from providers.wire.translate.events import (
    AudioDelta,
    Cited,
    Counted,
    Finish,
    Finished,
    ImageMade,
    Logprobs,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from providers.wire.translate.media import DEFAULT_IMAGE
from providers.wire.translate.reply import Reply, assemble
from providers.wire.translate.streams import StreamReader
from providers.wire.translate.usage import from_openai

JSON = dict[str, Any]


def read_reply(body: bytes, made_id: str = "") -> Reply:
    """Read a whole completion."""
    return assemble(ChatStreamReader(made_id).whole(body))


class _Call:
    """A tool call that is coming in; `index` counts ours, not the server's."""

    __slots__ = ("arguments", "ended", "id", "index", "started")

    def __init__(self, index: int, call_id: str) -> None:
        self.index = index
        self.id = call_id
        self.arguments: list[str] = []
        self.started = False
        self.ended = False


class ChatStreamReader(StreamReader):
    """Reads `chat.completion.chunk` events up to `[DONE]`, or a `chat.completion`."""

    def __init__(self, made_id: str = "", **options: Any) -> None:
        super().__init__(made_id, **options)
        self._started = False
        self._calls: dict[tuple[int, int], _Call] = {}
        self._order: dict[int, list[_Call]] = {}

    def _see(self, payload: bytes) -> None:
        if payload[:6] == b"[DONE]":
            self._end()
        else:
            super()._see(payload)

    def _end(self) -> None:
        for choice in self._order:
            self._end_calls(choice)
        super()._end()

    def _read(self, found: JSON) -> None:
        if not self._started:
            self._begin(found)
        choices = found.get("choices")
        if choices:
            for choice in choices:
                delta = choice.get("delta") or choice.get("message")
                at = choice.get("index") or 0
                if delta:
                    self._delta(delta, at)
                if choice.get("logprobs"):
                    self._logprobs(choice["logprobs"], at)
                if choice.get("finish_reason"):
                    self._finish(choice["finish_reason"], at, found)
        if found.get("usage"):
            usage = from_openai(found["usage"])
            if usage is not None:
                self._out.append(Counted(usage))
        if found.get("error"):
            self._give_up(failed_of(found))

    def _begin(self, found: JSON) -> None:
        if not found.get("choices") and found.get("error"):
            return
        self._started = True
        created = found.get("created")
        self._out.append(
            Start(
                found.get("id") or "",
                found.get("model") or "",
                int(created) if isinstance(created, int | float) else None,
                from_openai(found.get("usage")),
            )
        )

    def _delta(self, delta: JSON, at: int) -> None:
        text = delta.get("content")
        more = len(delta) > 1 or not text
        if more:
            self._read_thoughts(delta, at)
        if text:
            if isinstance(text, str):
                self._out.append(TextDelta(text, at))
            else:
                self._read_parts(text, at)
        if more:
            self._read_rare(delta, at)
            for position, call in enumerate(delta.get("tool_calls") or ()):
                self._read_call(call, position, at)

    def _read_parts(self, parts: list[Any], at: int) -> None:
        """Read content that is an array, as some servers send it."""
        for part in parts:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                self._out.append(TextDelta(part["text"], at))

    def _read_thoughts(self, delta: JSON, at: int) -> None:
        thought: object = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str) and thought:
            self._out.append(ReasoningDelta(thought, at))
        for detail in delta.get("reasoning_details") or ():
            origin = REASONING_FORMATS.get(detail.get("format") or "")
            redacted = None
            if detail.get("type") == "reasoning.encrypted":
                redacted = detail.get("data")
            signature = detail.get("signature")
            if signature or redacted:
                self._out.append(ReasoningEnd(signature, origin, redacted, at))

    def _read_rare(self, delta: JSON, at: int) -> None:
        refusal = delta.get("refusal")
        if refusal:
            self._out.append(RefusalDelta(refusal, at))
        for image in delta.get("images") or ():
            self._out.append(_image((image.get("image_url") or {}).get("url") or ""))
        audio = delta.get("audio")
        if audio:
            self._out.append(
                AudioDelta(
                    audio.get("data") or "",
                    audio.get("transcript") or "",
                    audio.get("id") or "",
                )
            )
        for note in delta.get("annotations") or ():
            cited = note.get("url_citation") or {}
            self._out.append(
                Cited(Dialect.CHAT, note, cited.get("url"), cited.get("title"))
            )

    def _read_call(self, found: JSON, position: int, at: int) -> None:
        function = found.get("function") or found.get("custom") or {}
        name = function.get("name") or ""
        call = self._call(found, name, position, at)
        if name and not call.started:
            call.started = True
            signature = read_signature(found)
            self._out.append(ToolCallStart(call.index, call.id, name, signature, at))
            for earlier in call.arguments:
                self._out.append(ToolCallDelta(call.index, earlier, at))
        more = function.get("arguments") or function.get("input") or ""
        if isinstance(more, dict):
            more = orjson.dumps(more).decode()
        if more and not call.ended:
            call.arguments.append(more)
            if call.started:
                self._out.append(ToolCallDelta(call.index, more, at))

    def _call(self, found: JSON, name: str, position: int, at: int) -> _Call:
        """Find the call a delta belongs to, or begin one.

        Some servers give every parallel call the index 0: another id with a name
        is another call.
        """
        order = self._order.setdefault(at, [])
        index = found.get("index")
        if index is None:
            index = position if name or not order else len(order) - 1
        key = (at, index)
        call = self._calls.get(key)
        call_id = found.get("id") or ""
        if call is not None and not (name and call_id and call_id != call.id):
            return call
        for earlier in order:
            self._end_if_whole(earlier, at)
        ours = len(order)
        call = _Call(ours, call_id or toolcalls.made_id(self.made_id, ours))
        self._calls[key] = call
        order.append(call)
        return call

    def _end_if_whole(self, call: _Call, at: int) -> None:
        """End a call early when its arguments are complete: calls may interleave."""
        if call.ended or not call.started or not call.arguments:
            return
        try:
            orjson.loads("".join(call.arguments))
        except orjson.JSONDecodeError:
            return
        call.ended = True
        self._out.append(ToolCallEnd(call.index, at))

    def _end_calls(self, at: int) -> None:
        for call in self._order.get(at, ()):
            if call.started and not call.ended:
                call.ended = True
                self._out.append(ToolCallEnd(call.index, at))

    def _logprobs(self, found: JSON, at: int) -> None:
        tokens = found.get("content") or found.get("refusal")
        if tokens:
            self._out.append(Logprobs(tokens, at))

    def _finish(self, reason: str, at: int, found: JSON) -> None:
        self._end_calls(at)
        if reason == "error" and found.get("error"):
            return
        finish = FINISH_IN.get(reason, Finish.STOP)
        if finish is Finish.STOP and any(c.started for c in self._order.get(at, ())):
            finish = Finish.TOOL_CALLS  # some servers say "stop" all the same
        self._finished = True
        self._out.append(Finished(finish, None, at))


def _image(url: str) -> ImageMade:
    head, comma, data = url.partition(",")
    if url.startswith("data:") and comma:
        return ImageMade(head[5:].partition(";")[0] or DEFAULT_IMAGE, data)
    return ImageMade("", None, url)
