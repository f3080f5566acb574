"""Bodies of requests and replies, where they are wanted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "bodies",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("kept_at", sa.Double(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("request_bytes", sa.BigInteger(), nullable=False),
        sa.Column("reply", sa.LargeBinary(), nullable=False),
        sa.Column("reply_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_bodies")),
    )
    op.create_index("ix_bodies_kept_at", "bodies", ["kept_at"])


def downgrade() -> None:
    op.drop_table("bodies")
