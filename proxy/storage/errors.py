"""What a database may answer instead of doing its work.

StorageError
├── DatabaseAway   unreachable, locked, full: later it may do it
│   └── TooSlow    it was stopped, as it took longer than a statement may
├── DataRefused    it will never take this: twice the same key, out of range
├── NewerSchema    a later version of this program has been here
├── NoDatabase     nobody has made one where it is looked for
└── BadDatabase    the URL cannot be used: another engine, a driver that is missing
"""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

# Of SQLSTATE, the standard's classes: data exception, integrity constraint violation.
_ABOUT_DATA = ("22", "23")


class StorageError(Exception):
    """The database did not do it. The message names no secret of the URL."""


class DatabaseAway(StorageError):
    """Not now. Asking again later may do."""


class TooSlow(DatabaseAway):
    """Not in time. Asking for less may do."""


class DataRefused(StorageError):
    """Not this, ever. Asking again with the same values fails again."""


class NewerSchema(StorageError):
    """The tables are of a later version, which this one could damage."""


class NoDatabase(StorageError):
    """There is none, and who asks shall not make one."""


class BadDatabase(StorageError):
    """No database that can be used, whatever is tried."""


def from_driver(error: Exception) -> StorageError:
    """Say in our words what a driver raised."""
    first_line = str(getattr(error, "orig", None) or error).partition("\n")[0][:300]
    if _is_interrupted(error):
        return TooSlow("it was stopped, as it took too long")
    kind = DataRefused if _is_about_data(error) else DatabaseAway
    return kind(first_line or type(error).__name__)


def _is_interrupted(error: Exception) -> bool:
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    return code == sqlite3.SQLITE_INTERRUPT


def _is_about_data(error: Exception) -> bool:
    if isinstance(error, (IntegrityError, DataError, ValueError, OverflowError)):
        return True
    if isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
        return True  # the second: of a type that it does not know
    if not isinstance(error, DBAPIError):
        return False
    # asyncpg refuses some values before it sends them, as a ValueError.
    state = str(getattr(error.orig, "sqlstate", None) or "")
    cause = getattr(error.orig, "__cause__", None)
    return state.startswith(_ABOUT_DATA) or isinstance(cause, ValueError)
