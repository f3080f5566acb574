"""Reads lists of models: JSON from servers nobody vouches for, field by field.

A field of an unexpected type counts as absent; a document of an unexpected shape
is no list at all (LM Studio answers 200 to every path, lessons R20).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from providers.base import FoundModel, ProbeReply

Document = dict[str, Any]

# Context length, as vLLM, OpenRouter, LM Studio and others call it; most telling first.
_CONTEXT_FIELDS: Final = (
    "max_model_len",
    "loaded_context_length",
    "context_length",
    "context_window",
    "max_context_length",
)
_CAPABILITY_OF_PARAMETER: Final[Mapping[str, str]] = {
    "tools": "functionCalling",
    "response_format": "jsonMode",
    "structured_outputs": "jsonMode",
    "reasoning": "reasoning",
}


def read_object(reply: ProbeReply | None) -> Document | None:
    """The JSON object of a 200 reply that is no error in disguise, else None."""
    if reply is None or reply.status != 200:
        return None
    try:
        document = orjson.loads(reply.body)
    except ValueError:
        return None
    if not isinstance(document, dict) or document.get("error"):
        return None
    return document


def read_entries(reply: ProbeReply | None, member: str) -> list[Document] | None:
    """The objects in list `member`; None when that is not what the reply holds.

    A null list of an otherwise well-formed answer is empty: Ollama without models.
    """
    document = read_object(reply)
    if document is None or member not in document:
        return None
    entries = document[member]
    if entries is None and document.get("object") in ("list", None):
        return []
    if not isinstance(entries, list):
        return None
    found = [entry for entry in entries if isinstance(entry, dict)]
    return found if found or not entries else None


def read_models(
    entries: list[Document] | None, read: Callable[[Document], FoundModel | None]
) -> tuple[FoundModel, ...] | None:
    """Read each entry, first of an id wins; None when entries hold no model at all."""
    if entries is None:
        return None
    models: dict[str, FoundModel] = {}
    for entry in entries:
        model = read(entry)
        if model is not None:
            models.setdefault(model.id, model)
    return tuple(models.values()) if models or not entries else None


def read_model(entry: Document) -> FoundModel | None:
    """Read an entry of `GET /v1/models`, with the extras that servers add."""
    name = text(entry.get("id"))
    if name is None:
        return None
    inputs = _inputs(entry)
    return FoundModel(
        id=name,
        owned_by=text(entry.get("owned_by")),
        created=whole(entry.get("created")),
        context_window=context(entry),
        kind=_kind(entry),
        inputs=inputs,
        capabilities=_capabilities(entry, inputs),
    )


def context(entry: Document) -> int | None:
    found = (whole(entry.get(name)) for name in _CONTEXT_FIELDS)
    return next((tokens for tokens in found if tokens), None)


def text(value: object) -> str | None:
    """A non-empty text without control characters, as ids and names are."""
    if isinstance(value, str) and value and value.isprintable():
        return value
    return None


def whole(value: object) -> int | None:
    """A whole number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value >= 0 and value == value // 1 else None


def texts(value: object) -> tuple[str, ...]:
    entries = value if isinstance(value, list) else []
    return tuple(entry for entry in entries if text(entry) is not None)


def inner(entry: Document, member: str) -> Document:
    """The object under `member`, or an empty one."""
    value = entry.get(member)
    return value if isinstance(value, dict) else {}


def _inputs(entry: Document) -> tuple[str, ...]:
    return texts(inner(entry, "architecture").get("input_modalities"))


def _kind(entry: Document) -> str | None:
    outputs = texts(inner(entry, "architecture").get("output_modalities"))
    if "embeddings" in outputs:
        return "embeddings"
    return "chat" if "text" in outputs else None


def _capabilities(entry: Document, inputs: tuple[str, ...]) -> frozenset[str]:
    parameters = texts(entry.get("supported_parameters"))
    known = (_CAPABILITY_OF_PARAMETER.get(name) for name in parameters)
    found = {name for name in known if name is not None}
    return frozenset(found | {"vision"} if "image" in inputs else found)
