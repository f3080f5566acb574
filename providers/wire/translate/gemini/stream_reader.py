"""Reading generateContent replies: the chunks of a stream, and the whole reply."""

from __future__ import annotations

from typing import Any

from providers.wire.dialect import Dialect
from providers.wire.translate.events import (
    AudioDelta,
    Cited,
    Counted,
    Finish,
    Finished,
    ImageMade,
    Logprobs,
    ReasoningDelta,
    Start,
    TextDelta,
)
from providers.wire.translate.gemini.errors import failed_of
from providers.wire.translate.gemini.mapping import FAILURES, FINISH_IN
from providers.wire.translate.reply import Reply, assemble
from providers.wire.translate.streams import StreamReader
from providers.wire.translate.toolcalls import dump, made_id, whole_call
from providers.wire.translate.usage import from_gemini
from providers.wire.usage import Usage

JSON = dict[str, Any]


def read_reply(body: bytes, made_id: str = "") -> Reply:
    """Read a whole reply."""
    return assemble(GeminiStreamReader(made_id).whole(body))


class GeminiStreamReader(StreamReader):
    """Reads chunks; the stream has no terminator, its end is after a finishReason."""

    def __init__(self, made_id: str = "", **options: Any) -> None:
        super().__init__(made_id, **{**options, "terminated": False})
        self._started = False
        self._calls = 0
        self._finish: Finish | None = None
        self._usage: Usage | None = None

    def _read(self, found: JSON) -> None:
        if found.get("error"):
            self._give_up(failed_of(found))
            return
        if found.get("usageMetadata"):
            self._usage = from_gemini(found["usageMetadata"])
        if not self._started:
            self._begin(found)
        for candidate in found.get("candidates") or ():
            if not candidate.get("index"):
                self._read_candidate(candidate)
        blocked = (found.get("promptFeedback") or {}).get("blockReason")
        if blocked and not found.get("candidates"):
            self._finished = True
            self._finish = Finish.CONTENT_FILTER

    def _begin(self, found: JSON) -> None:
        self._started = True
        name, model = found.get("responseId") or "", found.get("modelVersion") or ""
        self._out.append(Start(name, model, None, self._usage))

    def _read_candidate(self, candidate: JSON) -> None:
        for part in (candidate.get("content") or {}).get("parts") or ():
            text = part.get("text")
            if text:
                made = ReasoningDelta if part.get("thought") else TextDelta
                self._out.append(made(text))
            elif len(part) > bool(text is not None):
                self._read_rare(part)
        grounding = candidate.get("groundingMetadata") or {}
        for chunk in grounding.get("groundingChunks") or ():
            web = chunk.get("web") or {}
            cited = Cited(Dialect.GEMINI, chunk, web.get("uri"), web.get("title"))
            self._out.append(cited)
        if candidate.get("logprobsResult"):
            self._logprobs(candidate["logprobsResult"])
        if candidate.get("finishReason"):
            self._stop(candidate)

    def _read_rare(self, part: JSON) -> None:
        call = part.get("functionCall")
        if call:
            at = self._calls
            self._calls += 1
            self._out += whole_call(
                at,
                call.get("id") or made_id(self.made_id, at),
                call.get("name") or "",
                dump(call.get("args") or {}),
                part.get("thoughtSignature"),
            )
        media = part.get("inlineData")
        if media:
            kind, data = media.get("mimeType") or "", media.get("data") or ""
            if kind.startswith("audio/"):
                self._out.append(AudioDelta(data, media_type=kind))
            else:
                self._out.append(ImageMade(kind, data))

    def _logprobs(self, found: JSON) -> None:
        tops = found.get("topCandidates") or []
        tokens = []
        for at, chosen in enumerate(found.get("chosenCandidates") or ()):
            others = tops[at].get("candidates") or () if at < len(tops) else ()
            entry = _logprob(chosen)
            entry["top_logprobs"] = [_logprob(other) for other in others]
            tokens.append(entry)
        if tokens:
            self._out.append(Logprobs(tokens))

    def _stop(self, candidate: JSON) -> None:
        reason = candidate["finishReason"]
        if reason in FAILURES:
            message = candidate.get("finishMessage") or FAILURES[reason]
            self._fail(message, code="upstream_error")
            return
        self._finished = True
        other = Finish.STOP
        if reason.startswith("IMAGE_"):
            other = Finish.CONTENT_FILTER
        self._finish = FINISH_IN.get(reason, other)
        if self._finish is Finish.STOP and self._calls:
            self._finish = Finish.TOOL_CALLS

    def _end(self) -> None:
        if self._finish is not None:
            self._out.append(Finished(self._finish))
        if self._usage is not None:
            self._out.append(Counted(self._usage))
        super()._end()


def _logprob(found: JSON) -> JSON:
    token = found.get("token") or ""
    return {
        "token": token,
        "logprob": found.get("logProbability") or 0.0,
        "bytes": list(token.encode("utf-8", "replace")),
    }
