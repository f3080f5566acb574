"""Who stands between sees all that is written, and nothing else changes."""

from __future__ import annotations

from proxy.core.call import Reply
from proxy.core.passed_reply import PassedReply
from tests.fakes.reply import KeptReply


class Heard(PassedReply):
    __slots__ = ("heard",)

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.heard = b""

    def write(self, data: bytes) -> None:
        self.heard += data
        super().write(data)


def test_a_stream_goes_through_and_is_seen() -> None:
    kept = KeptReply()
    heard = Heard(kept)
    reply: Reply = heard
    assert (reply.started, reply.ended, reply.gone, reply.paused) == (False,) * 4
    reply.start(201, [("a", "b")], None)
    reply.write(b"h")
    reply.end([("c", "d")], b"i")
    assert (reply.started, reply.ended, reply.status) == (True, True, 201)
    assert (bytes(kept.body), heard.heard) == (b"hi", b"hi")
    assert kept.headers == [("a", "b")]
    assert reply.bytes_out == kept.bytes_out


def test_so_does_a_whole_reply_and_one_that_is_cut() -> None:
    kept = KeptReply()
    PassedReply(kept).whole(200, [], b"all")
    assert bytes(kept.body) == b"all"
    cut = KeptReply()
    PassedReply(cut).abort()
    assert PassedReply(cut).gone == cut.gone
    source = object()
    PassedReply(cut).feed_from(source)  # type: ignore[arg-type]
    assert cut.source is source
