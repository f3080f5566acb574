import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from providers.wire.members import (
    MalformedJSON,
    Members,
    WrongType,
    edits_of,
    read_members,
    with_member,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
NAMES = st.sampled_from(["model", "stream", "messages", "é", "a\\b", 'q"', "", "x y"])
OBJECTS = st.dictionaries(NAMES | TEXT, JSON, max_size=6)
LAYOUTS = st.sampled_from([
    {"separators": (",", ":")},
    {"separators": (", ", ": ")},
    {"separators": (" ,", "\t:\r\n")},
    {"indent": 2},
    {"indent": "\t"},
])  # fmt: skip
SPACE = st.sampled_from(["", " ", "\n", "\r\n\t "])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    found = draw(OBJECTS)
    written = json.dumps(found, ensure_ascii=draw(st.booleans()), **draw(LAYOUTS))
    return found, (draw(SPACE) + written + draw(SPACE)).encode()


def refused(constant: str) -> None:
    raise ValueError(constant)


def oracle(body: bytes) -> dict[str, Any] | None:
    """What json makes of it, under the same rules; None for refused."""
    try:
        pairs = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=lambda pairs: ("object", pairs),
            parse_constant=refused,
            parse_int=str,
            parse_float=str,
        )
    except (ValueError, RecursionError):
        return None
    if not isinstance(pairs, tuple):
        return None
    names = [name for name, _ in pairs[1]]
    return None if len(set(names)) < len(names) else dict(pairs[1])


def read_or_none(body: bytes) -> Members | None:
    try:
        return read_members(body)
    except MalformedJSON:
        return None


@given(bodies())
def test_members_are_what_json_reads(pair: tuple[dict[str, Any], bytes]) -> None:
    found, body = pair
    members = read_members(body)
    assert members.names == set(found)
    for name, value in found.items():
        raw = members.raw(name)
        assert raw is not None
        assert json.loads(raw) == value
        assert raw in body


PIECES = st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b":", b'"', b"a", b'"a"', b'"b"', b'"a":1', b"1",
     b"-", b".", b"0", b"e", b"true", b"null", b"NaN", b"Infinity", b"\\", b"\\u0061",
     b"\\ud83d", b"\\ude00", b" ", b"\n", b"\x00", b"\xc3\xa9", b"\xff", b"\xed\xa0\x80"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=10).map(b"".join))
@example(b'{"a":1,"a":2}')
@example(b'{"a":1, "\\u0061":2}')
@example(b'{"\\u0061":1,"a":1}')
@example(b'{"a":1,"bb":22, "a":1 }')
@example(b'{"a":NaN}')
@example(b'{"a":-Infinity}')
@example(b'{"a":1e999}')
@example(b'{"a":"\\ud800"}')
@example(b'{"a":"\\ud800","a":1}')
@example(b'{"a":{"b":1,"b":2}}')
@example(b'{"\xc3\xa9":1,"\\u00e9":2}')
@example(b"[]")
@example(b"null")
@example(b"")
@example(b"{} {}")
@example(b'{"a":"\xff"}')
@example(b'{"a":"\xed\xa0\x80"}')
def test_accepted_is_what_json_accepts(body: bytes) -> None:
    members = read_or_none(body)
    expected = oracle(body)
    assert (members is None) == (expected is None)
    if members is not None and expected is not None:
        assert members.names == set(expected)


@given(bodies(), st.integers(0, 200), PIECES)
def test_damaged_bodies_are_judged_as_json_judges(
    pair: tuple[dict[str, Any], bytes], at: int, piece: bytes
) -> None:
    _, body = pair
    damaged = body[:at] + piece + body[at:]
    assert (read_or_none(damaged) is None) == (oracle(damaged) is None)


@given(bodies(), st.data())
def test_a_second_key_is_refused_in_any_layout(
    pair: tuple[dict[str, Any], bytes], data: st.DataObject
) -> None:
    found, body = pair
    if not found:
        return
    name = data.draw(st.sampled_from(sorted(found)))
    value = json.dumps(data.draw(JSON | st.just(found[name])))
    space = data.draw(SPACE)
    again = f"{space},{space}{json.dumps(name)}:{value}}}".encode()
    with pytest.raises(MalformedJSON, match="twice"):
        read_members(body.rstrip()[:-1] + again)


