from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.relay.errors import BrokenReply, Phase
from proxy.relay.head import (
    FIELD_LIMIT,
    HeadReader,
    ReplyHead,
    encode_fields,
    read_reply,
    read_trailers,
    write_request,
)

OK = b"HTTP/1.1 200 OK\r\n"


def read(fields: bytes, method: str = "GET") -> ReplyHead:
    return read_reply(OK + fields + b"\r\n", method)


def test_a_head_is_read_into_lower_case_names_and_text() -> None:
    head = read(b"Content-Type:  text/plain \t\r\nX-Odd: caf\xe9\r\nX-Empty:\r\n")
    assert head.status == 200
    assert head.pairs == (
        ("content-type", "text/plain"),
        ("x-odd", "caf\xe9"),
        ("x-empty", ""),
    )
    assert head.get("x-odd") == "caf\xe9"
    assert head.get("x-other") is None


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 200\r\n",
        b"HTTP/1.1 200 \r\n",
        b"HTTP/1.1 200 All is well\r\n",
        b"HTTP/1.1 200 d\xe9j\xe0\r\n",
        b"HTTP/1.0 200 OK\r\n",
    ],
)
def test_status_lines_of_http_1_are_read(line: bytes) -> None:
    assert read_reply(line + b"\r\n", "GET").status == 200


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.2 200 OK\r\n",
        b"HTTP/2 200 OK\r\n",
        b"HTTP/0.9 200 OK\r\n",
        b"HTTP/11.1 200 OK\r\n",
        b"http/1.1 200 OK\r\n",
        b"ICY 200 OK\r\n",
        b"HTTP/1.1  200 OK\r\n",
        b"HTTP/1.1\t200 OK\r\n",
        b"HTTP/1.1 20 OK\r\n",
        b"HTTP/1.1 099 OK\r\n",
        b"HTTP/1.1 2000 OK\r\n",
        b"HTTP/1.1 +20 OK\r\n",
        b"HTTP/1.1 200OK\r\n",
        b"HTTP/1.1 200 O\0K\r\n",
        b"HTTP/1.1 200 OK\n",
        b" HTTP/1.1 200 OK\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n",
        b"<html>\r\n",
    ],
)
def test_any_other_status_line_is_refused(line: bytes) -> None:
    with pytest.raises(BrokenReply, match="not valid HTTP") as caught:
        read_reply(line + b"\r\n", "GET")
    assert caught.value.phase is Phase.FIRST_BYTE


@pytest.mark.parametrize(
    "fields",
    [
        b"X: a\n",
        b"X: a\nY: b\r\n",
        b"X: a\rY: b\r\n",
        b"X: a\r\r\n",
        b"X: a\r\n folded\r\n",
        b"X: a\r\n\tfolded\r\n",
        b"X: a\r\n content-length: 5\r\n",
        b"X: a\r\n\tcontent-length: 5\r\n",
        b" X: a\r\n",
        b"X: a\0b\r\n",
        b"X\0: a\r\n",
        b"\0X: a\r\n",
        b"X : a\r\n",
        b"X\t: a\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Odd Content-Length: 5\r\n",
        b"(Content-Length: 5\r\n",
        b"\x0bContent-Length: 5\r\n",
        b"\xa0Content-Length: 5\r\n",
        b"no colon\r\n",
        b": no name\r\n",
        b"X\xe9: a\r\n",
        b"X@: a\r\n",
    ],
)
def test_a_malformed_line_is_refused(fields: bytes) -> None:
    with pytest.raises(BrokenReply, match="malformed line"):
        read(fields)


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\ncontent-length: 5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5_0\r\n",
        b"Content-Length: 5.0\r\n",
        b"Content-Length: 5 0\r\n",
        b"Content-Length: \xb2\r\n",
        b"Content-Length: chunked\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: 1000000000000000\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunkedx\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
        b"Transfer-Encoding: chunked;q=1\r\n",
        b'Transfer-Encoding: "chunked"\r\n',
        b"Transfer-Encoding:\r\n",
    ],
)
def test_framing_that_can_be_read_in_two_ways_is_refused(fields: bytes) -> None:
    with pytest.raises(BrokenReply):
        read(fields)
    with pytest.raises(BrokenReply):
        HeadReader().read(OK + fields + b"\r\n", "GET")


