"""A request whose model is known and little more: what limits and budgets ask of it."""

from __future__ import annotations

from dataclasses import dataclass

from providers.wire.members import Members, WrongType
from proxy.pipeline.checks import wrong_type
from proxy.routing.catalog import Resolution
from proxy.routing.needs import Needs


@dataclass(frozen=True, slots=True)
class Passing:
    """Has the shape of allowance.Asked; `members` are None where no body is read."""

    model: str
    members: Members | None
    operation: str
    pinned: Resolution | None = None

    def needs(self) -> Needs:
        return Needs(self.operation, self.members)

    def value(self, name: str) -> object:
        """A member's value; None where it is absent. Raises CallerFault."""
        if self.members is None:
            return None
        try:
            return self.members.value(name)
        except WrongType as error:
            raise wrong_type(error) from error
