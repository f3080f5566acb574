"""A head that came before, known again by its bytes but for its Content-Length.

Clients and servers send the same head again and again, and mostly with all of its body
in one read: then the size of what came tells which number must stand there.
"""

from __future__ import annotations


class KnownHead:
    """Made of what stood `before` and `after` the digits of a head's Content-Length."""

    __slots__ = ("_at", "_size", "_text")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._size = len(before) + len(after)
        self._text = b"%d".join(part.replace(b"%", b"%%") for part in (before, after))
        self._at = self._size  # where the last body began

    def body_at(self, data: bytes) -> int:
        """Answer where the body begins, if this is that head with all of its body and
        nothing behind it; else 0.

        It may answer 0 all the same where the number's digits change: who then reads
        the head finds it.
        """
        # Most numbers have as many digits as the last (bench: CPU per request).
        at = self._at
        head = self._text % (len(data) - at)
        if data.startswith(head) and len(head) == at:
            return at
        return self._moved_to(data)

    def _moved_to(self, data: bytes) -> int:
        """As `body_at`, where the number has more or fewer digits."""
        size = len(data)
        length = size - self._size
        length -= len(str(length))
        head = self._text % length
        at = len(head)
        if at + length != size or not data.startswith(head):
            return 0
        self._at = at
        return at
