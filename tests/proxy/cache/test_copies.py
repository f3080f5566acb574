from __future__ import annotations

import pytest

from proxy.cache.copies import Caught, Collected, Copied
from tests.fakes.reply import KeptReply

JSON = [("content-type", "application/json")]
EVENTS = b"Content-Type: text/event-stream; charset=utf-8\r\nx-a: content-type: b\r\n"


@pytest.fixture
def caller() -> KeptReply:
    return KeptReply()


def test_a_collected_reply_is_caught_at_its_end() -> None:
    collected = Collected(100)
    collected.start(200, JSON, None)
    collected.write(b"{")
    assert collected.caught() is None
    collected.write(b"}")
    collected.end()
    caught = collected.caught()
    assert caught == Caught(200, "application/json", b"{}")
    assert caught.is_json
    assert not caught.is_stream
    assert (collected.started, collected.ended, collected.status) == (True, True, 200)
    assert collected.bytes_out == 2


def test_a_copy_goes_through_unchanged(caller: KeptReply) -> None:
    copied = Copied(caller, 100)
    copied.start(200, [], None, EVENTS)
    copied.write(b"data: 1\n\n")
    copied.end([("x", "y")])
    assert bytes(caller.body) == b"data: 1\n\n"
    assert (caller.block, caller.trailers) == (EVENTS, [("x", "y")])
    assert (copied.started, copied.ended, copied.status) == (True, True, 200)
    assert copied.bytes_out == caller.bytes_out
    caught = copied.caught()
    assert caught is not None
    assert caught.body == b"data: 1\n\n"
    assert caught.is_stream


def test_a_reply_in_one_go_is_copied_too(caller: KeptReply) -> None:
    copied = Copied(caller, 100)
    copied.whole(404, JSON, b"{}", b"x: y\r\n")
    assert copied.caught() == Caught(404, "application/json", b"{}")
    assert bytes(caller.body) == b"{}"
    collected = Collected(100)
    collected.whole(404, JSON, b"{}")
    assert collected.caught() == copied.caught()


def test_how_the_caller_fares_shows_through(caller: KeptReply) -> None:
    copied = Copied(caller, 100)
    caller.gone = caller.paused = True
    assert copied.gone
    assert copied.paused
    assert not copied.started


def test_what_breaks_off_is_not_caught(caller: KeptReply) -> None:
    copied, collected = Copied(caller, 100), Collected(100)
    for reply in (copied, collected):
        reply.start(200, JSON, None)
        reply.write(b"{")
        reply.abort()
        assert reply.caught() is None
    assert caller.aborted
    assert collected.gone


def test_what_is_too_large_is_let_through_and_not_held(caller: KeptReply) -> None:
    copied = Copied(caller, 10)
    copied.start(200, JSON, None)
    for _ in range(4):
        copied.write(b"1234")
    assert copied._pieces._parts == []
    copied.end()
    assert copied.caught() is None
    assert len(caller.body) == 16


@pytest.mark.parametrize(
    "block", [b"content-encoding: gzip\r\n", b"Content-Encoding: br\r\n"]
)
def test_what_is_compressed_is_not_caught(block: bytes) -> None:
    collected = Collected(100)
    collected.whole(200, JSON, b"{}", block)
    assert collected.caught() is None
    plain = Collected(100)
    plain.whole(200, JSON, b"{}", b"content-encoding: identity\r\n")
    assert plain.caught()
