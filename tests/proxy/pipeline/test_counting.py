from __future__ import annotations

import pytest

from providers.wire.dialect import Dialect
from providers.wire.translate.request import (
    File,
    Image,
    Message,
    Opaque,
    Part,
    Request,
    Role,
    Source,
    Text,
    Tool,
    ToolCall,
)
from proxy.pipeline.counting import Count, estimate
from proxy.pipeline.translation import Speaker, Unreadable

WHO = Speaker("x", 0.0, "default")


def of(*parts: Part, tools: tuple[Tool | Opaque, ...] = ()) -> int:
    turns = (Message(Role.USER, parts),)
    return estimate(Request(Dialect.MESSAGES, "m", turns, tools=tools))


def test_text_is_counted_by_its_bytes() -> None:
    assert of(Text("a" * 400)) == 104
    assert of(Text("é" * 400)) == 204
    assert of(ToolCall("id", "name", "x" * 396)) == 104


def test_media_have_a_price_of_their_own() -> None:
    assert of(Image(Source(data="A" * 1_000_000))) == 1504
    assert of(File(Source(data="A" * 1_000_000))) == 2004
    assert of(File(Source(), text="a" * 400)) == 104


def test_tools_and_system_text_count() -> None:
    tool = Tool("name", "d" * 96, {"x": "y" * 92})
    assert of(Text(""), tools=(tool,)) == 8 + 50
    hosted = Opaque(Dialect.MESSAGES, "search", {"type": "search"})
    assert of(Text(""), tools=(hosted,)) > 8
    request = Request(Dialect.MESSAGES, "m", (), system=(Text("a" * 40),))
    assert estimate(request) == 10
    assert estimate(Request(Dialect.MESSAGES, "m", ())) == 1


def test_a_count_that_is_none_is_said() -> None:
    count = Count(None, b"", ())  # type: ignore[arg-type]
    assert count.say(b'{"totalTokens":7}', WHO).body == b'{"input_tokens":7}'
    for body in (b"{}", b"[]", b"x"):
        with pytest.raises(Unreadable):
            count.say(body, WHO)
    with pytest.raises(Unreadable):
        count.reader(WHO, 1)
    with pytest.raises(Unreadable):
        count.writer(WHO)
