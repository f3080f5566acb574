"""A whole reply: the events of a stream joined, and taken apart again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from providers.wire.translate.events import (
    AudioDelta,
    Cited,
    Counted,
    End,
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
from providers.wire.translate.request import (
    Audio,
    Image,
    Message,
    Part,
    Reasoning,
    Refusal,
    Role,
    Source,
    Text,
    ToolCall,
)
from providers.wire.usage import Usage


class Choice(Struct, frozen=True):
    """One answer: its parts in order, what it cites, why it ended."""

    parts: tuple[Part, ...] = ()
    finish: Finish | None = None
    stop_sequence: str | None = None
    citations: tuple[Cited, ...] = ()
    logprobs: tuple[dict[str, Any], ...] = ()


class Reply(Struct, frozen=True):
    """A whole reply. `failure` is an error that the upstream put into it."""

    id: str = ""
    model: str = ""
    created: int | None = None
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    failure: Failed | None = None
    complete: bool = False

    @property
    def first(self) -> Choice:
        return self.choices[0] if self.choices else Choice()

    def message(self) -> Message:
        """The answer as a turn of the conversation that goes on."""
        return Message(Role.ASSISTANT, self.first.parts)


def assemble(events: Iterable[Event]) -> Reply:
    """Join the events of one reply."""
    assembler = Assembler()
    for event in events:
        assembler.add(event)
    return assembler.reply()


class Assembler:
    """Joins events as they come; `reply` may be asked at any time."""

    def __init__(self) -> None:
        self._start = Start()
        self._usage: Usage | None = None
        self._failure: Failed | None = None
        self._complete = False
        self._choices: dict[int, _ChoiceParts] = {}

    def add(self, event: Event) -> None:
        if isinstance(event, Start):
            self._start = event
            self._usage = event.usage or self._usage
        elif isinstance(event, Counted):
            self._usage = event.usage
        elif isinstance(event, Failed):
            self._failure = event
        elif isinstance(event, End):
            self._complete = True
        else:
            index = getattr(event, "choice", 0)
            self._choices.setdefault(index, _ChoiceParts()).add(event)

    def reply(self) -> Reply:
        return Reply(
            id=self._start.id,
            model=self._start.model,
            created=self._start.created,
            choices=tuple(self._choices[at].choice() for at in sorted(self._choices)),
            usage=self._usage,
            failure=self._failure,
            complete=self._complete,
        )


class _Call:
    def __init__(self, start: ToolCallStart) -> None:
        self.start = start
        self.arguments: list[str] = []


class _ChoiceParts:
    """The parts of one choice; the last stretch of text is still in pieces."""

    def __init__(self) -> None:
        self._parts: list[Part | _Call] = []
        self._open: type[Text | Reasoning | Refusal] | None = None
        self._pieces: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._audio: list[AudioDelta] = []
        self._citations: list[Cited] = []
        self._logprobs: list[dict[str, Any]] = []
        self._finished: Finished | None = None

    def add(self, event: Event) -> None:
        match event:
            case TextDelta(text=text):
                self._append(Text, text)
            case ReasoningDelta(text=text):
                self._append(Reasoning, text)
            case RefusalDelta(text=text):
                self._append(Refusal, text)
            case ToolCallDelta(index=index, arguments=arguments):
                self._calls[index].arguments.append(arguments)
            case ToolCallStart(index=index):
                self._close()
                self._calls[index] = call = _Call(event)
                self._parts.append(call)
            case ToolCallEnd():
                pass
            case ReasoningEnd():
                self._end_reasoning(event)
            case Finished():
                self._finished = event
            case _:
                self._add_rare(event)

    def _add_rare(self, event: Event) -> None:
        if isinstance(event, Cited):
            self._citations.append(event)
        elif isinstance(event, Logprobs):
            self._logprobs += event.tokens
        elif isinstance(event, AudioDelta):
            self._audio.append(event)
        elif isinstance(event, ImageMade):
            self._close()
            source = Source(event.media_type or None, event.data, event.url)
            self._parts.append(Image(source))

    def _append(self, kind: type[Text | Reasoning | Refusal], text: str) -> None:
        if self._open is not kind:
            self._close()
            self._open = kind
        self._pieces.append(text)

    def _close(self) -> None:
        if self._open is not None:
            self._parts.append(self._open("".join(self._pieces)))
        self._open = None
        self._pieces = []

    def _end_reasoning(self, end: ReasoningEnd) -> None:
        text = ""
        if self._open is Reasoning:
            text = "".join(self._pieces)
            self._open, self._pieces = None, []
        else:
            self._close()
        if text or end.signature or end.redacted:
            part = Reasoning(text, end.signature, end.origin, end.redacted)
            self._parts.append(part)

    def choice(self) -> Choice:
        parts: list[Part] = [
            _tool_call(part) if isinstance(part, _Call) else part
            for part in self._parts
        ]
        if self._open is not None:
            parts.append(self._open("".join(self._pieces)))
        if self._audio:
            parts.append(_audio(self._audio))
        finished = self._finished
        return Choice(
            parts=tuple(parts),
            finish=finished.reason if finished else None,
            stop_sequence=finished.stop_sequence if finished else None,
            citations=tuple(self._citations),
            logprobs=tuple(self._logprobs),
        )


def _tool_call(call: _Call) -> ToolCall:
    start = call.start
    arguments = "".join(call.arguments)
    return ToolCall(start.id, start.name, arguments, start.signature)


def _audio(pieces: list[AudioDelta]) -> Audio:
    return Audio(
        Source(
            media_type=next((p.media_type for p in pieces if p.media_type), None),
            data="".join(piece.data for piece in pieces),
        ),
        transcript="".join(piece.transcript for piece in pieces) or None,
        id=next((piece.id for piece in pieces if piece.id), None),
    )


def events_of(reply: Reply) -> Iterator[Event]:
    """Take a whole reply apart, so that it can be sent as a stream."""
    yield Start(reply.id, reply.model, reply.created)
    for at, choice in enumerate(reply.choices):
        yield from _events_of(choice, at)
    if reply.usage is not None:
        yield Counted(reply.usage)
    if reply.failure is not None:
        yield reply.failure
    elif reply.complete:
        yield End()


def _events_of(choice: Choice, at: int) -> Iterator[Event]:
    calls = 0
    about_text = _events_about_text(choice, at)
    texts = [n for n, part in enumerate(choice.parts) if isinstance(part, Text)]
    for n, part in enumerate(choice.parts):
        if isinstance(part, ToolCall):
            yield ToolCallStart(calls, part.id, part.name, part.signature, at)
            if part.arguments:
                yield ToolCallDelta(calls, part.arguments, at)
            yield ToolCallEnd(calls, at)
            calls += 1
        else:
            yield from _events_of_part(part, at)
        if texts and n == texts[-1]:
            yield from about_text
    yield from about_text
    if choice.finish is not None:
        yield Finished(choice.finish, choice.stop_sequence, at)


def _events_about_text(choice: Choice, at: int) -> Iterator[Event]:
    """What belongs to the text: it goes while the last of it is still open."""
    yield from choice.citations
    if choice.logprobs:
        yield Logprobs(list(choice.logprobs), at)


def _events_of_part(part: Part, at: int) -> Iterator[Event]:
    match part:
        case Text(text=text):
            yield TextDelta(text, at)
        case Refusal(text=text):
            yield RefusalDelta(text, at)
        case Reasoning(text=text):
            if text:
                yield ReasoningDelta(text, at)
            yield ReasoningEnd(part.signature, part.origin, part.redacted, at)
        case Image(source=source):
            yield ImageMade(source.media_type or "", source.data, source.url)
        case Audio(source=source):
            yield AudioDelta(
                source.data or "",
                part.transcript or "",
                part.id or "",
                source.media_type or "",
            )
        case _:
            pass
