"""Dialects, sans-IO: bytes in, facts and bytes out. Knows no adapter and no socket."""
