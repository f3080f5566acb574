"""What a known head says of what came is what reading it says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.known_head import KnownHead

BEFORE = b"POST /v1/50%25 HTTP/1.1\r\nx-odd: %d %s %%\r\ncontent-length: "
AFTER = b"\r\nhost: box\r\n\r\n"


def whole(length: int, given: bytes | None = None) -> bytes:
    number = b"%d" % length if given is None else given
    return BEFORE + number + AFTER + b"x" * length


def begins(data: bytes) -> int:
    return KnownHead(BEFORE, AFTER).body_at(data)


def test_it_finds_the_body() -> None:
    for length in (1, 5, 50, 500, 12345):
        data = whole(length)
        assert data[begins(data) :] == b"x" * length


@given(st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 1200)), max_size=6))
def test_it_answers_the_same_whatever_came_before(came: list[tuple[int, int]]) -> None:
    known = KnownHead(BEFORE, AFTER)
    for said, sent in came:
        data = whole(sent, b"%d" % said)
        assert known.body_at(data) == begins(data)
        assert known.body_at(whole(sent)) == begins(whole(sent))


@given(st.integers(0, 3000))
def test_it_finds_all_of_a_body_or_nothing(length: int) -> None:
    data = whole(length)
    at = begins(data)
    assert at in (0, len(data) - length)
    # Only where a digit more would take the place of a byte.
    assert at or len(str(length)) != len(str(length + len(str(length))))


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_a_body_of_another_length_is_not_taken(said: int, sent: int) -> None:
    data = whole(sent, b"%d" % said)
    assert said == sent or begins(data) == 0


def test_a_number_that_is_not_plain_is_not_taken() -> None:
    for number in (b"010", b"-1", b"+9", b"", b" 8", b"0x8", b"1_0", b"8 "):
        for length in range(12):
            assert begins(whole(length, number)) == 0


@given(st.binary(max_size=200))
def test_whatever_else_comes_is_not_taken(data: bytes) -> None:
    assert begins(data) == 0


@given(st.data())
def test_no_head_that_differs_is_taken(data: st.DataObject) -> None:
    sent = bytearray(whole(40))
    at = data.draw(st.integers(0, len(sent) - 41))
    sent[at] ^= data.draw(st.integers(1, 255))
    assert begins(bytes(sent)) == 0


def test_nothing_is_taken_that_is_not_all_there_or_has_more_behind() -> None:
    data = whole(40)
    for end in range(len(data)):
        assert begins(data[:end]) == 0
    assert begins(data + b"P") == 0
    assert begins(data + data) == 0
