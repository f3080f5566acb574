"""What holds for any conversation, any answer and any bytes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.wire.dialect import Dialect, Framing
from providers.wire.translate.codecs import CODECS
from providers.wire.translate.events import (
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Finished,
    ReasoningDelta,
    ReasoningEnd,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from providers.wire.translate.problems import Refused
from providers.wire.translate.reply import Reply, assemble
from providers.wire.translate.request import (
    Message,
    Reasoning,
    Request,
    Role,
    Target,
    Text,
    ToolCall,
    ToolResult,
)
from providers.wire.translate.streams import Context
from providers.wire.usage import Usage
from tests.providers.wire.translate.corpus import REQUESTS

DIALECTS = list(CODECS)
CONTEXT = Context("made", 0, "m")
TARGET = Target(model="m")

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
arguments = st.dictionaries(
    st.sampled_from("abc"), st.one_of(st.integers(-9, 9), words), max_size=2
).map(lambda found: orjson.dumps(found).decode())


@st.composite
def conversations(draw: st.DrawFn) -> Request:
    """Turns of a user and a model that calls tools, each call answered."""
    turns: list[Message] = []
    count = 0
    for _ in range(draw(st.integers(1, 3))):
        turns.append(Message(Role.USER, (Text(draw(words)),)))
        calls = []
        for _ in range(draw(st.integers(0, 3))):
            calls.append(ToolCall(f"call_{count}", f"f{count % 2}", draw(arguments)))
            count += 1
        said = (Text(draw(words)),)
        turns.append(Message(Role.ASSISTANT, (*said, *calls)))
        results = [ToolResult(call.id, (Text(draw(words)),)) for call in calls]
        if results:
            turns.append(Message(Role.USER, tuple(results)))
    turns.append(Message(Role.USER, (Text("And now?"),)))
    system = (Text(draw(words)),) if draw(st.booleans()) else ()
    return Request(Dialect.CHAT, "m", tuple(turns), system)


def contents(request: Request) -> list[tuple[str, ...]]:
    """All that was said, in order, however it is cut into turns."""
    found: list[tuple[str, ...]] = [("system", t.text) for t in request.system]
    for message in request.messages:
        for part in message.parts:
            match part:
                case Text(text=text):
                    found.append((message.role.value, text))
                case ToolCall():
                    found.append(("call", part.id, part.name, part.arguments))
                case ToolResult(call_id=call_id, parts=(Text(text=text),)):
                    found.append(("result", call_id, text))
    return found


@settings(max_examples=60, deadline=None)
@given(request=conversations(), dialect=st.sampled_from(DIALECTS))
def test_a_conversation_survives_every_dialect(
    request: Request, dialect: Dialect
) -> None:
    codec = CODECS[dialect]
    written = codec.write_request(request, TARGET)
    assert written.dropped == ()
    again = codec.read_request(orjson.dumps(written.body))
    assert contents(again) == contents(request)
    assert codec.write_request(again, TARGET).body == written.body


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Reasoning, text, and calls whose pieces are interleaved."""
    events: list[Event] = [Start("id", "m")]
    if draw(st.booleans()):
        events += [ReasoningDelta(draw(words)), ReasoningDelta(draw(words))]
        events.append(ReasoningEnd())
    events += [TextDelta(text) for text in draw(st.lists(words, max_size=3))]
    texts = draw(st.lists(arguments, max_size=3))
    pieces: list[list[Event]] = []
    for index, text in enumerate(texts):
        cut = draw(st.integers(0, len(text)))
        halves = [half for half in (text[:cut], text[cut:]) if half]
        pieces.append(
            [
                ToolCallStart(index, f"call_{index}", f"f{index}"),
                *(ToolCallDelta(index, half) for half in halves),
                ToolCallEnd(index),
            ]
        )
    started = 0
    while any(pieces):
        # Calls begin in order, whatever their pieces do.
        open_ones = [n for n, rest in enumerate(pieces) if rest and n <= started]
        at = draw(st.sampled_from(open_ones))
        if isinstance(pieces[at][0], ToolCallStart):
            started += 1
        events.append(pieces[at].pop(0))
    finish = Finish.TOOL_CALLS if texts else draw(st.sampled_from(_FINISHES))
    usage = Usage(prompt=draw(st.integers(0, 99)), completion=5)
    return [*events, Finished(finish), Counted(usage), End()]


_FINISHES = [Finish.STOP, Finish.LENGTH]


def read(stream: bytes, dialect: Dialect, size: int) -> Reply:
    reader = CODECS[dialect].stream_reader("made")
    events: list[Event] = []
    for at in range(0, len(stream), size):
        events += reader.feed(stream[at : at + size])
    return assemble(events + reader.close())


