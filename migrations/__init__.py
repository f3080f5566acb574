"""Versions of the tables, for Alembic. A file in versions/ is never changed again."""
