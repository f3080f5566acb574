"""Each kind's adapter, what it is asked, and by which paths it is talked to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from providers.base import ASKABLE, Adapter, Request, Settings
from providers.registry import KINDS, adapter_for

KEY = "own-key-7f3a91"
every_kind = pytest.mark.parametrize("kind", KINDS)

# What serves a chat, by pass-through and as an operation, and where models are listed.
TALKS = {
    "anthropic": ("messages", "/v1/messages", "/v1/models"),
    "gemini": (
        "gemini_generate",
        "/v1beta/models/m:generateContent",
        "/v1beta/models",
    ),
}
USUAL = ("chat", "/v1/chat/completions", "/v1/models")


def adapter(kind: str, **changes: Any) -> Adapter:
    url = KINDS[kind].default_url or "http://box.lan:8000"
    settings: dict[str, Any] = {"id": "p", "base_url": url, "key": KEY} | changes
    return adapter_for(kind, Settings(**settings))


def ask(
    headers: Iterable[tuple[str, str]] = (),
    *,
    operation: str = "chat",
    model: str = "m",
    asked: str = "m",
    fields: Iterable[str] = ("model", "messages"),
    query: str = "",
) -> Request:
    return Request(
        operation=ASKABLE[operation],
        model=model,
        asked_model=asked,
        stream=False,
        fields=frozenset(fields),
        headers=tuple(headers),
        query=query,
    )
