"""Every reader against every writer: nothing here names a single dialect's wire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from providers.wire.dialect import Dialect
from providers.wire.envelopes import Problem
from providers.wire.translate.codecs import CODECS, write_error
from providers.wire.translate.events import End, Failed, Start, TextDelta
from providers.wire.translate.mapping import FEATURES, Treatment
from providers.wire.translate.problems import Refused
from providers.wire.translate.reply import Reply, assemble, events_of
from providers.wire.translate.request import (
    ANY_MODEL,
    Image,
    Message,
    Opaque,
    Request,
    Role,
    Source,
    Target,
    Text,
)
from providers.wire.translate.streams import Context
from tests.providers.wire.translate.corpus import REPLIES, REQUESTS

DIALECTS = list(CODECS)
ASKED = [
    pytest.param(dialect, name, id=f"{dialect}-{name}")
    for dialect in DIALECTS
    for name in REQUESTS[dialect]
]
# The only requests of the corpus that a dialect refuses: Responses knows no `stop`.
REFUSED = {
    (Dialect.RESPONSES, dialect, name)
    for dialect, name in ((param.values[0], param.values[1]) for param in ASKED)
    if name in {"limits", "single stop"} and dialect is not Dialect.RESPONSES
}
CELLS = [
    pytest.param(*param.values, told, id=f"{param.id}-{told}")
    for param in ASKED
    for told in DIALECTS
    if (told, *param.values) not in REFUSED
]
TARGET = Target(model="m")  # Gemini's bodies have none
CONTEXT = Context("made", 1_741_570_000, "model-1")


def nulls(found: Any, path: str = "") -> Iterator[str]:
    """Find nulls, by their paths."""
    if isinstance(found, dict):
        for name, value in found.items():
            if value is None:
                yield f"{path}.{name}"
            yield from nulls(value, f"{path}.{name}")
    elif isinstance(found, list):
        for at, value in enumerate(found):
            yield from nulls(value, f"{path}[{at}]")


def said(request: Request) -> str:
    """All text of a request, in order."""
    texts = [part.text for part in request.system]
    for message in request.messages:
        for part in message.parts:
            inner = getattr(part, "parts", (part,))
            texts += [p.text for p in inner if isinstance(p, Text)]
    return " ".join(texts)


@pytest.mark.parametrize(("asked", "name", "told"), CELLS)
def test_every_request_can_be_written_in_every_dialect(
    asked: Dialect, name: str, told: Dialect
) -> None:
    request = CODECS[asked].read_request(REQUESTS[asked][name])
    written = CODECS[told].write_request(request, TARGET)
    assert list(nulls(written.body)) == []
    assert orjson.loads(orjson.dumps(written.body)) == written.body
    again = CODECS[told].read_request(written.body)
    assert said(again) == said(request)
    if request.max_tokens is not None:
        assert again.max_tokens == request.max_tokens
    assert again.sampling.stop == request.sampling.stop
    assert len(again.tools) == len(request.tools)


@pytest.mark.parametrize(("asked", "name", "told"), CELLS)
def test_a_translated_request_is_stable(
    asked: Dialect, name: str, told: Dialect
) -> None:
    codec = CODECS[told]
    request = CODECS[asked].read_request(REQUESTS[asked][name])
    once = codec.write_request(request, TARGET)
    again = codec.read_request(once.body)
    assert codec.write_request(again, TARGET).body == once.body


@pytest.mark.parametrize(("told", "asked", "name"), sorted(REFUSED))
def test_what_would_make_the_answer_wrong_is_refused(
    told: Dialect, asked: Dialect, name: str
) -> None:
    request = CODECS[asked].read_request(REQUESTS[asked][name])
    with pytest.raises(Refused) as caught:
        CODECS[told].write_request(request, TARGET)
    assert caught.value.param == "stop"


@pytest.mark.parametrize("told", DIALECTS)
def test_the_upstreams_name_of_the_model_is_sent(told: Dialect) -> None:
    request = CODECS[Dialect.CHAT].read_request(REQUESTS[Dialect.CHAT]["plain"])
    body = CODECS[told].write_request(request, Target(model="other")).body
    assert body.get("model", "other") == "other"


@pytest.mark.parametrize("told", DIALECTS)
def test_what_a_model_refuses_is_dropped_and_told(told: Dialect) -> None:
    asked = {**REQUESTS[Dialect.CHAT]["plain"], "temperature": 0.3}
    request = CODECS[Dialect.CHAT].read_request(asked)
    target = Target(drops=frozenset({"temperature"}))
    written = CODECS[told].write_request(request, target)
    assert b"temperature" not in orjson.dumps(written.body)
    assert written.dropped == ("temperature",)


@pytest.mark.parametrize("told", DIALECTS)
def test_unknown_members_ride_along_to_their_own_dialect_alone(told: Dialect) -> None:
    asked = {**REQUESTS[Dialect.CHAT]["plain"], "logit_bias": {"50256": -100}}
    request = CODECS[Dialect.CHAT].read_request(asked)
    written = CODECS[told].write_request(request, ANY_MODEL)
    if told is Dialect.CHAT:
        assert written.body["logit_bias"] == {"50256": -100}
        assert written.dropped == ()
    else:
        assert "logit_bias" not in written.body
        assert written.dropped == ("logit_bias",)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_has_a_rule_for_every_feature(dialect: Dialect) -> None:
    rules = CODECS[dialect].rules
    assert list(rules) == list(FEATURES)
    assert all(r.wire for r in rules.values() if r.treatment is Treatment.KEPT)


@pytest.mark.parametrize("told", DIALECTS)
def test_what_is_refused_names_its_parameter(told: Dialect) -> None:
    asked = {**REQUESTS[Dialect.CHAT]["plain"], "n": 2}
    request = CODECS[Dialect.CHAT].read_request(asked)
    if told is Dialect.CHAT:
        assert CODECS[told].write_request(request, ANY_MODEL).body["n"] == 2
        return
    with pytest.raises(Refused) as caught:
        CODECS[told].write_request(request, ANY_MODEL)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "n")


@pytest.mark.parametrize("told", DIALECTS)
def test_no_turn_is_lost_silently(told: Dialect) -> None:
    picture = Image(Source("image/png", "AAAA"))
    turns = (
        Message(Role.USER, (Text("Draw."),)),
        Message(Role.ASSISTANT, (Text("Here."), picture)),
    )
    request = Request(Dialect.CHAT, "m", turns)
    written = CODECS[told].write_request(request, TARGET)
    drawn = b"AAAA" in orjson.dumps(written.body)
    assert drawn is (told is Dialect.GEMINI)
    assert written.dropped == (() if drawn else ("image",))


@pytest.mark.parametrize("role", [Role.USER, Role.ASSISTANT])
@pytest.mark.parametrize("told", DIALECTS)
def test_what_another_dialect_alone_knows_is_refused_with_its_place(
    told: Dialect, role: Role
) -> None:
    origin = Dialect.CHAT if told is not Dialect.CHAT else Dialect.MESSAGES
    part = Opaque(origin, "strange", {"type": "strange"}, "messages[0].content[0]")
    request = Request(origin, "m", (Message(role, (part,)),))
    with pytest.raises(Refused) as caught:
        CODECS[told].write_request(request, TARGET)
    assert caught.value.param == "messages[0].content[0]"


def stream_of(reply: Reply, dialect: Dialect) -> bytes:
    return CODECS[dialect].stream_writer(CONTEXT).write(events_of(reply))


def read_stream(stream: bytes, dialect: Dialect) -> Reply:
    reader = CODECS[dialect].stream_reader("made")
    return assemble([*reader.feed(stream), *reader.close()])


def whole_of(reply: Reply, dialect: Dialect) -> bytes:
    return orjson.dumps(CODECS[dialect].write_reply(reply, CONTEXT))


@pytest.mark.parametrize("name", REPLIES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_reads_as_the_whole_reply_does(name: str, dialect: Dialect) -> None:
    reply = REPLIES[name]
    streamed = read_stream(stream_of(reply, dialect), dialect)
    whole = CODECS[dialect].read_reply(whole_of(reply, dialect), "made")
    assert streamed.first == whole.first
    assert streamed.usage == whole.usage
    assert streamed.complete and whole.complete
    kinds = [type(part) for part in reply.first.parts]
    assert [type(part) for part in streamed.first.parts] == kinds


@pytest.mark.parametrize("name", REPLIES)
@pytest.mark.parametrize("made", DIALECTS)
@pytest.mark.parametrize("told", DIALECTS)
def test_a_translated_stream_is_the_translated_whole(
    name: str, made: Dialect, told: Dialect
) -> None:
    reply = REPLIES[name]
    reader = CODECS[made].stream_reader("made")
    events = reader.feed(stream_of(reply, made)) + reader.close()
    streamed = read_stream(CODECS[told].stream_writer(CONTEXT).write(events), told)
    read = CODECS[made].read_reply(whole_of(reply, made), "made")
    whole = CODECS[told].read_reply(whole_of(read, told), "made")
    assert streamed.first == whole.first
    assert (streamed.usage, streamed.model) == (whole.usage, whole.model)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_error_in_the_stream_is_read_back_as_one(dialect: Dialect) -> None:
    events = [Start("x", "m"), TextDelta("Hel"), Failed("It broke"), End()]
    stream = CODECS[dialect].stream_writer(CONTEXT).write(events)
    found = read_stream(stream, dialect)
    assert found.failure is not None
    assert found.failure.message == "It broke"
    assert not found.complete


@pytest.mark.parametrize("body", [b'"Hi"', b"[]", b"oops", b"1"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_whole_reply_of_no_shape_has_failed(dialect: Dialect, body: bytes) -> None:
    found = CODECS[dialect].read_reply(body, "made")
    assert found.failure is not None
    assert not found.complete


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_error_body_is_read_back(dialect: Dialect) -> None:
    problem = Problem(404, "not_found_error", "model_not_found", "No such model")
    found = CODECS[dialect].read_error(write_error(problem, dialect))
    assert found is not None
    assert found.message == "No such model"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_that_stops_early_has_failed(dialect: Dialect) -> None:
    writer = CODECS[dialect].stream_writer(CONTEXT)
    found = read_stream(writer.write([Start("x", "m"), TextDelta("Hel")]), dialect)
    assert found.first.parts == (Text("Hel"),)
    assert found.failure is not None
    assert found.failure.code == "upstream_stream_broken"
