"""The tables, as data. Whoever changes one adds a revision in migrations/versions.

Times of requests are microseconds since 1970 (`_us`), whole numbers that sort and
compare the same on every engine; other moments are seconds since 1970 (`_at`), spans
microseconds (`_us`). No table refers to another by a constraint: rows of the ledger
arrive in batches, late, and outlive keys.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

keys: Final = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True),
    Column("prefix", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("models", Text, nullable=False),
    Column("priority", Integer),
    Column("requests_rate", Text),
    Column("tokens_rate", Text),
    Column("concurrent", Integer),
    Column("daily_usd", Double),
    Column("monthly_usd", Double),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("last_used_at", Double),
    Column("former_hash", Text),
    Column("former_until", Double),
    Column("metadata", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index("ix_keys_revision", "revision"),
)

# One row each: how often a table was changed. Its lock puts changes in order, so who
# has seen a number has seen all that is below it.
revisions: Final = Table(
    "revisions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# Rows come by the thousand: the primary key is the table itself (SQLite), and the one
# index is the order in which they are read and removed.
requests: Final = Table(
    "requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("started_us", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("first_token_us", BigInteger),
    Column("overhead_us", BigInteger),
    Column("cost_usd", Double),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    # From here on much is the same for many requests (accounting.ledger_line).
    Column("cached_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("client_request_id", Text),
    Column("parent_id", Text),
    Column("depth", Integer, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("key_id", Text),
    Column("end_user", Text),
    Column("endpoint", Text, nullable=False),
    Column("dialect", Text),
    Column("model", Text),
    Column("provider", Text),
    Column("upstream_model", Text),
    Column("status", Integer, nullable=False),
    Column("code", Text),
    Column("stream", Boolean, nullable=False),
    Column("usage_source", Text, nullable=False),
    Column("cost", Double),
    Column("currency", Text),
    Column("queue_us", BigInteger, nullable=False),
    Column("cache", Text),
    Column("user_agent", Text),
    Column("source", Text),
    Index("ix_requests_started_us", "started_us", "id"),
    sqlite_with_rowid=False,
)

attempts: Final = Table(
    "attempts",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("provider", Text, nullable=False),
    Column("upstream_model", Text),
    Column("status", Integer),
    Column("code", Text),
    sqlite_with_rowid=False,
)

# A row per UTC day and whoever used what: kept when the requests themselves are gone.
# Absent names are empty texts, as a primary key holds no nulls.
usage_daily: Final = Table(
    "usage_daily",
    metadata,
    Column("day", Text, primary_key=True),
    Column("tenant", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("estimated", BigInteger, nullable=False),
    Column("unpriced", BigInteger, nullable=False),
    Column("cost_usd", Double, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

responses: Final = Table(
    "responses",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text),
    Column("previous_id", Text),
    Column("created_at", Double, nullable=False),
    Column("input", LargeBinary),
    Column("output", LargeBinary),
    Index("ix_responses_created_at", "created_at"),
)

# What was asked and answered, as far as it is kept: `_bytes` is how much there was.
bodies: Final = Table(
    "bodies",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("kept_at", Double, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("request_bytes", BigInteger, nullable=False),
    Column("reply", LargeBinary, nullable=False),
    Column("reply_bytes", BigInteger, nullable=False),
    Index("ix_bodies_kept_at", "kept_at"),
)
