from __future__ import annotations

import pytest

from proxy.server.reply import TransportReply
from tests.proxy.server.callers_wire import Source, Wire, reply_on

FIELDS = [("content-type", "text/plain"), ("x-odd", "grü\xdfe")]


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_a_whole_reply_is_one_message(wire: Wire) -> None:
    reply = reply_on(wire)
    reply.whole(200, FIELDS, b"body", b"x-block: 1\r\n")
    assert wire.transport.written == (
        b"HTTP/1.1 200 OK\r\nx-block: 1\r\ncontent-type: text/plain\r\n"
        b"x-odd: gr\xfc\xdfe\r\ncontent-length: 4\r\n\r\nbody"
    )
    assert reply.ended
    assert reply.keep_alive
    assert (reply.status, reply.bytes_out) == (200, 4)


def test_a_large_whole_reply_is_the_same_in_two_writes(wire: Wire) -> None:
    body = bytes(1 << 20)
    reply_on(wire).whole(200, [], body)
    assert wire.message.body == body


def test_the_end_is_held_back_until_it_is_released(wire: Wire) -> None:
    def held(reply: TransportReply) -> bool:
        reply.keep_end()
        reply.start(200, [], None)
        reply.write(b"one")
        reply.end()
        return wire.message.body == b"one" and not wire.message.complete

    reply = reply_on(wire)
    assert held(reply)
    assert reply.ended
    reply.release()
    assert wire.message.complete
    written = wire.transport.written
    reply.release()
    assert wire.transport.written == written


@pytest.mark.parametrize("size", [4, 1 << 20])
def test_the_end_of_a_whole_reply_is_held_back(wire: Wire, size: int) -> None:
    reply = reply_on(wire)
    reply.keep_end()
    reply.whole(200, [], bytes(size))
    assert not wire.transport.written.endswith(b"\0")
    reply.release()
    assert wire.message.body == bytes(size)


def test_the_last_piece_of_a_known_length_is_held_back(wire: Wire) -> None:
    reply = reply_on(wire)
    reply.keep_end()
    reply.start(200, [], 6)
    reply.write(b"one")
    assert wire.transport.written.endswith(b"one")
    reply.write(b"two")
    reply.end()
    assert wire.transport.written.endswith(b"one")
    reply.release()
    assert wire.message.body == b"onetwo"


def test_what_was_held_back_is_not_sent_to_who_has_gone(wire: Wire) -> None:
    reply = reply_on(wire)
    reply.keep_end()
    reply.whole(200, [], b"body")
    reply.lost()
    reply.release()
    assert wire.transport.written == b""


def test_a_body_of_unknown_length_is_chunked(wire: Wire) -> None:
    reply = reply_on(wire)
    reply.start(200, [], None)
    reply.write(b"one")
    reply.write(b"")
    reply.write(b"two!")
    assert not wire.message.complete
    reply.end()
    assert wire.transport.written.endswith(
        b"\r\n\r\n3\r\none\r\n4\r\ntwo!\r\n0\r\n\r\n"
    )
    assert reply.bytes_out == 7
    assert reply.keep_alive


def test_trailers_follow_the_last_chunk(wire: Wire) -> None:
    reply = reply_on(wire)
    reply.start(200, [], None)
    reply.end([("x-sum", "1"), ("x-bad", "a\r\nb: c")])
    assert wire.transport.written.endswith(b"0\r\nx-sum: 1\r\n\r\n")


def test_to_http_1_0_the_body_ends_with_the_connection(wire: Wire) -> None:
    reply = reply_on(wire, version=0)
    reply.start(200, [], None)
    reply.write(b"body")
    reply.end()
    assert wire.message.header("transfer-encoding") is None
    assert wire.message.header("connection") == "close"
    assert wire.message.body == b"body"
    assert not reply.keep_alive


def test_to_http_1_0_a_known_length_keeps_the_connection(wire: Wire) -> None:
    reply = reply_on(wire, version=0)
    reply.whole(200, [], b"body")
    assert wire.message.header("connection") == "keep-alive"
    assert reply.keep_alive


