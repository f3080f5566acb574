"""Inflate a caller's compressed body, bounded: a small bomb must stay small."""

from __future__ import annotations

import zlib
from types import MappingProxyType
from typing import Final

from proxy.core.errors import CallerFault

_WINDOWS: Final = MappingProxyType({"gzip": 31, "x-gzip": 31, "deflate": 15})


def inflate(data: bytes, coding: str, limit_bytes: int) -> bytes:
    """Undo one Content-Encoding.

    Raises CallerFault: `unsupported_media_type` for a coding not known here,
    `body_too_large` past the limit, `invalid_field` for broken data.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return data
    window = _WINDOWS.get(coding)
    if window is None:
        raise CallerFault(
            "unsupported_media_type",
            "The Content-Encoding is not one of gzip, deflate, identity.",
            param="content-encoding",
        )
    try:
        return _bounded(zlib.decompressobj(window), data, limit_bytes)
    except zlib.error as error:
        if coding == "deflate" and window == 15:
            # Some clients send bare deflate data without zlib's frame.
            try:
                return _bounded(zlib.decompressobj(-15), data, limit_bytes)
            except zlib.error:
                pass
        raise _broken() from error


def _bounded(inflater: zlib._Decompress, data: bytes, limit_bytes: int) -> bytes:
    plain = inflater.decompress(data, limit_bytes + 1)
    if len(plain) > limit_bytes:
        raise CallerFault(
            "body_too_large", f"The inflated body is larger than {limit_bytes} bytes."
        )
    if not inflater.eof or inflater.unused_data:
        raise _broken()
    return plain


def _broken() -> CallerFault:
    return CallerFault(
        "invalid_field",
        "The body is not what its Content-Encoding says.",
        param="content-encoding",
    )
