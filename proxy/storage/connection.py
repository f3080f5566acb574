"""One connection within a transaction, as the event loop may use it.

What SQLAlchemy's own asyncio extension does, less its ORM, which that would import
(6 MiB, 50 ms): statements run in a greenlet, which lets the driver wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection as Blocking
from sqlalchemy import CursorResult, Executable
from sqlalchemy.util import greenlet_spawn

Engine = Literal["sqlite", "postgresql"]
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Answer = TypeVar("Answer")


class Connection:
    """Each method waits for the database; results are read whole."""

    def __init__(self, blocking: Blocking) -> None:
        self._blocking = blocking

    @property
    def engine(self) -> Engine:
        name = self._blocking.dialect.name
        return "postgresql" if name == "postgresql" else "sqlite"

    async def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[Any]:
        return await greenlet_spawn(self._blocking.execute, statement, parameters)

    async def scalar(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> Any:
        return await greenlet_spawn(self._blocking.scalar, statement, parameters)

    async def execute_text(
        self, statement: str, values: tuple[Any, ...] | list[tuple[Any, ...]]
    ) -> CursorResult[Any]:
        """Execute the driver's own text, for one row of values or for each of many."""
        return await greenlet_spawn(self._blocking.exec_driver_sql, statement, values)

    async def run(self, work: Callable[..., Answer], *arguments: Any) -> Answer:
        """Run blocking code on the blocking connection."""
        return await greenlet_spawn(work, self._blocking, *arguments)
