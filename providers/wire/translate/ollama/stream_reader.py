"""Reading Ollama's replies: the lines of a stream, and the whole reply."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from providers.wire.counts import ollama_usage
from providers.wire.dialect import Framing
from providers.wire.translate.chat.errors import failed_of
from providers.wire.translate.events import (
    Counted,
    Finish,
    Finished,
    ImageMade,
    Logprobs,
    ReasoningDelta,
    Start,
    TextDelta,
)
from providers.wire.translate.media import image_type
from providers.wire.translate.ollama.mapping import FINISH_IN
from providers.wire.translate.reply import Reply, assemble
from providers.wire.translate.request import Source
from providers.wire.translate.streams import StreamReader
from providers.wire.translate.toolcalls import dump, made_id, whole_call

JSON = dict[str, Any]


def read_reply(body: bytes, made_id: str = "") -> Reply:
    """Read a whole reply of /api/chat or /api/generate."""
    return assemble(OllamaStreamReader(made_id).whole(body))


class OllamaStreamReader(StreamReader):
    """Reads lines of /api/chat and /api/generate up to the one that is done."""

    framing = Framing.NDJSON

    def __init__(self, made_id: str = "", **options: Any) -> None:
        super().__init__(made_id, **options)
        self._started = False
        self._calls = 0

    def _read(self, found: JSON) -> None:
        if found.get("error"):
            self._give_up(failed_of(found))
            return
        if not self._started:
            self._started = True
            self._out.append(Start("", found.get("model") or ""))
        message = found.get("message") or found
        thought = message.get("thinking")
        if thought:
            self._out.append(ReasoningDelta(thought))
        text = message.get("content") or found.get("response")
        if text:
            self._out.append(TextDelta(text))
        if "tool_calls" in message or "images" in message:
            self._read_rare(message)
        if found.get("logprobs"):
            self._out.append(Logprobs([_logprob(one) for one in found["logprobs"]]))
        if found.get("done"):
            self._done(found)

    def _read_rare(self, message: JSON) -> None:
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            at = self._calls
            self._calls += 1
            arguments = function.get("arguments")
            if not isinstance(arguments, str):
                arguments = dump(arguments or {})
            call_id = call.get("id") or made_id(self.made_id, at)
            name = function.get("name") or ""
            self._out += whole_call(at, call_id, name, arguments)
        for data in message.get("images") or ():
            self._out.append(ImageMade(image_type(Source(data=data)), data))

    def _done(self, found: JSON) -> None:
        finish = FINISH_IN.get(found.get("done_reason") or "stop", Finish.STOP)
        if finish is Finish.STOP and self._calls:
            finish = Finish.TOOL_CALLS
        self._finished = True
        self._out.append(Finished(finish))
        counts: dict[str, msgspec.Raw] = {
            name: msgspec.Raw(orjson.dumps(found[name]))
            for name in ("prompt_eval_count", "eval_count")
            if name in found
        }
        usage = ollama_usage(counts)
        if usage is not None:
            self._out.append(Counted(usage))
        self._end()


def _logprob(found: JSON) -> JSON:
    entry = _token(found)
    entry["top_logprobs"] = [_token(one) for one in found.get("top_logprobs") or ()]
    return entry


def _token(found: JSON) -> JSON:
    token = found.get("token") or ""
    raw = found.get("bytes") or list(token.encode("utf-8", "replace"))
    return {"token": token, "logprob": found.get("logprob") or 0.0, "bytes": raw}