@given(bodies(), st.dictionaries(NAMES, JSON, max_size=4), st.sets(NAMES, max_size=4))
def test_an_edit_changes_what_it_names_and_no_other_byte(
    pair: tuple[dict[str, Any], bytes], fields: dict[str, Any], drop: set[str]
) -> None:
    found, body = pair
    members = read_members(body)
    edited = members.splice(
        {k: json.dumps(v).encode() for k, v in fields.items()}, drop
    )
    kept = {k: v for k, v in found.items() if k not in drop or k in fields}
    assert json.loads(edited) == {**kept, **fields}
    again = read_members(edited)
    for name in kept.keys() - fields.keys():
        assert again.raw(name) == members.raw(name)


@given(bodies(), NAMES, JSON)
def test_replacing_keeps_all_bytes_around(
    pair: tuple[dict[str, Any], bytes], name: str, value: Any
) -> None:
    _, body = pair
    members = read_members(body)
    old = members.raw(name)
    new = json.dumps(value).encode()
    edited = members.splice({name: new})
    if old is not None:
        assert len(edited) == len(body) - len(old) + len(new)
        start = next(i for i, (a, b) in enumerate(zip(body + b"!", edited + b"?",
                     strict=False)) if a != b)  # fmt: skip
        assert edited[start:].endswith(body[start + len(old) :])
    elif not members.names:
        assert json.loads(edited) == {name: value}
    else:
        assert (
            edited.replace(b"," + json.dumps(name).encode() + b":" + new, b"") == body
        )


BODY = b'{ "model" : "m",\n "stream":true , "n": 1.50 }\n'


def test_nothing_to_change_is_the_same_object() -> None:
    members = read_members(BODY)
    assert members.splice({}) is BODY
    assert members.splice({"model": b'"m"', "n": b"1.50"}, {"absent"}) is BODY
    assert members.body is BODY


@pytest.mark.parametrize(
    ("fields", "drop", "expected"),
    [
        (
            {"model": b'"other"'},
            (),
            b'{ "model" : "other",\n "stream":true , "n": 1.50 }\n',
        ),
        ({"x": b"[]"}, (), b'{ "model" : "m",\n "stream":true , "n": 1.50,"x":[] }\n'),
        ({}, ("model",), b'{ "stream":true , "n": 1.50 }\n'),
        ({}, ("stream",), b'{ "model" : "m" , "n": 1.50 }\n'),
        ({}, ("n",), b'{ "model" : "m",\n "stream":true }\n'),
        ({}, ("model", "n"), b'{ "stream":true }\n'),
        ({}, ("model", "stream", "n"), b"{  }\n"),
        ({"x": b"1"}, ("model", "stream", "n"), b'{ "x":1 }\n'),
        ({"n": b"2"}, ("n",), b'{ "model" : "m",\n "stream":true , "n": 2 }\n'),
    ],
)
def test_edits(
    fields: dict[str, bytes], drop: tuple[str, ...], expected: bytes
) -> None:
    assert read_members(BODY).splice(fields, drop) == expected


@pytest.mark.parametrize(
    "body",
    [b'{"model":"m","n":1}', b'{ "model" : "m" }', b"{}", '{"é":"ü"}'.encode()],
)
@pytest.mark.parametrize("drops", [(), ("n",), ("absent",), ("x",)])
@pytest.mark.parametrize(
    "sets", [{}, {"x": b"1"}, {"x": b"1", "ü": b"[]"}, {"model": b'"o"', "x": b"1"}]
)
def test_edits_that_are_prepared_come_out_alike(
    body: bytes, sets: dict[str, bytes], drops: tuple[str, ...]
) -> None:
    edits, expected = edits_of(sets, drops), read_members(body).splice(sets, drops)
    members = read_members(body)
    assert members.edited(edits) == members.edited(edits) == expected


