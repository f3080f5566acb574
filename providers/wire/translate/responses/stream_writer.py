"""Writing Responses replies: every event of a stream, and the whole response.

A whole response is what the last event of its stream holds, so there is one writer.
A text delta costs the encoding of its text and its number.
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
    End,
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
from providers.wire.translate.reply import Reply, events_of
from providers.wire.translate.responses.items import (
    annotation,
    call_item,
    custom_item,
    image_item,
    message_item,
    reasoning_item,
    response_id,
    response_object,
    text_part,
)
from providers.wire.translate.responses.mapping import FINISH_OUT
from providers.wire.translate.responses.request_writer import (
    free_text,
    freeform_names,
)
from providers.wire.translate.signatures import seal
from providers.wire.translate.streams import Context, StreamWriter, sse
from providers.wire.translate.usage import to_responses
from providers.wire.usage import Usage

JSON = dict[str, Any]


def write_reply(reply: Reply, context: Context) -> JSON:
    """Write a whole response."""
    writer = ResponsesStreamWriter(context)
    writer.write(events_of(reply))
    if not writer.ended:
        writer.write([End()])
    return writer.response


class ResponsesStreamWriter(StreamWriter):
    """Writes items one after another; `response` is what the reply has become."""

    sequential = True

    _usage: Usage | None = None
    _finish = Finish.STOP
    _number = 0
    _index = -1
    _kind = ""
    _head = b""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.response: JSON = {}
        self._freeform = freeform_names(context.request)
        self._item_id = ""
        self._pieces: list[str] = []
        self._notes: list[JSON] = []
        self._logprobs: list[JSON] = []
        self._call = ToolCallStart(0, "", "")
        self._sealed: str | None = None

    def _more_writers(self) -> dict[type, Callable[[Any], None]]:
        return {
            TextDelta: self._text,
            ReasoningDelta: self._reasoning,
            ReasoningEnd: self._reasoned,
            RefusalDelta: self._refusal,
            ToolCallStart: self._called,
            ToolCallDelta: self._arguments,
            ToolCallEnd: self._shut,
            ImageMade: self._image,
            Cited: self._cited,
            Logprobs: self._counted_tokens,
            Counted: self._counted,
            Finished: self._finished,
        }

    def _start(self, start: Start) -> None:
        self._usage = start.usage
        model = start.model or self.context.model
        self.response = response_object(self.context, model)
        self._send("response.created", response=self.response)
        self._send("response.in_progress", response=self.response)

    def _send(self, kind: str, **members: object) -> None:
        number = self._number
        self._number += 1
        self._parts.append(
            sse(kind, {"type": kind, "sequence_number": number, **members})
        )

    def _send_of_item(self, kind: str, **members: object) -> None:
        where = {"item_id": self._item_id, "output_index": self._index}
        self._send(kind, **where, **members)

    def _open(self, kind: str, prefix: str) -> str:
        """Begin an item; answers its id."""
        self._shut()
        self._kind = kind
        self._index += 1
        self._pieces, self._notes, self._logprobs = [], [], []
        self._sealed = None
        self._item_id = f"{prefix}_{self.context.id}_{self._index}"
        return self._item_id

    def _add(self, item: JSON) -> None:
        self._send("response.output_item.added", output_index=self._index, item=item)

    def _finish_item(self, item: JSON) -> None:
        self.response["output"].append(item)
        self._send("response.output_item.done", output_index=self._index, item=item)

    def _prepare(self, kind: str, where: JSON) -> None:
        """Prepare the deltas of this item: all but number and text are the same."""
        members = {"item_id": self._item_id, "output_index": self._index, **where}
        self._head = b"event: %b\ndata: %b," % (
            kind.encode(),
            orjson.dumps({"type": kind, **members})[:-1],
        )

    def _delta(self, text: str) -> None:
        self._pieces.append(text)
        number = self._number
        self._number = number + 1
        self._parts.append(
            b'%b"sequence_number":%d,"delta":%b}\n\n'
            % (self._head, number, orjson.dumps(text))
        )

    def _text(self, event: TextDelta) -> None:
        if self._kind != "text":
            self._open_message("text", text_part("", [], []))
            self._prepare(
                "response.output_text.delta", {"content_index": 0, "logprobs": []}
            )
        self._delta(event.text)

    def _open_message(self, kind: str, part: JSON) -> None:
        item_id = self._open(kind, "msg")
        self._add(message_item(item_id, [], "in_progress"))
        self._send_of_item("response.content_part.added", content_index=0, part=part)

    def _refusal(self, event: RefusalDelta) -> None:
        if self._kind != "refusal":
            self._open_message("refusal", {"type": "refusal", "refusal": ""})
            self._prepare("response.refusal.delta", {"content_index": 0})
        self._delta(event.text)

    def _think(self) -> None:
        if self._kind != "reasoning":
            self._add(reasoning_item(self._open("reasoning", "rs"), "", None))

    def _reasoning(self, event: ReasoningDelta) -> None:
        self._think()
        if not self._pieces:
            part = {"type": "summary_text", "text": ""}
            self._send_of_item(
                "response.reasoning_summary_part.added", summary_index=0, part=part
            )
            self._prepare("response.reasoning_summary_text.delta", {"summary_index": 0})
        self._delta(event.text)

    def _reasoned(self, event: ReasoningEnd) -> None:
        sealed = event.signature
        if sealed is None and event.redacted is not None:
            sealed = event.redacted
        if sealed is not None:
            self._think()
            self._sealed = seal(sealed, event.origin, Dialect.RESPONSES)
        if self._kind == "reasoning":
            self._shut()

    def _called(self, event: ToolCallStart) -> None:
        if event.signature is not None:
            # A call has no place for it: it travels in the reasoning before.
            self._reasoned(ReasoningEnd(event.signature, Dialect.GEMINI))
        if event.name in self._freeform:
            item_id = self._open("custom", "ctc")
            item = custom_item(item_id, event.id, event.name, "", "in_progress")
        else:
            item_id = self._open("call", "fc")
            item = call_item(item_id, event.id, event.name, "", "in_progress")
            self._prepare("response.function_call_arguments.delta", {})
        self._call = event
        self._add(item)

    def _arguments(self, event: ToolCallDelta) -> None:
        if self._kind == "call":
            self._delta(event.arguments)
        elif self._kind == "custom":
            self._pieces.append(event.arguments)

    def _image(self, event: ImageMade) -> None:
        if event.data is None:
            return
        item = image_item(self._open("image", "ig"), event.data)
        self._add({**item, "status": "in_progress", "result": None})
        self._kind = ""
        self._finish_item(item)

    def _cited(self, event: Cited) -> None:
        note = annotation(event)
        if note is None or self._kind != "text":
            return
        self._send_of_item(
            "response.output_text.annotation.added",
            content_index=0,
            annotation_index=len(self._notes),
            annotation=note,
        )
        self._notes.append(note)

    def _counted_tokens(self, event: Logprobs) -> None:
        if self._kind == "text":
            self._logprobs += event.tokens

    def _counted(self, event: Counted) -> None:
        self._usage = event.usage

    def _finished(self, event: Finished) -> None:
        self._finish = event.reason

    def _shut(self, _event: ToolCallEnd | None = None) -> None:
        """End the item that is open."""
        kind, self._kind = self._kind, ""
        text = "".join(self._pieces)
        match kind:
            case "text":
                self._shut_text(text)
            case "refusal":
                self._shut_refusal(text)
            case "reasoning":
                self._shut_reasoning(text)
            case "call":
                self._shut_call(text)
            case "custom":
                self._shut_custom(free_text(text))

    def _shut_text(self, text: str) -> None:
        part = text_part(text, self._notes, self._logprobs)
        self._send_of_item(
            "response.output_text.done",
            content_index=0,
            text=text,
            logprobs=self._logprobs,
        )
        self._send_of_item("response.content_part.done", content_index=0, part=part)
        self._finish_item(message_item(self._item_id, [part], "completed"))

    def _shut_refusal(self, text: str) -> None:
        part = {"type": "refusal", "refusal": text}
        self._send_of_item("response.refusal.done", content_index=0, refusal=text)
        self._send_of_item("response.content_part.done", content_index=0, part=part)
        self._finish_item(message_item(self._item_id, [part], "completed"))

    def _shut_reasoning(self, text: str) -> None:
        if text:
            part = {"type": "summary_text", "text": text}
            self._send_of_item(
                "response.reasoning_summary_text.done", summary_index=0, text=text
            )
            self._send_of_item(
                "response.reasoning_summary_part.done", summary_index=0, part=part
            )
        self._finish_item(reasoning_item(self._item_id, text, self._sealed))

    def _shut_call(self, arguments: str) -> None:
        call = self._call
        self._send_of_item(
            "response.function_call_arguments.done",
            name=call.name,
            arguments=arguments,
        )
        self._finish_item(
            call_item(self._item_id, call.id, call.name, arguments, "completed")
        )

    def _shut_custom(self, text: str) -> None:
        call = self._call
        self._send_of_item("response.custom_tool_call_input.delta", delta=text)
        self._send_of_item("response.custom_tool_call_input.done", input=text)
        self._finish_item(
            custom_item(self._item_id, call.id, call.name, text, "completed")
        )

    def _close(self) -> None:
        self._shut()
        reason = FINISH_OUT[self._finish]
        response = self.response
        if self._usage is not None:
            response["usage"] = to_responses(self._usage)
        if reason is None:
            response["status"] = "completed"
            self._send("response.completed", response=response)
            return
        response["status"] = "incomplete"
        response["incomplete_details"] = {"reason": reason}
        self._send("response.incomplete", response=response)

    def _error(self, problem: Problem) -> bytes:
        error = {"code": problem.code, "message": problem.message}
        self.response.update({"status": "failed", "error": error})
        return in_stream(
            problem,
            Dialect.RESPONSES,
            Framing.SSE,
            response_id=response_id(self.context),
            sequence_number=self._number,
            model=self.response.get("model") or self.context.model,
            created_at=self.context.created,
        )
