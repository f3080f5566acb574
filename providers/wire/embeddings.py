"""Embeddings between dialects: OpenAI's, Ollama's and Gemini's.

Callers speak the first two; a request is read from one and written for another, its
reply likewise. Vectors are lists of floats here; base64 is OpenAI's way to send them
as little-endian 32-bit floats.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from providers.wire.dialect import Dialect
from providers.wire.translate.fields import Node, load, load_object
from providers.wire.translate.problems import UnsupportedParameter
from providers.wire.translate.request import Written

JSON = dict[str, Any]

_OPENAI: Final = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
_OLLAMA: Final = frozenset({"model", "input", "prompt", "dimensions"})
_OLLAMAS_OWN: Final = ("keep_alive", "options", "truncate")


class Unreadable(ValueError):
    """A reply that holds no embeddings where they should be."""


@dataclass(frozen=True, slots=True)
class Asked:
    """`as_base64` and `single` are how the caller wants its answer: `single` is
    Ollama's older route, with one prompt and one vector.
    """

    model: str
    inputs: tuple[str, ...]
    dimensions: int | None = None
    as_base64: bool = False
    single: bool = False
    user: str | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors in the order of the inputs. `prompt_tokens` None: it did not say."""

    vectors: tuple[tuple[float, ...], ...]
    model: str = ""
    prompt_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller's side of a dialect; `read_request` raises Refused."""

    read_request: Callable[[bytes | JSON], Asked]
    write_reply: Callable[[Embedded, Asked], JSON]


@dataclass(frozen=True, slots=True)
class Provider:
    """The provider's side; `write_request` takes the upstream's id of the model,
    `read_reply` raises Unreadable.
    """

    write_request: Callable[[Asked, str], Written]
    read_reply: Callable[[bytes], Embedded]


def read_openai(body: bytes | JSON) -> Asked:
    found = load_object(body)
    form = found.one_of("encoding_format", {"float", "base64"})
    return Asked(
        model=found.need_name("model"),
        inputs=_inputs(found, "input"),
        dimensions=found.integer("dimensions", 1),
        as_base64=form == "base64",
        user=found.text("user"),
        extras=found.rest(_OPENAI),
    )


def read_ollama(body: bytes | JSON) -> Asked:
    """Read a request of /api/embed, or of /api/embeddings, which has a prompt."""
    found = load_object(body)
    single = found.has("prompt") and not found.has("input")
    return Asked(
        model=found.need_name("model"),
        inputs=_inputs(found, "prompt" if single else "input"),
        dimensions=found.integer("dimensions", 1),
        single=single,
        extras=found.rest(_OLLAMA),
    )


def _inputs(found: Node, name: str) -> tuple[str, ...]:
    if not found.has(name):
        raise found.missing(name)
    given = found.get(name)
    if isinstance(given, list) and any(isinstance(one, int | list) for one in given):
        raise UnsupportedParameter(
            found.at(name), "this provider takes text, no lists of tokens"
        )
    texts = found.texts(name)
    if not texts:
        raise found.wrong(name, "must not be empty")
    return texts


def write_openai(asked: Asked, model: str) -> Written:
    body: JSON = {"model": model, "input": list(asked.inputs)}
    if asked.dimensions is not None:
        body["dimensions"] = asked.dimensions
    if asked.user is not None:
        body["user"] = asked.user
    return Written(body, tuple(asked.extras))


def write_ollama(asked: Asked, model: str) -> Written:
    body: JSON = {"model": model, "input": list(asked.inputs)}
    if asked.dimensions is not None:
        body["dimensions"] = asked.dimensions
    body |= {name: asked.extras[name] for name in _OLLAMAS_OWN if name in asked.extras}
    return Written(body, _left(asked, _OLLAMAS_OWN))


def write_gemini(asked: Asked, model: str) -> Written:
    name = model if "/" in model else f"models/{model}"
    each: JSON = {"model": name}
    if asked.dimensions is not None:
        each["outputDimensionality"] = asked.dimensions
    requests = [
        {**each, "content": {"parts": [{"text": text}]}} for text in asked.inputs
    ]
    return Written({"requests": requests}, _left(asked, ()))


