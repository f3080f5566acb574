from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routes import ROUTES
from proxy.server.head import HeadReader
from tests.bench import heads

LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
PLAIN = LINE + b"Host: 127.0.0.1:3500\r\nContent-Length: 2\r\n\r\n"


def reader() -> HeadReader:
    return HeadReader(route for route in ROUTES if route.hot)


def with_field(field: bytes) -> bytes:
    return PLAIN.replace(b"Host:", field + b"\r\nHost:")


@pytest.mark.parametrize("name", sorted(p.stem for p in heads.FOLDER.glob("*.http")))
def test_heads_that_sdks_send_are_taken(name: str) -> None:
    found = reader().read(heads.head(name, "127.0.0.1:3500", b"{}"))
    assert found is not None
    assert found[1] == 2
    assert found[0].headers.get("host") == "127.0.0.1:3500"
    assert "content-length" not in found[0].headers


@pytest.mark.parametrize("target", [t for route in ROUTES for t in route.hot])
def test_hot_targets_are_taken(target: str) -> None:
    found = reader().read(PLAIN.replace(b"/v1/chat/completions", target.encode()))
    assert found is not None
    assert found[0].where.target == target


@pytest.mark.parametrize(
    "target", ["/ollama/api/pull", "/ollama/api/chat/", "/ollama/api/ch%61t", "/OLLAMA"]
)
def test_other_targets_below_a_hot_row_are_left(target: str) -> None:
    ours = reader()
    head = PLAIN.replace(b"/v1/chat/completions", target.encode())
    assert ours.read(head) is None
    assert ours.reason == "path"


def test_the_same_head_is_read_once_whatever_the_length() -> None:
    ours = reader()
    first = ours.read(PLAIN)
    second = ours.read(PLAIN.replace(b"Length: 2", b"Length: 31"))
    assert first is not None and second is not None
    assert first[0] is second[0]
    assert (first[1], second[1]) == (2, 31)


def test_what_is_remembered_is_bounded() -> None:
    ours = reader()
    for number in range(2000):
        assert ours.read(with_field(b"X-Number: %d" % number)) is not None
    assert len(ours._known) <= 512


@pytest.mark.parametrize(
    "field",
    [
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Upgrade: websocket",
        b"Connection: close",
        b"Connection: keep-alive, upgrade",
        b"Content-Encoding: gzip",
        b"Content-Length: 2",
        b"content-length: 3",
        b"Host: other.lan",
        b"X-Space : before colon",
        b"X-Nul: a\0b",
        b" folded: line",
        b"X-Bare: a\nb: c",
        b"X-Return: a\rb",
        b"No colon here",
        b"\r\n".join(b"X-%d: y" % number for number in range(99)),
    ],
)
def test_unusual_heads_are_left_to_the_other_door(field: bytes) -> None:
    assert reader().read(with_field(field)) is None


@pytest.mark.parametrize(
    "head",
    [
        PLAIN.replace(b"POST", b"GET"),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN.replace(b"completions", b"completions?x=1"),
        PLAIN.replace(b"/v1", b"/v2"),
        PLAIN.replace(b"Content-Length: 2\r\n", b""),
        PLAIN.replace(b"Length: 2", b"Length: +2"),
        PLAIN.replace(b"Length: 2", b"Length: 0x2"),
        PLAIN.replace(b"Length: 2", b"Length: 2, 2"),
        PLAIN.replace(b"Host: 127.0.0.1:3500\r\n", b""),
    ],
)
def test_other_requests_are_left_to_the_other_door(head: bytes) -> None:
    assert reader().read(head) is None


def test_a_head_without_its_number_is_never_taken_for_one_that_had_it() -> None:
    ours = reader()
    assert ours.read(PLAIN) is not None
    assert ours.read(PLAIN.replace(b"Length: 2", b"Length: ")) is None


def test_an_unfinished_request_line_may_become_one_of_ours() -> None:
    ours = reader()
    for size in range(1, len(LINE) + 20):
        assert ours.may_begin(PLAIN[:size]), PLAIN[:size]
    assert not ours.may_begin(b"GET /")
    assert not ours.may_begin(b"POST /v1/chat/completions HTTP/1.0\r\nHo")
    assert ours.reason == "path"


@pytest.mark.parametrize("odd", [b"\n", b"\r", b"\r\r\n", b"\n\n{}"])
def test_a_head_whose_line_ends_oddly_is_not_waited_for(odd: bytes) -> None:
    ours, begun = reader(), PLAIN[: PLAIN.index(b"\r\n") + 2] + b"Host: a"
    assert ours.may_begin(begun + b"\r")
    assert not ours.may_begin(begun + odd + b"content-length: 2")
    assert ours.reason == "malformed"


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(noise: bytes) -> None:
    ours = reader()
    for head in (noise + b"\r\n\r\n", LINE + noise + b"\r\n\r\n", with_field(noise)):
        found = ours.read(head)
        if found is not None:
            assert head.count(b"\n") == len(found[0].headers) + 3
