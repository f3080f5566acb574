"""The fault table: every row there is, under the headings of docs/operations.md."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tests.faults import bodies, framing, heads, lost, silence, statuses
from tests.faults.flood import FLOOD
from tests.faults.row import Row

TABLE: Mapping[str, tuple[Row, ...]] = MappingProxyType({
    "Silence": silence.ROWS,
    "Lost connections": lost.ROWS,
    "Frames": framing.ROWS,
    "Heads": heads.ROWS,
    "Bodies": (*bodies.ROWS, FLOOD),
    "Statuses": statuses.ROWS,
})  # fmt: skip
