"""A request whose model is known and little more: what limits, budgets and lists of
models ask of a call that passes through as it is.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from providers.base import ASKABLE
from providers.wire.members import Members, WrongType
from proxy.pipeline.checks import wrong_type
from proxy.routing.catalog import Catalog, Resolution
from proxy.routing.model import Candidate
from proxy.routing.needs import Needs
from proxy.routing.registry import Provider

WRITES: Final = "chat"
"""The operation of what answers with text of a model's; others are PLAIN."""

PLAIN: Final = "passage"


class Passing(Struct):  # not frozen: one is made for many a request
    """Has the shape of allowance.Asked.

    `model` is empty and `members` are None where nothing of a body is read; `body` is
    all of it where it is, as it came, else it has `size_bytes`.
    """

    model: str
    members: Members | None
    operation: str
    pinned: Resolution | None = None
    body: bytes | None = None
    size_bytes: int = 0

    @property
    def candidate(self) -> Candidate | None:
        """Who is asked, where that is settled."""
        return None if self.pinned is None else self.pinned.everyone[0]

    @property
    def names(self) -> tuple[str | None, ...]:
        """What its model is called, for a list of models."""
        found = self.candidate
        if not self.model or found is None:
            return ()
        own = None if found.model is None else found.model.id
        return self.model, f"{found.provider.id}/{self.model}", own

    def needs(self) -> Passing:
        return self

    def sizes(self) -> tuple[int, int]:
        """As Needs has them."""
        if self.members is None:
            return self.size_bytes, 0
        return Needs(self.operation, self.members).sizes()

    def value(self, name: str) -> object:
        """A member's value; None where it is absent. Raises CallerFault."""
        if self.members is None:
            return None
        try:
            return self.members.value(name)
        except WrongType as error:
            raise wrong_type(error) from error


def pinned_at(provider: Provider, model: str, catalog: Catalog) -> Resolution:
    """Answer a model at one provider and nowhere else; `model` may be empty."""
    if model:
        operation = ASKABLE[WRITES]
        found = catalog.resolve(f"{provider.id}/{model}", operation).at(provider.id)
        if found.everyone:
            return found
    only = (Candidate(provider, model),)
    return Resolution(model, WRITES, only, everyone=only)
