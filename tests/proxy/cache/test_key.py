from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.key import Asked, read_asked
from proxy.core.types import Headers

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "seed": 1}


def asked(
    body: object = BODY,
    *pairs: tuple[str, str],
    tenant: str = "a",
    operation: str = "chat",
    model: str = "m",
) -> Asked:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = read_asked(tenant, operation, model, data, Headers(pairs))
    assert found is not None
    return found


def key(*arguments: Any, **named: Any) -> bytes:
    return asked(*arguments, **named).key


@pytest.mark.parametrize(
    "more",
    [
        {"stream": True},
        {"stream": False, "stream_options": {"include_usage": True}},
        {"user": "u", "metadata": {"a": "b"}},
        {"model": "an-alias-of-m"},
    ],
)
def test_form_and_what_is_said_of_the_caller_do_not_matter(
    more: dict[str, Any],
) -> None:
    assert key({**BODY, **more}) == key()


def test_two_texts_of_one_value_ask_the_same() -> None:
    text = b'{ "seed":1,"messages" : [{"content":"\\u0068i","role":"user"}]}'
    assert key(text) == key()


@pytest.mark.parametrize(
    "other",
    [
        {"tenant": "b"},
        {"operation": "completions"},
        {"model": "n"},
        {"body": {**BODY, "seed": 2}},
        {"body": {**BODY, "seed": 1.0}},
        {"body": {**BODY, "temperature": 0}},
        {"body": {**BODY, "tools": []}},
        {"body": {**BODY, "messages": [{"role": "user", "content": "Hi"}]}},
        {"body": {**BODY, "messages": [{"content": {"user": "u"}}]}},
    ],
)
def test_whoever_asks_another_thing_gets_another_answer(other: dict[str, Any]) -> None:
    assert key(**other) != key()


def test_nested_names_are_not_left_out() -> None:
    assert key({"messages": [{"user": "a"}]}) != key({"messages": [{"user": "b"}]})


def test_parts_of_a_key_do_not_run_together() -> None:
    assert key(tenant="a", model="bm") != key(tenant="ab", model="m")


def test_numbers_beyond_64_bits_stay_apart() -> None:
    bodies = [b'{"seed":%d}' % (2**70 + n) for n in range(3)]
    assert len({key(body) for body in bodies}) == 3


@pytest.mark.parametrize("body", [b'{"a":"\\ud800"}', b"{", b'{"a":' + b"[" * 5000])
def test_what_cannot_be_read_here_is_not_kept(body: bytes) -> None:
    assert read_asked("a", "chat", "m", body, Headers()) is None


def test_versions_and_betas_are_part_of_the_question() -> None:
    version = ("anthropic-version", "2023-06-01")
    beta = ("anthropic-beta", "context-1m")
    keys = {key(), key(BODY, version), key(BODY, beta), key(BODY, version, beta)}
    assert len(keys) == 4
    assert key(BODY, version, beta) == key(BODY, beta, version)
    assert key(BODY, ("x-api-key", "secret"), ("user-agent", "x")) == key()


@pytest.mark.parametrize("operation", ["speech", "transcriptions", "count_tokens", "x"])
def test_other_operations_are_never_kept(operation: str) -> None:
    assert read_asked("a", operation, "m", b"{}", Headers()) is None


@pytest.mark.parametrize(
    "more",
    [
        {"background": True},
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"web_search_options": {"search_context_size": "low"}},
        {"plugins": [{"id": "web"}]},
    ],
)
def test_what_depends_on_more_than_the_body_is_never_kept(more: dict[str, Any]) -> None:
    body = json.dumps({**BODY, **more}).encode()
    assert read_asked("a", "responses", "m", body, Headers()) is None
    nothing = json.dumps({**BODY, **dict.fromkeys(more)}).encode()
    assert read_asked("a", "responses", "m", nothing, Headers())


@pytest.mark.parametrize(
    ("said", "reads", "stores"),
    [
        ("", True, True),
        ("no-cache", False, True),
        ("no-store", False, False),
        ("max-age=0, no-store", False, False),
        ("No-Cache", False, True),
        ("x-no-cache-x", True, True),
        ("no-cachet", True, True),
        ("no-transform", True, True),
    ],
)
def test_cache_control_is_heeded(said: str, reads: bool, stores: bool) -> None:
    found = asked(BODY, ("cache-control", said))
    assert (found.reads, found.stores) == (reads, stores)


@pytest.mark.parametrize("operation", ["embeddings", "rerank", "moderations"])
def test_what_has_no_streams_is_answered_whole(operation: str) -> None:
    assert not asked({**BODY, "stream": True}, operation=operation).stream


def test_the_form_that_is_wanted_is_told() -> None:
    plain = asked()
    assert (plain.stream, plain.include_usage, plain.is_bounded) == (False,) * 3
    options = {"include_usage": True}
    full = asked({**BODY, "stream": True, "stream_options": options, "max_tokens": 5})
    assert (full.stream, full.include_usage, full.is_bounded) == (True,) * 3


plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values, values)
def test_equal_values_have_equal_keys_and_others_do_not(
    first: object, second: object
) -> None:
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (key({"x": first}) == key({"x": second})) is same
    shuffled = json.dumps({"y": 1, "x": first}, indent=1).encode()
    assert key(shuffled) == key({"x": first, "y": 1})
