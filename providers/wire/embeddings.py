"""Embeddings in each dialect: what is asked, and the vectors that come back.

OpenAI's `/embeddings` (floats or base64), Ollama's /api/embed and its older
/api/embeddings, Gemini's batchEmbedContents.
"""

from __future__ import annotations

import base64
from array import array
from typing import Any, Final

import orjson
from msgspec import Struct

from providers.wire.translate.fields import Node, load_object
from providers.wire.translate.problems import UnsupportedParameter
from providers.wire.usage import Usage

JSON = dict[str, Any]

_FORMATS: Final = ("base64", "float")
_OF_OLLAMA: Final = ("keep_alive", "options", "truncate")


class Wanted(Struct, frozen=True):
    """What is to be embedded: texts, or lists of tokens. `extras` are members that
    Ollama alone knows; `unknown` the names of those that nobody here does.
    """

    model: str
    inputs: tuple[str | list[int], ...]
    dimensions: int | None = None
    as_base64: bool = False
    extras: tuple[tuple[str, Any], ...] = ()
    unknown: tuple[str, ...] = ()


class Vectors(Struct, frozen=True):
    """What came back, one vector for each input."""

    vectors: tuple[list[float], ...]
    usage: Usage | None = None


def read_request(operation: str, body: bytes | JSON) -> Wanted:
    """Read a request; `operation` is a name of providers.base. Raises Refused."""
    found = load_object(body)
    name = "prompt" if operation == "ollama_embeddings" else "input"
    known = {"model", name, "dimensions", "encoding_format", *_OF_OLLAMA}
    return Wanted(
        model=found.need_name("model"),
        inputs=_inputs(found, name),
        dimensions=found.integer("dimensions", 1),
        as_base64=found.one_of("encoding_format", _FORMATS) == "base64",
        extras=tuple((n, found.get(n)) for n in _OF_OLLAMA if found.has(n)),
        unknown=tuple(found.rest(known)),
    )


def _inputs(found: Node, name: str) -> tuple[str | list[int], ...]:
    given = found.get(name)
    if given is None and name == "prompt":
        return ()  # Ollama answers with a vector that is empty
    if given is None:
        raise found.missing(name)
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, list) or not given:
        raise found.wrong(name, "must be a string or an array that is not empty")
    if all(_is_token(item) for item in given):
        return (given,)
    for index, item in enumerate(given):
        is_tokens = isinstance(item, list) and item and all(map(_is_token, item))
        if not isinstance(item, str) and not is_tokens:
            raise found.wrong(
                f"{name}[{index}]", "must be a string or an array of tokens"
            )
    return tuple(given)


def _is_token(item: object) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)


def write_openai(wanted: Wanted, model: str) -> tuple[JSON, list[str]]:
    """Write OpenAI's request; answers the names of what is left out, too."""
    body: JSON = {"model": model, "input": list(wanted.inputs)}
    if wanted.dimensions is not None:
        body["dimensions"] = wanted.dimensions
    return body, [name for name, _ in wanted.extras] + list(wanted.unknown)


def write_ollama(wanted: Wanted, model: str) -> tuple[JSON, list[str]]:
    """Write /api/embed's request. Raises UnsupportedParameter."""
    body: JSON = {"model": model, "input": _texts(wanted), **dict(wanted.extras)}
    if wanted.dimensions is not None:
        body["dimensions"] = wanted.dimensions
    return body, list(wanted.unknown)


def write_gemini(wanted: Wanted, model: str) -> tuple[JSON, list[str]]:
    """Write batchEmbedContents' request. Raises UnsupportedParameter."""
    name = f"models/{model.removeprefix('models/')}"
    size = (
        {} if wanted.dimensions is None else {"outputDimensionality": wanted.dimensions}
    )
    requests = [
        {"model": name, "content": {"parts": [{"text": text}]}, **size}
        for text in _texts(wanted)
    ]
    left_out = [name for name, _ in wanted.extras] + list(wanted.unknown)
    return {"requests": requests}, left_out


def _texts(wanted: Wanted) -> list[str]:
    texts = [item for item in wanted.inputs if isinstance(item, str)]
    if len(texts) < len(wanted.inputs):
        raise UnsupportedParameter("input", "this provider takes texts, not tokens")
    return texts


def read_reply(body: bytes) -> Vectors:
    """Read the vectors of any dialect. Raises ValueError, TypeError, KeyError for another shape."""
    found = orjson.loads(body)
    if not isinstance(found, dict):
        raise TypeError("no object")
    if isinstance(found.get("data"), list):
        rows = sorted(found["data"], key=lambda row: row.get("index", 0))
        vectors = tuple(_floats(row["embedding"]) for row in rows)
        return Vectors(vectors, _usage((found.get("usage") or {}).get("prompt_tokens")))
    rows = found["embeddings"]
    vectors = tuple(
        _floats(row["values"] if isinstance(row, dict) else row) for row in rows
    )
    counted = found.get("prompt_eval_count")
    if counted is None:
        counted = (found.get("usageMetadata") or {}).get("promptTokenCount")
    return Vectors(vectors, _usage(counted))


def _floats(found: object) -> list[float]:
    if isinstance(found, str):
        return array("f", base64.b64decode(found)).tolist()
    if isinstance(found, list):
        return found
    raise ValueError("no vector")


def _usage(tokens: object) -> Usage | None:
    if isinstance(tokens, int) and not isinstance(tokens, bool):
        return Usage(prompt=tokens, completion=0)
    return None


def write_reply(
    operation: str, vectors: Vectors, wanted: Wanted, model: str, elapsed_ns: int = 0
) -> JSON:
    """Write the answer to a caller of `operation`."""
    tokens = (vectors.usage.prompt if vectors.usage else None) or 0
    if operation == "ollama_embeddings":
        return {"embedding": vectors.vectors[0] if vectors.vectors else []}
    if operation == "ollama_embed":
        return {
            "model": wanted.model,
            "embeddings": list(vectors.vectors),
            "total_duration": elapsed_ns,
            "load_duration": 0,
            "prompt_eval_count": tokens,
        }
    data = [
        {"object": "embedding", "index": n, "embedding": _shown(vector, wanted)}
        for n, vector in enumerate(vectors.vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _shown(vector: list[float], wanted: Wanted) -> list[float] | str:
    if not wanted.as_base64:
        return vector
    return base64.b64encode(array("f", vector).tobytes()).decode()