@pytest.mark.parametrize(
    ("fields", "length", "chunked", "keep_alive"),
    [
        (b"Content-Length: 5\r\n", 5, False, True),
        (b"CONTENT-LENGTH:5\r\n", 5, False, True),
        (b"Content-Length: 0\r\n", 0, False, True),
        (b"Transfer-Encoding: chunked\r\n", None, True, True),
        (b"transfer-encoding: Chunked\r\n", None, True, True),
        (b"", None, False, False),
        (b"Connection: keep-alive\r\n", None, False, False),
        (b"Content-Length: 5\r\nConnection: close\r\n", 5, False, False),
        (b"Content-Length: 5\r\nConnection: x, Close\r\n", 5, False, False),
        (b"Content-Length: 5\r\nConnection: x\r\nConnection: close\r\n", 5, False,
         False),
    ],
)  # fmt: skip
def test_the_framing_is_what_the_fields_say(
    fields: bytes, length: int | None, chunked: bool, keep_alive: bool
) -> None:
    head = read(fields)
    assert (head.length, head.chunked, head.keep_alive) == (length, chunked, keep_alive)


def test_a_head_has_only_so_many_fields() -> None:
    start, field = b"HTTP/1.1 200 OK\r\n", b"a: 1\r\n"
    read_reply(start + field * FIELD_LIMIT + b"\r\n", "POST")
    with pytest.raises(BrokenReply, match="too many fields"):
        read_reply(start + field * (FIELD_LIMIT + 1) + b"\r\n", "POST")


def test_http_1_0_connections_are_not_kept() -> None:
    raw = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n"
    assert read_reply(raw, "GET").keep_alive is False


@pytest.mark.parametrize("status", [100, 101, 103, 204, 304])
def test_some_statuses_never_have_a_body(status: int) -> None:
    raw = b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n" % status
    assert read_reply(raw, "GET").length == 0


def test_a_reply_to_head_has_no_body_and_keeps_what_it_says_of_it() -> None:
    head = read(b"Content-Length: 5\r\n", "HEAD")
    assert head.length == 0
    assert head.get("content-length") == "5"
    assert read(b"Transfer-Encoding: chunked\r\n", "HEAD").chunked is False


def test_a_205_is_framed_as_it_says() -> None:
    """RFC 9112 §6.3 knows no exception for it: its bytes must not be left over."""
    assert read_reply(b"HTTP/1.1 205 X\r\nContent-Length: 5\r\n\r\n", "GET").length == 5
    head = read_reply(b"HTTP/1.1 205 X\r\nTransfer-Encoding: chunked\r\n\r\n", "GET")
    assert head.chunked is True


@pytest.mark.parametrize("ending", [b"", b"a", b"\0"])
def test_long_runs_of_white_space_are_read_in_one_pass(ending: bytes) -> None:
    """A value is looked at once: backtracking over it would take hours here."""
    raw = OK + b"X:" + b" " * 30_000 + b"a" + b" \t" * 15_000 + ending + b"\r\n\r\n"
    if ending == b"\0":
        with pytest.raises(BrokenReply):
            read_reply(raw, "GET")
    else:
        assert read_reply(raw, "GET").pairs[0][0] == "x"


# -- what is remembered ----------------------------------------------------------

LINES = st.sampled_from([
    b"Content-Length: 5\r\n", b"content-length: 17\r\n", b"CONTENT-LENGTH: 0\r\n",
    b"Content-Length:5\r\n", b"Content-Length: 5 \r\n", b"Content-Length: x\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Date: now\r\n",
    b"X: content-length: 7\r\n", b"X:\r\n", b"X-Content-Length: 9\r\n", b"\0\r\n",
    b" folded: 1\r\n", b"content-length: 5\n",
])  # fmt: skip
STARTS = st.sampled_from([
    OK, b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 No\r\n", b"HTTP/1.1 404 \r\n",
    b"HTTP/1.1 205 R\r\n",
])  # fmt: skip
HEADS = st.builds(
    lambda start, lines: start + b"".join(lines) + b"\r\n",
    STARTS,
    st.lists(LINES, max_size=4),
)


