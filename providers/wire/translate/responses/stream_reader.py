"""Reading Responses replies: the events of a stream, and the whole response."""

from __future__ import annotations

from typing import Any

from providers.wire.dialect import Dialect
from providers.wire.translate.chat.errors import failed_of
from providers.wire.translate.events import (
    Cited,
    Counted,
    Event,
    Failed,
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
from providers.wire.translate.media import image_type
from providers.wire.translate.reply import Reply, assemble
from providers.wire.translate.request import Source
from providers.wire.translate.responses.mapping import FINISH_IN
from providers.wire.translate.signatures import unseal
from providers.wire.translate.streams import StreamReader
from providers.wire.translate.toolcalls import dump
from providers.wire.translate.usage import from_openai

JSON = dict[str, Any]
_CALLS = frozenset(("function_call", "custom_tool_call"))
_TERMINAL = frozenset(("response.completed", "response.incomplete", "response.failed"))


def read_reply(body: bytes, made_id: str = "") -> Reply:
    """Read a whole response."""
    return assemble(ResponsesStreamReader(made_id).whole(body))


class _Item:
    """An item that is coming in; of a call, its `index` among calls."""

    __slots__ = ("index", "kind", "said")

    def __init__(self, kind: str, index: int) -> None:
        self.kind = kind
        self.index = index
        self.said = False


class ResponsesStreamReader(StreamReader):
    """Reads events up to completed, incomplete, failed or error.

    Items are known by their id, or by their place: not every server tells both.
    """

    def __init__(self, made_id: str = "", **options: Any) -> None:
        super().__init__(made_id, **options)
        self._items: dict[object, _Item] = {}
        self._calls = 0
        self._started = False
        self._rare = {
            "response.output_item.added": self._added,
            "response.output_item.done": self._done,
            "response.function_call_arguments.delta": self._arguments,
            "response.reasoning_summary_text.delta": self._reasoning,
            "response.reasoning_text.delta": self._reasoning,
            "response.reasoning_summary_part.added": self._reasoning_part,
            "response.refusal.delta": self._refusal,
            "response.output_text.annotation.added": self._annotation,
            "error": self._error,
        }

    def _read(self, found: JSON) -> None:
        kind = found.get("type") or ""
        if kind == "response.output_text.delta":
            if found.get("delta"):
                self._out.append(TextDelta(found["delta"]))
            if found.get("logprobs"):
                self._out.append(Logprobs(found["logprobs"]))
        elif kind in self._rare:
            self._rare[kind](found)
        elif found.get("object") == "response":
            self._whole(found)
        elif kind in _TERMINAL:
            self._close(found.get("response") or {})
        elif kind == "response.created":
            self._begin(found.get("response") or {})

    def _begin(self, response: JSON) -> None:
        if self._started:
            return
        self._started = True
        created = response.get("created_at")
        self._out.append(
            Start(
                response.get("id") or "",
                response.get("model") or "",
                None if created is None else int(created),
            )
        )

    def _whole(self, response: JSON) -> None:
        self._begin(response)
        for index, item in enumerate(response.get("output") or ()):
            event = {"item": item, "output_index": index}
            self._added(event)
            for part in item.get("content") or ():
                self._content(part, item.get("type"))
            for at, part in enumerate(item.get("summary") or ()):
                self._reasoning_part({"summary_index": at})
                self._reasoning({"delta": part.get("text")})
            self._done(event)
        self._close(response)

    def _content(self, part: JSON, item_kind: object) -> None:
        kind = part.get("type")
        if kind == "output_text":
            if part.get("text"):
                self._out.append(TextDelta(part["text"]))
            if part.get("logprobs"):
                self._out.append(Logprobs(part["logprobs"]))
            for note in part.get("annotations") or ():
                self._annotation({"annotation": note})
        elif kind == "refusal":
            self._refusal({"delta": part.get("refusal")})
        elif kind == "reasoning_text" and item_kind == "reasoning":
            self._reasoning({"delta": part.get("text")})

    def _added(self, found: JSON) -> None:
        item = found.get("item") or {}
        kind = item.get("type") or ""
        known = _Item(kind, self._calls)
        self._items[item.get("id")] = self._items[found.get("output_index")] = known
        if kind in _CALLS:
            self._calls += 1
            call_id = item.get("call_id") or item.get("id") or ""
            start = ToolCallStart(known.index, call_id, item.get("name") or "")
            self._out.append(start)

    def _item(self, found: JSON) -> _Item | None:
        return self._items.get(found.get("item_id")) or self._items.get(
            found.get("output_index")
        )

    def _arguments(self, found: JSON) -> None:
        item = self._item(found)
        if item is not None and found.get("delta"):
            item.said = True
            self._out.append(ToolCallDelta(item.index, found["delta"]))

    def _done(self, found: JSON) -> None:
        item = found.get("item") or {}
        known = self._items.get(item.get("id")) or self._items.get(
            found.get("output_index")
        )
        if known is None:
            return
        if known.kind in _CALLS:
            if not known.said:
                self._out.append(ToolCallDelta(known.index, _arguments_of(item)))
            self._out.append(ToolCallEnd(known.index))
        elif known.kind == "reasoning":
            self._out.append(_reasoning_end(item))
        elif known.kind == "image_generation_call" and item.get("result"):
            data = item["result"]
            self._out.append(ImageMade(image_type(Source(data=data)), data))

    def _reasoning(self, found: JSON) -> None:
        if found.get("delta"):
            self._out.append(ReasoningDelta(found["delta"]))

    def _reasoning_part(self, found: JSON) -> None:
        if found.get("summary_index"):
            self._out.append(ReasoningDelta("\n\n"))

    def _refusal(self, found: JSON) -> None:
        if found.get("delta"):
            self._out.append(RefusalDelta(found["delta"]))

    def _annotation(self, found: JSON) -> None:
        note = found.get("annotation") or {}
        title = note.get("title") or note.get("filename")
        self._out.append(Cited(Dialect.RESPONSES, note, note.get("url"), title))

    def _error(self, found: JSON) -> None:
        error = found.get("error")
        self._give_up(failed_of({"error": error or found}))

    def _close(self, response: JSON) -> None:
        self._begin(response)
        usage = from_openai(response.get("usage"))
        status = response.get("status")
        ends: list[Event] = []
        if status in {"failed", "cancelled"}:
            error = response.get("error")
            failed = failed_of({"error": error}) if error else Failed("cancelled")
        else:
            failed = None
            reason = (response.get("incomplete_details") or {}).get("reason")
            finish = Finish.TOOL_CALLS if self._calls else Finish.STOP
            if status == "incomplete":
                finish = FINISH_IN.get(reason or "", Finish.LENGTH)
            ends.append(Finished(finish))
        if usage is not None:
            ends.append(Counted(usage))
        self._out += ends
        if failed is not None:
            self._give_up(failed)
        else:
            self._end()


def _arguments_of(item: JSON) -> str:
    if item.get("type") == "custom_tool_call":
        return dump({"input": item.get("input") or ""})
    return item.get("arguments") or "{}"


def _reasoning_end(item: JSON) -> ReasoningEnd:
    sealed = item.get("encrypted_content")
    if not sealed:
        return ReasoningEnd()
    signature, origin = unseal(sealed, Dialect.RESPONSES)
    return ReasoningEnd(signature, origin)
