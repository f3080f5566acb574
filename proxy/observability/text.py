"""Text from elsewhere, made fit for a line of a log or a terminal."""

from __future__ import annotations


def printable(text: str, limit: int = 256) -> str:
    """Escape what is not printable and cut what is too long.

    Line breaks, other control characters (C1 too: terminals obey them), bidi marks
    and lone surrogates come out as escapes; the result is one line of valid text.
    """
    # Cut first, the text may be megabytes; and again, escapes are longer.
    cut = text if len(text) <= limit else text[:limit] + "…"
    if cut.isprintable():
        return cut
    escaped = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in cut
    )
    return escaped if len(escaped) <= limit + 1 else escaped[:limit] + "…"