def test_an_edit_may_follow_another() -> None:
    members = read_members(b'{"a":1,"b":2}')
    assert members.splice({}, {"a"}) == b'{"b":2}'
    assert members.splice({"c": b"3"}, {"b"}) == b'{"a":1,"c":3}'


def test_half_a_surrogate_pair_passes_untouched() -> None:
    body = b'{"model":"m", "x":"\\ud800 \\\\ud83d","\\ud83d\\ude00":1}'
    members = read_members(body)
    assert members.raw("x") == b'"\\ud800 \\\\ud83d"'
    assert members.splice({"model": b'"n"'}) == body.replace(b'"m"', b'"n"')
    with pytest.raises(WrongType, match="x must be"):
        members.text("x")


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_refused(opening: bytes) -> None:
    with pytest.raises(MalformedJSON):
        read_members(b'{"a":' + opening * 100_000)
    closing = b"]" if opening == b"[" else b"}"
    depth = 100_000
    with pytest.raises(MalformedJSON, match="deeply"):
        read_members(b'{"a":' + opening * depth + b"1" + closing * depth + b"}")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a":"\xff"}', "UTF-8"),
        (b'{"a":"' + "é".encode() * 40_000 + b'\xc3"}', "UTF-8"),
        (b'{"a":"\xc3', "UTF-8"),
        (b"[]", "one JSON object"),
        (b'"text"', "one JSON object"),
        (b"", "truncated"),
        (b'{"a":1,}', "trailing comma"),
        (b'{"a":1,"b":2,"a":3}', '"a" appears twice'),
    ],
)
def test_the_message_says_what_is_wrong(body: bytes, message: str) -> None:
    with pytest.raises(MalformedJSON, match=message):
        read_members(body)


def test_utf8_is_judged_across_inner_steps() -> None:
    body = json.dumps({"a": "x" + "€" * 70_000}, ensure_ascii=False).encode()
    assert read_members(body).names == {"a"}


def test_typed_reads() -> None:
    members = read_members(b'{"s":"t\\u00e9","f":false,"n":null,"i":3,"o":{"a":[1]}}')
    assert members.text("s") == "té"
    assert members.flag("f") is False
    assert members.text("n") is members.flag("n") is members.text("absent") is None
    assert members.value("o") == {"a": [1]}
    assert members.value("absent") is None
    assert "n" in members
    assert "absent" not in members
    assert members.raw("absent") is None
    with pytest.raises(WrongType, match="i must be a string") as caught:
        members.text("i")
    assert (caught.value.name, caught.value.expected) == ("i", "a string")
    with pytest.raises(WrongType, match="s must be true or false"):
        members.flag("s")
    with pytest.raises(WrongType):
        members.flag("i")


def test_merging_into_the_callers_own_object() -> None:
    merged = with_member(b'{ "x" : 1.0 }', "include_usage", b"true")
    assert merged == b'{ "x" : 1.0,"include_usage":true }'
    assert with_member(b"{}", "a", b"1") == b'{"a":1}'
    same = b'{"include_usage":true}'
    assert with_member(same, "include_usage", b"true") is same
    with pytest.raises(MalformedJSON):
        with_member(b"[1]", "a", b"1")


def test_a_large_value_is_copied_by_an_edit_alone_and_once() -> None:
    body = b'{"model":"m","image":"' + b"A" * (4 << 20) + b'"}'
    tracemalloc.start()
    try:
        members = read_members(body)
        assert members.text("model") == "m"
        assert tracemalloc.get_traced_memory()[1] < 64 << 10
        edited = members.splice({"model": b'"other"'}, {"absent"})
        assert tracemalloc.get_traced_memory()[1] < len(body) + (64 << 10)
    finally:
        tracemalloc.stop()
    assert edited == body.replace(b'"m"', b'"other"')


def test_large_text_is_checked_without_a_copy() -> None:
    body = json.dumps({"a": "€" * (1 << 20)}, ensure_ascii=False).encode()
    tracemalloc.start()
    try:
        read_members(body)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
