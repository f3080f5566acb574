"""The queue for slots, when all candidates of a request are full.

`claim` is what is asked for, `line` the order at one provider, `pace` how fast slots
come free, `priorities` who goes first, `waiting` the queue that holds them together.
"""

from __future__ import annotations

from proxy.routing.queue.claim import Claim
from proxy.routing.queue.priorities import priority_of
from proxy.routing.queue.waiting import Presence, Queue

__all__ = ["Claim", "Presence", "Queue", "priority_of"]