@given(st.lists(st.tuples(HEADS, st.sampled_from(["GET", "POST", "HEAD"])), max_size=8))
def test_a_remembered_head_reads_as_a_new_one(asked: list[tuple[bytes, str]]) -> None:
    reader = HeadReader()
    for raw, method in [*asked, *asked]:
        assert outcome(reader.read, raw, method) == outcome(read_reply, raw, method)


def outcome(read: object, raw: bytes, method: str) -> object:
    """What was read, but for the field that the reader leaves to `length`."""
    assert callable(read)
    try:
        head = read(raw, method)
    except BrokenReply as error:
        return error.message
    pairs = [pair for pair in head.pairs if pair[0] != "content-length"]
    return head.status, pairs, head.length, head.chunked, head.keep_alive


def test_heads_that_differ_in_their_length_share_a_memo() -> None:
    reader = HeadReader()
    first = reader.read(OK + b"Content-Length: 5\r\n\r\n", "POST")
    second = reader.read(OK + b"Content-Length: 6\r\n\r\n", "POST")
    other = reader.read(OK + b"X: y\r\nContent-Length: 6\r\n\r\n", "POST")
    assert (first.length, second.length) == (5, 6)
    assert first.memo is second.memo
    assert other.memo is not first.memo


def test_the_head_of_a_stream_is_remembered_too() -> None:
    reader, raw = HeadReader(), OK + b"Transfer-Encoding: chunked\r\n\r\n"
    assert reader.read(raw, "POST") is reader.read(raw, "POST")


def test_only_so_many_heads_are_remembered() -> None:
    reader = HeadReader()
    for number in range(1000):
        reader.read(OK + b"X: %d\r\nContent-Length: 5\r\n\r\n" % number, "GET")
    assert len(reader._known) <= 128


@given(st.binary(max_size=200))
def test_no_bytes_can_do_worse_than_be_refused(junk: bytes) -> None:
    for raw in (junk, OK + junk, OK + junk + b"\r\n\r\n"):
        with contextlib.suppress(BrokenReply):
            read_reply(raw, "GET")


# -- trailers ----------------------------------------------------------------------


def test_trailers_are_read_as_fields() -> None:
    assert read_trailers(b"X-Sum: 1\r\nY: \xe9\r\n") == (("x-sum", "1"), ("y", "\xe9"))


@pytest.mark.parametrize(
    "raw",
    [b"X: a\n", b"X : a\r\n", b" X: a\r\n", b"X: a\r\n Y: b\r\n", b"X\r\n", b"\r\n"],
)
def test_malformed_trailers_are_refused(raw: bytes) -> None:
    with pytest.raises(BrokenReply, match="trailer"):
        read_trailers(raw)


# -- writing -----------------------------------------------------------------------


def test_a_request_is_written_but_for_its_closing_line() -> None:
    raw = write_request("POST", "/v1/x?y=z", [("host", "box.lan"), ("x", "caf\xe9")])
    assert raw == b"POST /v1/x?y=z HTTP/1.1\r\nhost: box.lan\r\nx: caf\xe9\r\n"


@pytest.mark.parametrize(
    ("target", "pair"),
    [
        ("/", ("x", "a\r\nHost: other")),
        ("/", ("x", "a\nb")),
        ("/", ("x", "a\rb")),
        ("/", ("x", "a\0b")),
        ("/", ("x\r\ny", "a")),
        ("/ HTTP/1.1\r\nHost: other", ("x", "a")),
        ("/", ("x", "\N{EURO SIGN}")),
    ],
)
def test_a_request_that_would_forge_lines_is_not_written(
    target: str, pair: tuple[str, str]
) -> None:
    with pytest.raises(ValueError):
        write_request("GET", target, [pair])


def test_fields_for_the_caller_are_encoded_a_line_each() -> None:
    assert encode_fields([("a", "1"), ("b", "caf\xe9")]) == b"a: 1\r\nb: caf\xe9\r\n"
    assert encode_fields([]) == b""


@pytest.mark.parametrize("value", ["1\r\nx: y", "1\n", "1\r", "1\0"])
def test_a_field_that_would_forge_a_line_is_left_out(value: str) -> None:
    assert encode_fields([("a", value), ("b", "2")]) == b"b: 2\r\n"
