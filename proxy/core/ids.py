"""Request ids: a random prefix per process and a counter.

`uuid4` costs 4 µs (spec, performance); this costs 0.2 and is as unique: 64
random bits name the process, 40 count its requests. Ids name records and are
no secret, so being guessable is fine.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable


class Ids:
    """A source of ids such as `req_9f86d081884c7d650000000001`: `next` answers one."""

    __slots__ = ("next",)

    def __init__(self, prefix: str = "req_") -> None:
        text = prefix.replace("%", "%%") + secrets.token_hex(8) + "%010x"
        # No Python runs for it (bench: CPU per request).
        self.next: Callable[[], str] = map(text.__mod__, itertools.count(1)).__next__
