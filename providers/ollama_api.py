"""What Ollama's daemon and its cloud have in common: /api paths and the tag list."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from providers.base import FoundModel, ProbeReply
from providers.listing import (
    Document,
    inner,
    read_entries,
    read_models,
    text,
    texts,
    whole,
)

INFERENCE: Final = frozenset(
    {"POST /api/chat", "POST /api/embed", "POST /api/embeddings", "POST /api/generate"}
)
METADATA: Final = frozenset(
    {
        "GET /",
        "GET /api/ps",
        "GET /api/status",
        "GET /api/tags",
        "GET /api/version",
        "POST /api/show",
    }
)
OWNER: Final = frozenset(
    {
        "DELETE /api/delete",
        "GET /api/blobs/*",
        "POST /api/blobs/*",
        "POST /api/copy",
        "POST /api/create",
        "POST /api/experimental/*",
        "POST /api/pull",
        "POST /api/push",
    }
)
_CAPABILITIES: Final[Mapping[str, str]] = MappingProxyType({
    "tools": "functionCalling",
    "thinking": "reasoning",
    "vision": "vision",
    "embedding": "embeddings",
})  # fmt: skip


def read_tags(reply: ProbeReply | None) -> tuple[FoundModel, ...] | None:
    """Read the answer to GET /api/tags; None when it is another server's."""
    return read_models(read_entries(reply, "models"), _read_tag)


def _read_tag(entry: Document) -> FoundModel | None:
    name = text(entry.get("model")) or text(entry.get("name"))
    if name is None:
        return None
    details = inner(entry, "details")
    family = text(details.get("family"))
    told = texts(entry.get("capabilities"))
    return FoundModel(
        id=name,
        owned_by="library",
        family=family,
        context_window=whole(details.get("context_length")) or None,
        kind=_kind(name, family or "", told),
        inputs=("text", "image") if "vision" in told else (),
        capabilities=frozenset(
            _CAPABILITIES[word] for word in told if word in _CAPABILITIES
        ),
    )


def _kind(name: str, family: str, told: tuple[str, ...]) -> str:
    if told:
        return "chat" if "completion" in told else "embeddings"
    # Older daemons do not say; encoders are of BERT's families or named for it.
    embeds = "bert" in family or "embed" in name
    return "embeddings" if embeds else "chat"
