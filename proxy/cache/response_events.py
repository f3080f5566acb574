"""A whole Responses object taken apart into the events of a stream.

Its ids stay, and the last event holds the object as it came: a later request may name
it by `previous_response_id`, and what no codec knows of is not lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson
from msgspec import Struct, field

JSON = dict[str, Any]

_PIECE: Final = 48
# Kinds of parts: the member that holds their text, and what their events are called.
_PARTS: Final = {
    "output_text": ("text", "output_text"),
    "reasoning_text": ("text", "reasoning_text"),
    "summary_text": ("text", "reasoning_summary_text"),
    "refusal": ("refusal", "refusal"),
}


def response_events(response: JSON) -> list[bytes]:
    """Answer the events of a response that has ended, its own last."""
    return list(_Numbered().events(response))


class _Numbered(Struct):
    """Writes events, each with its number."""

    next_number: int = 0
    place: JSON = field(default_factory=dict)

    def events(self, response: JSON) -> Iterator[bytes]:
        status = response.get("status")
        begun = {**response, "status": "in_progress", "output": [], "usage": None}
        yield self._event("created", response=begun)
        yield self._event("in_progress", response=begun)
        for index, item in enumerate(response.get("output") or ()):
            yield from self._item(index, item)
        yield self._event(str(status), response=response)

    def _item(self, index: int, item: JSON) -> Iterator[bytes]:
        opened = {**item}
        if "status" in item:
            opened["status"] = "in_progress"
        for name in ("content", "summary"):
            if isinstance(item.get(name), list):
                opened[name] = []
        if item.get("type") == "function_call":
            opened["arguments"] = ""
        yield self._event("output_item.added", output_index=index, item=opened)
        self.place = {"item_id": item.get("id"), "output_index": index}
        yield from self._arguments(item)
        for at, part in enumerate(item.get("summary") or ()):
            part_name = "reasoning_summary_part"
            yield from self._part(part_name, {"summary_index": at}, part)
        for at, part in enumerate(item.get("content") or ()):
            yield from self._part("content_part", {"content_index": at}, part)
        yield self._event("output_item.done", output_index=index, item=item)

    def _arguments(self, item: JSON) -> Iterator[bytes]:
        text = item.get("arguments")
        if item.get("type") != "function_call" or not isinstance(text, str):
            return
        name = "function_call_arguments"
        for piece in _pieces(text):
            yield self._event(f"{name}.delta", **self.place, delta=piece)
        yield self._event(
            f"{name}.done", **self.place, name=item.get("name"), arguments=text
        )

    def _part(self, name: str, index: JSON, part: JSON) -> Iterator[bytes]:
        place = {**self.place, **index}
        member, texts = _PARTS.get(str(part.get("type")), ("", ""))
        text = part.get(member)
        opened = {**part, member: ""} if isinstance(text, str) else part
        if "annotations" in part:
            opened = {**opened, "annotations": []}
        yield self._event(f"{name}.added", **place, part=opened)
        if isinstance(text, str):
            more: JSON = {"logprobs": []} if texts == "output_text" else {}
            for piece in _pieces(text):
                yield self._event(f"{texts}.delta", **place, delta=piece, **more)
            for at, note in enumerate(part.get("annotations") or ()):
                noted = {"annotation_index": at, "annotation": note}
                yield self._event(f"{texts}.annotation.added", **place, **noted)
            yield self._event(f"{texts}.done", **place, **{member: text}, **more)
        yield self._event(f"{name}.done", **place, part=part)

    def _event(self, name: str, /, **members: Any) -> bytes:
        kind = f"response.{name}"
        found = {"type": kind, "sequence_number": self.next_number, **members}
        self.next_number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(found))


def _pieces(text: str) -> Iterator[str]:
    for at in range(0, len(text), _PIECE):
        yield text[at : at + _PIECE]
