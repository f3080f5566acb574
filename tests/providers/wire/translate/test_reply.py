from __future__ import annotations

import pytest

from providers.wire.dialect import Dialect
from providers.wire.translate.events import (
    AudioDelta,
    End,
    Event,
    Failed,
    Finish,
    Finished,
    ImageMade,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from providers.wire.translate.reply import assemble, events_of
from providers.wire.translate.request import (
    Audio,
    Image,
    Message,
    Reasoning,
    Refusal,
    Role,
    Source,
    Text,
    ToolCall,
)
from providers.wire.translate.sequence import Sequence
from tests.providers.wire.translate.corpus import REPLIES

EVENTS: list[Event] = [
    Start("r", "m", 3),
    ReasoningDelta("H"),
    ReasoningDelta("m"),
    ReasoningEnd("c2ln", Dialect.MESSAGES),
    ReasoningEnd(redacted="x", origin=Dialect.MESSAGES),
    TextDelta("a"),
    TextDelta("b"),
    ToolCallStart(0, "t0", "f", "s"),
    ToolCallStart(1, "t1", "g"),
    ToolCallDelta(1, "[]"),
    ToolCallDelta(0, "{}"),
    ToolCallEnd(1),
    ToolCallEnd(0),
    TextDelta("c"),
    RefusalDelta("No"),
    ImageMade("image/png", "iVBO"),
    AudioDelta("UklG", "w", "a1", "audio/wav"),
    AudioDelta("Rg==", "d"),
    Finished(Finish.STOP_SEQUENCE, "X"),
    End(),
]


def test_events_are_joined_in_order() -> None:
    reply = assemble(EVENTS)
    assert (reply.id, reply.model, reply.created, reply.complete) == ("r", "m", 3, True)
    assert reply.first.finish is Finish.STOP_SEQUENCE
    assert reply.first.stop_sequence == "X"
    assert reply.message() == Message(
        Role.ASSISTANT,
        (
            Reasoning("Hm", "c2ln", Dialect.MESSAGES),
            Reasoning("", None, Dialect.MESSAGES, "x"),
            Text("ab"),
            ToolCall("t0", "f", "{}", "s"),
            ToolCall("t1", "g", "[]"),
            Text("c"),
            Refusal("No"),
            Image(Source("image/png", "iVBO")),
            Audio(Source("audio/wav", "UklGRg=="), "wd", "a1"),
        ),
    )


def test_a_reply_taken_apart_joins_to_itself() -> None:
    for reply in (assemble(EVENTS), *REPLIES.values()):
        assert assemble(events_of(reply)) == reply


def test_a_failure_is_kept_and_is_no_end() -> None:
    reply = assemble([TextDelta("a"), Failed("It broke")])
    assert reply.failure == Failed("It broke")
    assert not reply.complete
    assert assemble(events_of(reply)) == reply


def test_interleaved_calls_are_put_one_after_another() -> None:
    found = Sequence().order(EVENTS)
    calls = [e for e in found if isinstance(e, ToolCallStart | ToolCallEnd)]
    assert [type(call) for call in calls] == [ToolCallStart, ToolCallEnd] * 2
    assert assemble(found) == assemble(EVENTS)
    assert sorted(map(repr, found)) == sorted(map(repr, EVENTS))


@pytest.mark.parametrize("last", [Finished(Finish.LENGTH), End()])
def test_open_calls_are_ended_with_the_reply(last: Event) -> None:
    events = [ToolCallStart(0, "a", "f"), ToolCallStart(1, "b", "g"), last]
    assert Sequence().order(events) == [
        ToolCallStart(0, "a", "f"),
        ToolCallEnd(0),
        ToolCallStart(1, "b", "g"),
        ToolCallEnd(1),
        last,
    ]


def test_a_failure_waits_for_no_call() -> None:
    sequence = Sequence()
    sequence.order([ToolCallStart(0, "a", "f"), TextDelta("x")])
    assert sequence.order([Failed("It broke")]) == [Failed("It broke")]
