from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.relay.errors import BrokenReply, Phase
from proxy.relay.framing import (
    Chunked,
    Decoder,
    Length,
    UntilClose,
    as_one_chunk,
    decoder_for,
)
from proxy.relay.head import read_reply


@dataclass
class Decoded:
    payload: bytes
    done: bool
    rest: bytes
    trailers: tuple[tuple[str, str], ...]


def decode(decoder: Decoder, pieces: list[bytes]) -> Decoded:
    """Feed pieces until the body is done; what follows it is the rest."""
    payload = b""
    for number, piece in enumerate(pieces):
        payload += decoder.feed(piece)
        if decoder.done:
            rest = decoder.rest + b"".join(pieces[number + 1 :])
            return Decoded(payload, True, rest, decoder.trailers)
    return Decoded(payload, False, b"", decoder.trailers)


def cuts(data: bytes) -> list[list[bytes]]:
    """Every way of cutting in two, every single byte, and all at once."""
    in_two = [[data[:at], data[at:]] for at in range(1, len(data))]
    return [*in_two, [data[at : at + 1] for at in range(len(data))], [data]]


GOOD = [
    (b"0\r\n\r\n", b"", b"", ()),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b"", ()),
    (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world", b"", ()),
    (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", b"", ()),
    (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789", b"", ()),
    (b"00005\r\nhello\r\n000\r\n\r\n", b"hello", b"", ()),
    (b"000000000000005\r\nhello\r\n0\r\n\r\n", b"hello", b"", ()),
    (b'5;name=value;q="x;y"\r\nhello\r\n0;last\r\n\r\n', b"hello", b"", ()),
    (b"5 ;a\r\nhello\r\n0\t; b\r\n\r\n", b"hello", b"", ()),
    (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n", b"", ()),
    (b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n\r\n", b"", ()),
    (b"2\r\nhi\r\n0\r\nX-Sum: 1\r\ny: \r\n\r\n", b"hi", b"",
     (("x-sum", "1"), ("y", ""))),
    (b"2\r\nhi\r\n0\r\n\r\nHTTP/1.1 200", b"hi", b"HTTP/1.1 200", ()),
    (b"0\r\nX: y\r\n\r\nmore", b"", b"more", (("x", "y"),)),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "payload", "rest", "trailers"), GOOD)
def test_chunks_are_decoded_however_they_are_cut(
    wire: bytes, payload: bytes, rest: bytes, trailers: tuple[tuple[str, str], ...]
) -> None:
    for pieces in cuts(wire):
        assert decode(Chunked(), pieces) == Decoded(payload, True, rest, trailers)


@pytest.mark.parametrize("wire", [wire[: len(wire) - 1] for wire, *_ in GOOD[:12]])
def test_chunks_cut_short_are_never_done(wire: bytes) -> None:
    for pieces in cuts(wire):
        decoder = Chunked()
        assert decode(decoder, pieces).done is False
        assert decoder.finish_at_close() is False


BAD = [
    b"\r\n",
    b"x\r\n",
    b"-1\r\n",
    b"+5\r\nhello\r\n",
    b"0x5\r\nhello\r\n",
    b"5_0\r\n",
    b" 5\r\nhello\r\n",
    b"5 \r\nhello\r\n",
    b"5\x0b\r\nhello\r\n",
    b"\xb2\r\nhi\r\n",
    b";ext\r\n",
    b"5\nhello\r\n",
    b"5;a\nb\r\nhello\r\n",
    b"5;a\rb\r\nhello\r\n",
    b"5\r\nhello!\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5\r\nhello\r0\r\n\r\n",
    b"5\r\nhello\r\nz\r\n\r\n",
    b"0000000000000005\r\n",
    b"1000000000000000\r\n",
    b"FFFFFFFFFFFFFFFFFFFFFFFF\r\n",
    b"0\r\nno colon\r\n\r\n",
    b"0\r\nX : y\r\n\r\n",
    b"0\r\nX: y\n\r\n\r\n",
    b"0\r\n folded: 1\r\n\r\n",
]


@pytest.mark.parametrize("wire", BAD)
def test_malformed_chunks_are_refused_however_they_are_cut(wire: bytes) -> None:
    for pieces in cuts(wire):
        with pytest.raises(BrokenReply, match="not valid HTTP") as caught:
            decode(Chunked(), pieces)
        assert caught.value.phase is Phase.IDLE


@pytest.mark.parametrize(
    "wire",
    [
        b"5\nhello\n0\n\n",
        b"5\r\nhello\r\n0\n\n",
        b"5\r\nhello\r\n0\r\n\n",
        b"0\r\nX: y\n\n",
    ],
)
def test_a_bare_line_feed_is_refused_though_no_proper_end_of_line_follows(
    wire: bytes,
) -> None:
    for pieces in cuts(wire):
        with pytest.raises(BrokenReply, match="bare LF"):
            decode(Chunked(), pieces)


@pytest.mark.parametrize(
    "wire",
    [
        b"5;" + b"x" * 5000,
        b"5;" + b"x" * 5000 + b"\r\n",
        b"0\r\nX: " + b"x" * 20_000,
    ],
)
def test_what_is_held_back_of_a_size_line_or_trailer_is_bounded(wire: bytes) -> None:
    for size in (1, 700, len(wire)):
        pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
        with pytest.raises(BrokenReply, match=r"size line|trailer"):
            decode(Chunked(), pieces)


def test_a_huge_chunk_passes_piece_by_piece_and_nothing_is_kept() -> None:
    decoder = Chunked()
    assert decoder.feed(b"FFFFFFFFFFFF\r\nabc") == b"abc"
    piece = b"x" * 65_536
    assert decoder.feed(piece) == piece
    assert decoder._held == b""
    assert not decoder.done


EXTENSIONS = st.sampled_from([b"", b";a=b", b" ;a", b';q="1;2"'])
CHUNKS = st.lists(
    st.tuples(st.binary(min_size=1, max_size=40), EXTENSIONS, st.booleans()),
    max_size=6,
)
TRAILERS = st.lists(
    st.sampled_from([("x-a", "1"), ("x-b", ""), ("x-c", "caf\xe9")]), max_size=3
)
CUTS = st.lists(st.integers(0, 400), max_size=12)


@given(CHUNKS, TRAILERS, st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n\r\n"]), CUTS)
@example([(b"a", b"", False)], [], b"", [3, 4, 5])
def test_any_chunks_in_any_pieces_give_the_payload(
    chunks: list[tuple[bytes, bytes, bool]],
    trailers: list[tuple[str, str]],
    after: bytes,
    where: list[int],
) -> None:
    wire = b""
    for payload, extension, upper in chunks:
        size = b"%X" % len(payload) if upper else b"%x" % len(payload)
        wire += size + extension + b"\r\n" + payload + b"\r\n"
    wire += b"0\r\n"
    wire += b"".join(f"{n}: {v}\r\n".encode("latin-1") for n, v in trailers)
    wire += b"\r\n" + after
    edges = sorted({min(at, len(wire)) for at in where} | {0, len(wire)})
    pieces = [wire[a:b] for a, b in itertools.pairwise(edges)]
    decoded = decode(Chunked(), pieces)
    payload = b"".join(payload for payload, *_ in chunks)
    assert decoded == Decoded(payload, True, after, tuple(trailers))


@given(st.binary(max_size=60), CUTS)
def test_the_cuts_never_change_what_is_said(junk: bytes, where: list[int]) -> None:
    edges = sorted({min(at, len(junk)) for at in where} | {0, len(junk)})
    pieces = [junk[a:b] for a, b in itertools.pairwise(edges)]
    assert verdict(pieces) == verdict([junk])


def verdict(pieces: list[bytes]) -> object:
    try:
        return decode(Chunked(), pieces)
    except BrokenReply:
        return "broken"


def test_a_length_counts_down_however_it_is_cut() -> None:
    for pieces in cuts(b"hello, world"):
        assert decode(Length(5), pieces) == Decoded(b"hello", True, b", world", ())
    assert decode(Length(5), [b"hell"]).done is False
    assert Length(0).done is True
    assert Length(5).finish_at_close() is False


def test_a_body_without_framing_ends_with_its_connection() -> None:
    decoder = UntilClose()
    assert decoder.feed(b"anything\r\n\r\n") == b"anything\r\n\r\n"
    assert decoder.done is False
    assert decoder.finish_at_close() is True


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        (b"Transfer-Encoding: chunked\r\n", Chunked),
        (b"Content-Length: 3\r\n", Length),
        (b"Content-Length: 0\r\n", Length),
        (b"", UntilClose),
    ],
)
def test_the_head_decides_on_the_decoder(field: bytes, kind: type) -> None:
    head = read_reply(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n", "GET")
    assert type(decoder_for(head)) is kind


def test_one_whole_chunk_is_known_by_its_length() -> None:
    for size in (1, 9, 15, 17, 200, 255, 257, 4095, 70_000):
        frame = b"%x\r\n%b\r\n" % (size, b"x" * size)
        begin, found = as_one_chunk(len(frame))
        assert frame.startswith(begin)
        assert found == size
    assert [as_one_chunk(length)[1] for length in range(7)] == [0, 0, 0, 0, 0, 0, 1]


@given(st.integers(0, 100_000))
def test_a_length_says_of_no_chunk_that_it_is_another(length: int) -> None:
    begin, size = as_one_chunk(length)
    assert size == 0 or len(begin) + size + 2 == length


@pytest.mark.parametrize(
    "payload", [b"x" * 200, b"\r\n0\r\n\r\n", b"0\r\n\r\n", b"\r\n"]
)
def test_a_chunk_with_the_end_behind_it_is_all_there_is(payload: bytes) -> None:
    chunk = b"%x\r\n%b\r\n" % (len(payload), payload)
    decoder = Chunked()
    assert decoder.feed(chunk) == payload
    assert not decoder.done
    assert decoder.feed(chunk + b"0\r\n\r\n") == payload
    assert (decoder.done, decoder.rest, decoder.between) == (True, b"", False)
