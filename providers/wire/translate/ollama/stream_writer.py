"""Writing Ollama's replies as lines; calls go whole, the last line has the counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from providers.wire.dialect import Dialect, Framing
from providers.wire.envelopes import Problem, in_stream
from providers.wire.translate.events import (
    Counted,
    Finish,
    Finished,
    ImageMade,
    Logprobs,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from providers.wire.translate.ollama.reply_writer import (
    call_object,
    created_at,
    ending,
)
from providers.wire.translate.streams import Context, StreamWriter
from providers.wire.translate.toolcalls import OpenCall
from providers.wire.usage import Usage

JSON = dict[str, Any]


class OllamaStreamWriter(StreamWriter):
    """Writes lines of /api/chat."""

    sequential = True

    _usage: Usage | None = None
    _finish = Finish.STOP
    _first_ns: int | None = None

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
            Logprobs: self._logprobs,
            Counted: self._counted,
            Finished: self._finished,
        }

    def _start(self, start: Start) -> None:
        self._usage = start.usage
        model = start.model or self.context.model
        head = {"model": model, "created_at": created_at(self.context)}
        self._head = orjson.dumps(head)[:-1]

    def _line(self, members: JSON) -> None:
        self._parts.append(b"%b,%b\n" % (self._head, orjson.dumps(members)[1:]))

    def _say(self, said: JSON) -> None:
        """Write what a line of the stream says."""
        if self._first_ns is None:
            self._first_ns = self._elapsed()
        self._line({**self._wrap(said), "done": False})

    def _wrap(self, said: JSON) -> JSON:
        return {"message": {"role": "assistant", "content": "", **said}}

    def _elapsed(self) -> int:
        elapsed_ns = self.context.elapsed_ns
        return 0 if elapsed_ns is None else elapsed_ns()

    def _text(self, event: TextDelta | RefusalDelta) -> None:
        self._say({"content": event.text})

    def _reasoning(self, event: ReasoningDelta) -> None:
        self._say({"thinking": event.text})

    def _called(self, _event: ToolCallEnd) -> None:
        self._say({"tool_calls": [call_object(self._call.whole())]})

    def _image(self, event: ImageMade) -> None:
        if event.data is not None:
            self._say({"images": [event.data]})

    def _logprobs(self, event: Logprobs) -> None:
        self._line({**self._wrap({}), "logprobs": event.tokens, "done": False})

    def _counted(self, event: Counted) -> None:
        self._usage = event.usage

    def _finished(self, event: Finished) -> None:
        self._finish = event.reason

    def _close(self) -> None:
        elapsed = self._elapsed()
        last = ending(self._finish, self._usage, self._first_ns or 0, elapsed)
        self._line({**self._wrap({}), **last})

    def _error(self, problem: Problem) -> bytes:
        return in_stream(problem, Dialect.OLLAMA, Framing.NDJSON)


class GenerateStreamWriter(OllamaStreamWriter):
    """Writes lines of /api/generate, which has text and thinking alone."""

    def _wrap(self, said: JSON) -> JSON:
        found: JSON = {"response": said.get("content", "")}
        if "thinking" in said:
            found["thinking"] = said["thinking"]
        return found
