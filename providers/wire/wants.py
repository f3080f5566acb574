"""What a model must be able to do for a request: read off its bytes, not parsed.

In JSON a string's inner quotes are escaped, so `"image_url"` between bare quotes is
a key or a value of its own and never a piece of somebody's text. Whatever is unclear
reads as not wanted: the upstream is the judge, and says so itself.
"""

from __future__ import annotations

import re
from typing import Final

from providers.wire.members import Members, WrongType

_IMAGES: Final = (b'"image_url"', b'"input_image"', b'"image"')
_IS_TYPE: Final = re.compile(rb'"type"[ \t\r\n]*:[ \t\r\n]*\Z')
_TYPE_CHARS: Final = 32
_OLLAMA_IMAGES: Final = re.compile(rb'"images"[ \t\r\n]*:[ \t\r\n]*\[[ \t\r\n]*"')
_LIMITS: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_NOTHING: Final = frozenset((b"null", b"[]", b'""', b"false"))
# Where bytes are no text: an estimate from their number would be nonsense.
_MEDIA: Final = (b"base64", b'"images"', b'"input_audio"', b'"file_data"')


def wants_tools(members: Members) -> bool:
    return any(_is_given(members, name) for name in ("tools", "functions"))


def wants_json(members: Members) -> bool:
    """Tell whether the answer must be JSON, in any dialect."""
    for name in ("response_format", "text", "output_config"):
        if b'"json' in (members.raw(name) or b""):
            return True
    return _is_given(members, "format")


def wants_vision(members: Members) -> bool:
    """Tell whether there are images. Costs a scan of the body."""
    body = members.body
    for mark in _IMAGES:
        at = body.find(mark)
        while at >= 0:
            if _IS_TYPE.search(body, max(0, at - _TYPE_CHARS), at):
                return True
            at = body.find(mark, at + 1)
    return b'"images"' in body and _OLLAMA_IMAGES.search(body) is not None


def most_tokens(members: Members) -> int:
    """Answer how many tokens the caller lets the model write; 0 when it does not say."""
    for name in _LIMITS:
        if name in members:
            try:
                found = members.value(name)
            except WrongType:
                return 0
            if isinstance(found, int) and not isinstance(found, bool) and found > 0:
                return found
    return 0


def text_bytes(members: Members) -> int:
    """Answer how large the request is as text; 0 when it holds other media."""
    body = members.body
    return 0 if any(mark in body for mark in _MEDIA) else len(body)


def _is_given(members: Members, name: str) -> bool:
    if name not in members:
        return False
    raw = members.raw(name)
    return raw is not None and raw not in _NOTHING
