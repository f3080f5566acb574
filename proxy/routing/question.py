"""A request that is only asked about: what choosing needs of it, and nothing to send."""

from __future__ import annotations

from providers.base import STREAM_UNLESS_TOLD, Operation
from providers.wire.members import Members
from proxy.core.types import ANYONE, Headers
from proxy.routing.affinity import Marks, marks
from proxy.routing.needs import Needs


class Question:
    """Has the shape of choose.Asked."""

    def __init__(
        self, model: str, operation: Operation, members: Members, headers: Headers
    ) -> None:
        """Raises WrongType when `stream` is no boolean."""
        self._model = model
        self._members = members
        self._headers = headers
        stream = members.flag("stream")
        if stream is None:
            stream = operation.name in STREAM_UNLESS_TOLD
        self._needs = Needs(operation.name, members, stream=stream)

    @property
    def size_bytes(self) -> int:
        return len(self._members.body)

    def needs(self) -> Needs:
        return self._needs

    def marks(self) -> Marks:
        return marks(ANYONE.tenant, self._model, self._headers, self._members)