def loose(reply: Reply) -> list[object]:
    """An answer's parts; arguments count as values, for some dialects parse them."""
    return [
        (part.id, part.name, orjson.loads(part.arguments or "{}"))
        if isinstance(part, ToolCall)
        else part
        for part in reply.first.parts
        if not (isinstance(part, Reasoning) and not part.text)
    ]


@settings(max_examples=120, deadline=None)
@given(
    events=answers(),
    first=st.sampled_from(DIALECTS),
    second=st.sampled_from(DIALECTS),
    size=st.integers(1, 200),
)
def test_an_answer_survives_two_translations(
    events: list[Event], first: Dialect, second: Dialect, size: int
) -> None:
    wanted = assemble(events)
    stream = CODECS[first].stream_writer(CONTEXT).write(events)
    reader = CODECS[first].stream_reader("made")
    between = reader.feed(stream) + reader.close()
    translated = b"".join(
        [
            writer.write([event])
            for writer in [CODECS[second].stream_writer(CONTEXT)]
            for event in between
        ]
    )
    found = read(translated, second, size)
    assert found.complete
    assert loose(found) == loose(wanted)
    assert found.first.finish is wanted.first.finish
    assert found.usage is not None
    assert wanted.usage is not None
    assert found.usage.prompt == wanted.usage.prompt
    whole = CODECS[second].write_reply(assemble(between), CONTEXT)
    again = CODECS[second].read_reply(orjson.dumps(whole), "made")
    assert loose(again) == loose(found)


NAMES = [
    "choices", "delta", "content", "message", "tool_calls", "function", "arguments",
    "index", "usage", "error", "type", "content_block", "candidates", "parts", "text",
    "functionCall", "finishReason", "usageMetadata", "item", "output", "response",
    "summary", "done", "logprobs", "images", "reasoning_details", "annotations",
]  # fmt: skip
KINDS = [
    "content_block_start", "content_block_delta", "content_block_stop", "message_start",
    "message_delta", "message_stop", "text_delta", "tool_use", "thinking",
    "response.output_item.added", "response.output_item.done", "response.completed",
    "response.output_text.delta", "response.function_call_arguments.delta",
    "function_call", "reasoning", "error", "stop", "STOP",
]  # fmt: skip
shapes: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(KINDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    shape=st.lists(shapes, min_size=1, max_size=3),
    dialect=st.sampled_from(DIALECTS),
    told=st.sampled_from(DIALECTS),
)
def test_no_shape_breaks_a_reader(
    shape: list[Any], dialect: Dialect, told: Dialect
) -> None:
    reader = CODECS[dialect].stream_reader("made")
    ndjson = CODECS[dialect].stream_reader.framing is Framing.NDJSON
    form = b"%b\n" if ndjson else b"data: %b\n\n"
    stream = b"".join(form % orjson.dumps(one) for one in shape)
    events = reader.feed(stream) + reader.close()
    assert isinstance(events[-1], End | Failed)
    CODECS[told].stream_writer(CONTEXT).write(events)
    CODECS[told].write_reply(assemble(events), CONTEXT)


ASKED = [
    "model", "messages", "role", "content", "type", "text", "image_url", "url", "tools",
    "function", "name", "tool_calls", "id", "arguments", "tool_call_id", "stop",
    "max_tokens", "temperature", "input", "output", "call_id", "contents", "parts",
    "functionCall", "functionResponse", "generationConfig", "options", "thinking",
    "source", "data", "tool_choice", "response_format", "system", "images", "format",
]  # fmt: skip
SAID = [
    "user", "assistant", "system", "tool", "model", "text", "function", "image_url",
    "tool_use", "tool_result", "image", "base64", "function_call", "message", "auto",
    "json_schema", "https://example.org/a", "AAAA", "document", "reasoning",
]  # fmt: skip
questions: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(SAID),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(ASKED), inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(
    base=st.sampled_from(
        [case for cases in REQUESTS.values() for case in cases.values()]
    ),
    changes=st.dictionaries(st.sampled_from(ASKED), questions, max_size=3),
    dialect=st.sampled_from(DIALECTS),
    told=st.sampled_from(DIALECTS),
)
def test_no_request_breaks_a_reader_or_a_writer(
    base: dict[str, Any], changes: dict[str, Any], dialect: Dialect, told: Dialect
) -> None:
    with suppress(Refused):
        request = CODECS[dialect].read_request(orjson.dumps({**base, **changes}))
        orjson.dumps(CODECS[told].write_request(request, TARGET).body)
