"""Who made which Responses object: an id belongs to a tenant and a provider.

A bounded memory, oldest forgotten first; who wants them for longer sets `keep`. To
another tenant an id does not exist.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from proxy.core.errors import CallerFault

_LONGEST_ID: Final = 256


class ResponseOwners:
    """Remembers response id → (tenant, provider id), at most `limit` of them.

    `keep` is called with id, tenant and provider of each that is new.
    """

    __slots__ = ("_limit", "_owners", "keep")

    def __init__(self, limit: int = 16384) -> None:
        self._limit = limit
        self.keep: Callable[[str, str, str], None] | None = None
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
        if known is None and self.keep is not None:
            self.keep(response_id, tenant, provider_id)
        self._owners[response_id] = (tenant, provider_id)
        self._owners.move_to_end(response_id)
        if len(self._owners) > self._limit:
            self._owners.popitem(last=False)

    def knows(self, response_id: str, tenant: str) -> bool:
        owner = self._owners.get(response_id)
        return owner is not None and owner[0] == tenant

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
