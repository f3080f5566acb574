"""The frame of every page, and the escaping of what goes into it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from aiohttp import web

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0;
         border-bottom: 1px solid #8884; overflow-wrap: anywhere; }
pre { padding: .75rem; background: #8882; overflow-x: auto; }
"""


class Html(str):
    """Text that is markup already: it is not escaped again."""

    __slots__ = ()


def element(name: str, *content: str) -> Html:
    """Make an element; content that is not `Html` is escaped."""
    return Html(f"<{name}>{''.join(map(_safe, content))}</{name}>")


def link(path: str) -> Html:
    return Html(f'<a href="{escape(path)}">{escape(path)}</a>')


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    top = element("tr", *(element("th", cell) for cell in head))
    body = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    return element("table", top, *body)


def page(title: str, *content: str) -> str:
    """Make a whole document."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(map(_safe, content))}</body></html>\n"
    )


def html_reply(document: str) -> web.Response:
    """Answer a page that may load and run nothing, and be framed by nobody."""
    return web.Response(
        text=document,
        content_type="text/html",
        headers={
            "cache-control": "no-store",
            "content-security-policy": "default-src 'none'; "
            "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
        },
    )


def _safe(content: str) -> str:
    return content if isinstance(content, Html) else escape(content)
