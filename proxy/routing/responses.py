"""Who made which Responses object: an id belongs to a tenant and a provider.

A bounded memory, oldest forgotten first; lost with the process. To another
tenant an id does not exist.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from proxy.core.errors import CallerFault

_LONGEST_ID: Final = 256


class ResponseOwners:
    """Remembers response id → (tenant, provider id), at most `limit` of them."""

    __slots__ = ("_limit", "_owners")

    def __init__(self, limit: int = 16384) -> None:
        self._limit = limit
        self._owners: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def remember(self, response_id: str, tenant: str, provider_id: str) -> None:
        """Note the maker of a response. The first tenant to own an id keeps it.

        An absurdly long id is not kept.
        """
        if len(response_id) > _LONGEST_ID:
            return
        known = self._owners.get(response_id)
        if known is not None and known[0] != tenant:
            return
        self._owners[response_id] = (tenant, provider_id)
        self._owners.move_to_end(response_id)
        if len(self._owners) > self._limit:
            self._owners.popitem(last=False)

    def forget(self, response_id: str) -> None:
        self._owners.pop(response_id, None)

    def provider_id(
        self, response_id: str, tenant: str, param: str | None = None
    ) -> str:
        """Answer who made it; CallerFault `not_found` if unknown or another's.

        `param` names the field that carried the id, if it was not the path.
        """
        owner = self._owners.get(response_id)
        if owner is None or owner[0] != tenant:
            raise CallerFault(
                "not_found",
                "There is no response with this id, or this gateway has forgotten who "
                "made it.",
                param=param,
            )
        self._owners.move_to_end(response_id)
        return owner[1]

    def __len__(self) -> int:
        return len(self._owners)