def test_an_unread_request_costs_the_connection(wire: Wire) -> None:
    reply = reply_on(wire, request_is_read=lambda: False)
    reply.whole(413, [], b"")
    assert wire.message.header("connection") == "close"
    assert not reply.keep_alive


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none(wire: Wire, status: int) -> None:
    reply = reply_on(wire)
    reply.start(status, [], None)
    reply.write(b"never")
    reply.end()
    assert wire.transport.written.endswith(b"\r\n\r\n")
    assert wire.message.header("transfer-encoding") is None
    assert wire.message.header("content-length") is None
    assert not wire.transport.closed
    assert reply.bytes_out == 0


@pytest.mark.parametrize("whole", [True, False])
def test_a_reply_to_head_has_the_fields_alone(wire: Wire, whole: bool) -> None:
    reply = reply_on(wire, bodiless=True)
    if whole:
        reply.whole(200, [], b"never")
    else:
        reply.start(200, [], 5)
        reply.write(b"never")
        reply.end()
    assert wire.message.header("content-length") == "5"
    assert wire.message.body == b""
    assert not wire.transport.closed


def test_fewer_bytes_than_promised_close_the_connection(wire: Wire) -> None:
    reply = reply_on(wire)
    reply.start(200, [], 10)
    reply.write(b"half")
    reply.end()
    assert wire.transport.closed
    assert not reply.keep_alive


def test_an_aborted_body_has_no_last_chunk(wire: Wire) -> None:
    reply = reply_on(wire)
    reply.start(200, [], None)
    reply.write(b"half")
    reply.abort()
    assert not wire.message.complete
    assert wire.transport.closed
    assert reply.ended
    assert not reply.keep_alive


def test_nothing_is_written_to_a_caller_who_has_gone(wire: Wire) -> None:
    reply = reply_on(wire)
    reply.lost()
    reply.start(200, [], None)
    reply.write(b"never")
    reply.end()
    reply.abort()
    assert wire.transport.written == b""
    assert not wire.transport.closed
    assert reply.gone
    assert not reply.started


def test_a_reply_starts_and_ends_once(wire: Wire) -> None:
    reply = reply_on(wire)
    reply.whole(200, [], b"one")
    written = wire.transport.written
    reply.whole(500, [], b"two")
    reply.start(500, [], None)
    reply.write(b"more")
    reply.end()
    assert wire.transport.written == written
    assert reply.status == 200


def test_a_field_with_a_line_break_is_left_out(wire: Wire) -> None:
    reply_on(wire).whole(200, [("x-bad", "a\r\nset-cookie: b"), ("x-ok", "1")], b"")
    assert b"set-cookie" not in wire.transport.written
    assert wire.message.header("x-ok") == "1"


def test_an_unknown_status_has_a_reason_all_the_same(wire: Wire) -> None:
    reply_on(wire).whole(799, [], b"")
    assert wire.transport.written.startswith(b"HTTP/1.1 799 Unknown\r\n")


def test_a_caller_that_reads_slowly_holds_its_source(wire: Wire) -> None:
    reply, source = reply_on(wire), Source()
    reply.feed_from(source)
    assert not source.paused
    reply.hold()
    assert source.paused
    assert reply.paused
    reply.go_on()
    assert not source.paused


def test_a_source_named_late_is_held_at_once() -> None:
    reply, source = reply_on(Wire(writing_paused=True)), Source()
    reply.feed_from(source)
    assert source.paused


def test_a_former_source_is_left_alone(wire: Wire) -> None:
    reply, source = reply_on(wire), Source()
    reply.feed_from(source)
    reply.feed_from(None)
    reply.hold()
    assert not source.paused


def test_an_upgrade_hands_the_connection_over(wire: Wire) -> None:
    class Deaf:
        def received(self, data: bytes) -> None: ...

        def closed(self) -> None: ...

    reply, tunnel = reply_on(wire), Deaf()
    reply.upgrade([("upgrade", "websocket")], tunnel)
    assert wire.tunnel is tunnel
    assert wire.transport.written == (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"
    )
    reply.write(b"\x81\x00")
    assert wire.transport.written.endswith(b"\r\n\r\n\x81\x00")
    assert (reply.status, reply.keep_alive) == (101, False)
