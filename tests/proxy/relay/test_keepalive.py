from __future__ import annotations

import pytest

from proxy.relay.keepalive import COMMENT, KeepAlive
from tests.fakes.reply import KeptReply

START = 1000.0
INTERVAL_S = 15.0
HEAD = [("content-type", "text/event-stream")]


@pytest.fixture
def reply() -> KeptReply:
    return KeptReply()


def keep_alive(reply: KeptReply, *, before_headers: bool = True) -> KeepAlive:
    head = (lambda: HEAD) if before_headers else None
    return KeepAlive(reply, INTERVAL_S, START, head)


def test_a_comment_is_one_that_every_parser_skips() -> None:
    assert COMMENT.startswith(b":")
    assert COMMENT.endswith(b"\n\n")


def test_the_head_is_committed_at_the_interval_and_not_before(
    reply: KeptReply,
) -> None:
    keeper = keep_alive(reply)
    keeper.tick(START + INTERVAL_S - 0.25)
    assert not reply.started
    keeper.tick(START + INTERVAL_S)
    assert (reply.status, reply.headers, reply.length) == (200, HEAD, None)
    assert reply.writes == [COMMENT]


def test_comments_go_on_at_the_interval(reply: KeptReply) -> None:
    keeper = keep_alive(reply)
    for tick in range(4 * 61):
        keeper.tick(START + tick / 4)
    assert reply.writes == [COMMENT] * 4


def test_without_leave_nothing_is_committed(reply: KeptReply) -> None:
    keeper = keep_alive(reply, before_headers=False)
    keeper.tick(START + 1000)
    assert not reply.started
    reply.start(200, HEAD, None)
    keeper.tick(START + 1015)
    assert reply.writes == [COMMENT]


def test_bytes_put_the_next_comment_off(reply: KeptReply) -> None:
    keeper = keep_alive(reply)
    reply.start(200, HEAD, None)
    reply.write(b"data: 1\n\n")
    keeper.tick(START + 14)
    keeper.tick(START + 28)
    assert reply.writes == [b"data: 1\n\n"]
    keeper.tick(START + 29)
    assert reply.writes == [b"data: 1\n\n", COMMENT]


def test_nothing_is_said_to_a_caller_that_reads_too_slowly(reply: KeptReply) -> None:
    keeper = keep_alive(reply)
    reply.paused = True
    keeper.tick(START + 1000)
    assert not reply.started
    reply.paused = False
    keeper.tick(START + 1000)
    assert reply.writes == [COMMENT]


def test_nothing_is_said_to_a_caller_that_has_gone(reply: KeptReply) -> None:
    keeper = keep_alive(reply)
    reply.gone = True
    keeper.tick(START + 1000)
    assert not reply.started


def test_nothing_is_said_after_the_end(reply: KeptReply) -> None:
    keeper = keep_alive(reply)
    reply.start(200, HEAD, None)
    reply.write(b"data: [DONE]\n\n")
    reply.end()
    keeper.tick(START + 1000)
    keeper.tick(START + 2000)
    assert reply.writes == [b"data: [DONE]\n\n"]
