"""For how long a slot is held: what is observed, else expected, else guessed."""

from __future__ import annotations

from typing import Final

from proxy.routing.model import Candidate
from proxy.routing.slots import Slots

_UNKNOWN_S: Final = 10.0


def held_s(slots: Slots, candidate: Candidate) -> float:
    """Answer what is observed, else what the operator expects, else a guess."""
    observed = slots.mean_s(candidate.provider.id)
    if observed is not None:
        return observed
    model = candidate.model
    expected = model.constraints.typical_response_seconds if model else None
    return _UNKNOWN_S if expected is None else expected
