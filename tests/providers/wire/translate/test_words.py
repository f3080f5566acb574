"""Small words that all dialects share: fields, media, signatures, efforts, calls."""

from __future__ import annotations

import pytest

from providers.wire.dialect import Dialect
from providers.wire.translate.fields import Node, load, load_object
from providers.wire.translate.mapping import FEATURES, breakpoints
from providers.wire.translate.media import from_base64, from_url, image_type, to_url
from providers.wire.translate.problems import (
    ImageUnreadable,
    InvalidField,
    InvalidJSON,
)
from providers.wire.translate.request import (
    CacheHint,
    Effort,
    Message,
    Request,
    Role,
    Source,
    Text,
    Thinking,
    Tool,
    ToolResult,
)
from providers.wire.translate.signatures import seal, unseal
from providers.wire.translate.thinking import BUDGETS, budget_of, effort_of
from providers.wire.translate.toolcalls import (
    Unanswered,
    arguments_object,
    lenient_object,
)
from providers.wire.translate.usage import (
    from_anthropic,
    from_gemini,
    from_openai,
    to_anthropic,
    to_chat,
    to_gemini,
    to_responses,
)
from providers.wire.usage import Usage


@pytest.mark.parametrize("body", [b"", b"nul", b'"x"', b'{"a":NaN}', b'{"a":"\xff"}'])
def test_a_body_must_be_an_object(body: bytes) -> None:
    with pytest.raises(InvalidJSON):
        load_object(body)


def test_lone_surrogates_are_replaced() -> None:
    assert load(b'{"a":"\\udc00","b":"\\n"}') == {"a": "\ufffd", "b": "\n"}


def test_a_whole_float_counts_as_an_integer() -> None:
    assert Node({"n": 5.0}).integer("n") == 5
    with pytest.raises(InvalidField):
        Node({"n": True}).integer("n")


@pytest.mark.parametrize(
    "url", ["ftp://x/a", "data:image/png;base64", "data:image/png,abc", "a.png"]
)
def test_urls_that_nobody_can_read(url: str) -> None:
    with pytest.raises(ImageUnreadable) as caught:
        from_url(url, "at")
    assert caught.value.param == "at"


@pytest.mark.parametrize("data", ["", "a", "abcde", "äöüß"])
def test_what_is_no_base64(data: str) -> None:
    with pytest.raises(ImageUnreadable):
        from_base64(data, None, "at")


def test_the_type_of_an_image_is_seen_in_its_first_bytes() -> None:
    assert image_type(Source(data="/9j/4AAQ")) == "image/jpeg"
    assert image_type(Source("image/webp", "/9j/4AAQ")) == "image/webp"
    assert to_url(Source(data="AAAA")) == "data:image/png;base64,AAAA"
    assert to_url(Source(file_id="f")) is None


def test_a_signature_comes_back_with_its_origin() -> None:
    for carrier in Dialect:
        for origin in Dialect:
            assert unseal(seal("a:b", origin, carrier), carrier) == ("a:b", origin)
    strange = "x-local-ai:nobody:sig"
    assert unseal(strange, Dialect.MESSAGES) == (strange, Dialect.MESSAGES)


def test_an_effort_covers_its_budget() -> None:
    for effort, tokens in BUDGETS.items():
        assert budget_of(Thinking(effort=effort)) == tokens
    assert effort_of(Thinking(budget_tokens=100)) is Effort.LOW
    assert effort_of(Thinking(budget_tokens=1024)) is Effort.LOW
    assert effort_of(Thinking(budget_tokens=1025)) is Effort.MEDIUM
    assert effort_of(Thinking(budget_tokens=31_999)) is Effort.HIGH
    assert effort_of(Thinking(enabled=True)) is None
    assert budget_of(Thinking(Effort.HIGH, enabled=False)) == 0


def test_arguments_must_be_an_object_but_a_models_mistake_is_kept() -> None:
    assert arguments_object(" ") == {}
    for text in ("[1]", "{"):
        with pytest.raises(InvalidField) as caught:
            arguments_object(text, "at")
        assert caught.value.param == "at"
        assert lenient_object(text) == {"input": text}


def test_results_without_ids_answer_the_first_call_of_their_name() -> None:
    calls = Unanswered()
    ids = [calls.call(None, "f"), calls.call(None, "g"), calls.call("own", "f")]
    assert calls.result(None, "g", "at") == ids[1]
    assert calls.result("own", None, "at") == "own"
    assert calls.result(None, None, "at") == ids[0]
    with pytest.raises(InvalidField):
        calls.result(None, "f", "at")


def test_breakpoints_are_listed_in_the_order_of_the_prompt() -> None:
    hint = CacheHint()
    tool = Tool("f", cache=hint)
    system, inner, late = Text("s", hint), Text("i", hint), Text("l", hint)
    result = ToolResult("c", (inner,))
    request = Request(
        Dialect.MESSAGES,
        "m",
        (Message(Role.USER, (result, late)),),
        system=(system,),
        tools=(tool,),
    )
    assert breakpoints(request) == [tool, system, inner, late]
    assert FEATURES["cache_control"].asked(request)


def test_usage_survives_each_dialect() -> None:
    usage = Usage(prompt=100, completion=40, cached=60, cache_write=10, reasoning=15)
    assert from_openai(to_chat(usage)) == usage
    assert from_openai(to_responses(usage)) == usage
    assert from_anthropic(to_anthropic(usage)) == usage
    # Gemini does not count what it writes to its cache.
    plain = Usage(prompt=100, completion=40, cached=60, reasoning=15)
    assert from_gemini(to_gemini(usage)) == plain
    assert to_anthropic(usage)["input_tokens"] == 30


def test_a_gemini_total_alone_tells_the_completion() -> None:
    found = {"promptTokenCount": 4, "totalTokenCount": 9}
    assert from_gemini(found) == Usage(prompt=4, completion=5)
    assert from_gemini({}) is None
