"""A head that came before, known again by its bytes but for its Content-Length.

Clients and servers send the same head again and again, and mostly with all of its body
in one read: then the size of what came tells which number must stand there.
"""

from __future__ import annotations


class KnownHead:
    """Made of what stood `before` and `after` the digits of a head's Content-Length."""

    __slots__ = ("_size", "_text")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._size = len(before) + len(after)
        self._text = b"%d".join(part.replace(b"%", b"%%") for part in (before, after))

    def body_at(self, data: bytes) -> int:
        """Answer where the body begins, if this is that head with all of its body and
        nothing behind it; else 0.

        It may answer 0 all the same where the number's digits change: who then reads
        the head finds it.
        """
        size = len(data)
        length = size - self._size
        length -= len(str(length))
        head = self._text % length
        at = len(head)
        return at if data.startswith(head) and at + length == size else 0