def _left(asked: Asked, known: tuple[str, ...]) -> tuple[str, ...]:
    names = [name for name in asked.extras if name not in known]
    return tuple(names if asked.user is None else [*names, "user"])


def read_openai_reply(body: bytes) -> Embedded:
    found = _object(body)
    entries = found.get("data")
    if not isinstance(entries, list):
        raise Unreadable("the reply has no embeddings")
    known = [entry for entry in entries if isinstance(entry, dict)]
    known.sort(key=lambda entry: _count(entry.get("index")) or 0)
    vectors = tuple(_vector(entry.get("embedding")) for entry in known)
    usage = found.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return Embedded(vectors, _name(found), _count(tokens))


def read_ollama_reply(body: bytes) -> Embedded:
    found = _object(body)
    vectors = found.get("embeddings")
    if not isinstance(vectors, list):
        raise Unreadable("the reply has no embeddings")
    tokens = _count(found.get("prompt_eval_count"))
    return Embedded(tuple(map(_vector, vectors)), _name(found), tokens)


def read_gemini_reply(body: bytes) -> Embedded:
    found = _object(body)
    entries = found.get("embeddings")
    if not isinstance(entries, list):
        raise Unreadable("the reply has no embeddings")
    vectors = tuple(
        _vector(entry.get("values") if isinstance(entry, dict) else None)
        for entry in entries
    )
    usage = found.get("usageMetadata")
    tokens = usage.get("promptTokenCount") if isinstance(usage, dict) else None
    return Embedded(vectors, "", _count(tokens))


def write_openai_reply(embedded: Embedded, asked: Asked) -> JSON:
    tokens = embedded.prompt_tokens or 0
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": to_base64(vector) if asked.as_base64 else list(vector),
        }
        for index, vector in enumerate(embedded.vectors)
    ]
    return {
        "object": "list",
        "data": data,
        "model": embedded.model or asked.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def write_ollama_reply(embedded: Embedded, asked: Asked) -> JSON:
    vectors = [list(vector) for vector in embedded.vectors]
    if asked.single:
        return {"embedding": vectors[0] if vectors else []}
    found: JSON = {"model": embedded.model or asked.model, "embeddings": vectors}
    if embedded.prompt_tokens is not None:
        found["prompt_eval_count"] = embedded.prompt_tokens
    return found


def to_base64(vector: tuple[float, ...]) -> str:
    """Raises OverflowError for what is no 32-bit float."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _object(body: bytes) -> JSON:
    try:
        found = load(body)
    except ValueError as error:
        raise Unreadable("the reply is not JSON") from error
    if not isinstance(found, dict):
        raise Unreadable("the reply is no JSON object")
    return found


def _vector(found: object) -> tuple[float, ...]:
    if isinstance(found, str):
        return _from_base64(found)
    if not isinstance(found, list) or not all(
        isinstance(number, int | float) and not isinstance(number, bool)
        for number in found
    ):
        raise Unreadable("the reply has an embedding of an unknown shape")
    return tuple(found)


def _from_base64(text: str) -> tuple[float, ...]:
    try:
        raw = base64.b64decode(text, validate=True)
        return struct.unpack(f"<{len(raw) // 4}f", raw)
    except (binascii.Error, ValueError, struct.error) as error:
        raise Unreadable("the reply has an embedding of an unknown shape") from error


def _count(found: object) -> int | None:
    is_count = isinstance(found, int) and not isinstance(found, bool) and found >= 0
    return found if is_count and isinstance(found, int) else None


def _name(found: JSON) -> str:
    name = found.get("model")
    return name if isinstance(name, str) else ""


CALLERS: Final[Mapping[Dialect, Caller]] = MappingProxyType({
    Dialect.CHAT: Caller(read_openai, write_openai_reply),
    Dialect.OLLAMA: Caller(read_ollama, write_ollama_reply),
})  # fmt: skip
PROVIDERS: Final[Mapping[Dialect, Provider]] = MappingProxyType({
    Dialect.CHAT: Provider(write_openai, read_openai_reply),
    Dialect.OLLAMA: Provider(write_ollama, read_ollama_reply),
    Dialect.GEMINI: Provider(write_gemini, read_gemini_reply),
})  # fmt: skip
