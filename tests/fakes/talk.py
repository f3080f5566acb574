"""What a fake model says, in no dialect: each fake writes it in its own.

A test queues what is to be said; without that the model behaves: it calls the tools
it is offered, answers in JSON when it must, thinks when asked, and obeys stop and
max_tokens (a word is a token).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

TEXT = "Hello from the fake"
THOUGHT = "Let me think"
JSON_TEXT = '{"answer": 42}'
SIGNATURE = "c2lnbmVkIGJ5IHRoZSBmYWtl"
PROMPT_TOKENS = 11
CACHED_TOKENS = 4
WRITTEN_TOKENS = 2


@dataclass(frozen=True)
class Called:
    """One call of a tool; some dialects have no place for the id."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=lambda: {"city": "Paris"})
    id: str = "toolu_fake_0"


@dataclass(frozen=True)
class Talk:
    """`finish` is stop, stop_sequence, length, tool_calls, refusal or context."""

    text: str = TEXT
    thinking: str = ""
    calls: tuple[Called, ...] = ()
    finish: str = "stop"
    stop_sequence: str | None = None

    @property
    def pieces(self) -> list[str]:
        return pieces(self.text)

    @property
    def thought(self) -> list[str]:
        return pieces(self.thinking)

    @property
    def tokens(self) -> int:
        """All that was written, thoughts included."""
        return len(self.pieces) + len(self.thought) + len(self.calls)


@dataclass(frozen=True)
class Heard:
    """What of a request decides how the model behaves."""

    tools: tuple[str, ...] = ()
    has_result: bool = False
    only_one_call: bool = False
    wants_json: bool = False
    thinks: bool = False
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None


class Talker:
    """Mixed into a fake: `say` queues what the model says next."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._queued: list[Talk] = []
        self._calls: tuple[Called, ...] | None = None
        super().__init__(*arguments, **options)

    def say(self, *talks: Talk) -> None:
        self._queued.extend(talks)

    def call_only(self, *calls: Called) -> None:
        """Have it call, from now on, the first of these that it is offered; or none."""
        self._calls = calls

    def talk_for(self, heard: Heard) -> Talk:
        if self._queued:
            return self._queued.pop(0)
        if self._calls is None or not heard.tools or heard.has_result:
            return behave(heard)
        fits = (call for call in self._calls if call.name in heard.tools)
        if (call := next(fits, None)) is None:
            return behave(replace(heard, tools=()))
        return Talk("", calls=(call,), finish="tool_calls")


def behave(heard: Heard) -> Talk:
    thinking = THOUGHT if heard.thinks else ""
    if heard.tools and not heard.has_result:
        names = heard.tools[: 1 if heard.only_one_call else 2]
        calls = tuple(Called(n, id=f"toolu_fake_{i}") for i, n in enumerate(names))
        return Talk("", thinking, calls, "tool_calls")
    said = Talk(JSON_TEXT if heard.wants_json else TEXT, thinking)
    for stop in heard.stop:
        if stop and stop in said.text:
            text = said.text.partition(stop)[0]
            return replace(said, text=text, finish="stop_sequence", stop_sequence=stop)
    limit = heard.max_tokens
    if limit is not None and limit < len(said.pieces):
        return replace(said, text="".join(said.pieces[:limit]), finish="length")
    return said


def pieces(text: str) -> list[str]:
    """Cut a text before its blanks: joined they are the text again."""
    found: list[str] = []
    for at, word in enumerate(text.split(" ")):
        if word or at:
            found.append(word if at == 0 else f" {word}")
    return found
