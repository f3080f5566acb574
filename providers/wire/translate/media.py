"""Media in requests: data URLs and base64, without looking into them.

Base64 of megabytes passes through here: nothing scans it but a length check.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from providers.wire.translate.problems import ImageUnreadable, ImageUrlUnsupported
from providers.wire.translate.request import Source

AUDIO_TYPES: Final[Mapping[str, str]] = MappingProxyType({
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "flac": "audio/flac",
    "opus": "audio/opus",
    "pcm16": "audio/pcm",
})  # fmt: skip
AUDIO_FORMATS: Final[Mapping[str, str]] = MappingProxyType(
    {**{kind: name for name, kind in AUDIO_TYPES.items()}, "audio/mpeg": "mp3"}
)
DEFAULT_IMAGE: Final = "image/png"
# The first characters of base64 tell the usual formats apart.
_MAGIC: Final = (
    ("iVBOR", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
)


def from_url(url: str, at: str) -> Source:
    """Read a URL, or the base64 of a data URL; raises ImageUnreadable."""
    if not url.startswith("data:"):
        if not url.startswith(("http://", "https://", "gs://")):
            raise ImageUnreadable(at, f"{at} must be an http or a data URL")
        return Source(url=url, at=at)
    head, comma, data = url[5:].partition(",")
    if not comma or not head.endswith(";base64"):
        raise ImageUnreadable(at, f"{at} must hold base64: data:TYPE;base64,…")
    media_type = head[: -len(";base64")].partition(";")[0]
    return from_base64(data, media_type or None, at)


def from_base64(data: str, media_type: str | None, at: str) -> Source:
    """Take base64 as it is; raises ImageUnreadable where it cannot be any."""
    if not data or len(data) % 4 == 1 or not data.isascii():
        raise ImageUnreadable(at, f"{at} is not valid base64")
    return Source(media_type=media_type, data=data, at=at)


def to_url(source: Source, default_type: str = DEFAULT_IMAGE) -> str | None:
    """Write a URL, of data where there is data; None for a vendor's file."""
    if source.data is None:
        return source.url
    return f"data:{source.media_type or default_type};base64,{source.data}"


def image_type(source: Source) -> str:
    """Name an image's type, by its first bytes where nobody said it."""
    if source.media_type:
        return source.media_type
    for start, media_type in _MAGIC:
        if source.data and source.data.startswith(start):
            return media_type
    return DEFAULT_IMAGE


def need_data(source: Source) -> str:
    """Answer the base64; raises ImageUrlUnsupported where there is none."""
    if source.data is None:
        raise ImageUrlUnsupported(
            source.at,
            "this provider fetches no images: send the image itself, as base64",
        )
    return source.data
