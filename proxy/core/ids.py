"""Request ids: a random prefix per process and a counter.

`uuid4` costs 4 µs (spec, performance); this costs 0.2 and is as unique: 64
random bits name the process, 40 count its requests. Ids name records and are
no secret, so being guessable is fine.
"""

from __future__ import annotations

import itertools
import secrets


class Ids:
    """A source of ids such as `req_9f86d081884c7d650000000001`."""

    __slots__ = ("_count", "_prefix")

    def __init__(self, prefix: str = "req_") -> None:
        self._prefix = prefix + secrets.token_hex(8)
        self._count = itertools.count(1)

    def next(self) -> str:
        return f"{self._prefix}{next(self._count):010x}"
