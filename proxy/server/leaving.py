"""Who has left, of those from whom nothing is read.

The loop learns of an end only by reading up to it. The system knows earlier.
"""

from __future__ import annotations

import asyncio
import select
from typing import Final

# Linux alone tells FIN apart; elsewhere asking for the end of both directions may
# do, and if not, a caller is missed when its connection is read or written again.
_GONE: Final = getattr(select, "POLLRDHUP", select.POLLHUP)


def has_left(transport: asyncio.Transport) -> bool:
    """Tell whether the other end has closed, shut down or reset; waits for nothing.

    What it sent before may be unread. An end behind more than the system's buffers
    hold has not arrived, and is not seen.
    """
    end = select.poll()
    end.register(transport.get_extra_info("socket").fileno(), _GONE)
    return bool(end.poll(0))
