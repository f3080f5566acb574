"""Looks at providers that several processes share: one looks, the others are told.

Only what a provider answered is told: none that did not answer says whether it or the
way there is broken, so each process finds that out for itself.
"""

from __future__ import annotations

import platform
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import msgspec

from proxy.config import ProviderConfig
from proxy.routing.registry import Finding
from proxy.state.base import Turns

_KEPT_PAUSES: Final = 2.0
_PROBES: Final = 3
"""So many timeouts of a probe a look may take."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Finding).decode


class Rounds:
    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    async def ask(self, config: ProviderConfig, pause_s: float) -> Finding | bool:
        """Answer what another saw within the pause, or whether to look here."""
        lease_s = _PROBES * config.health_check_timeout
        turn = await self._turns.ask(name_of(config), pause_s, lease_s)
        if turn.found is None:
            return turn.is_mine
        try:
            return _decode(turn.found)
        except msgspec.DecodeError:  # of another version
            return True

    async def end(
        self, config: ProviderConfig, pause_s: float, finding: Finding | None
    ) -> None:
        """Say what was seen; None: nothing that holds for others."""
        found = b"" if finding is None else _encode(finding)
        await self._turns.end(name_of(config), found, _KEPT_PAUSES * pause_s)


def name_of(config: ProviderConfig) -> str:
    """Name a provider alike wherever it is the same: loopback is each machine's own."""
    host = urlsplit(config.base_url).hostname or ""
    is_own = host in ("localhost", "::1") or host.startswith("127.")
    spelled = repr((config, platform.node() if is_own else ""))
    return f"{config.id}:{sha256(spelled.encode()).hexdigest()[:16]}"
