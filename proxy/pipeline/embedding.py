"""Embeddings, asked and answered in another dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import orjson

from providers.base import Prepared
from providers.wire import embeddings
from providers.wire.dialect import Framing
from providers.wire.translate.problems import Refused
from proxy.core import clock
from proxy.pipeline.translation import (
    Errand,
    Said,
    Speaker,
    Unreadable,
    Unstreamed,
    left_out,
    prepare,
    refusal,
)

_Write = Callable[[embeddings.Wanted, str], tuple[dict[str, Any], list[str]]]
_WRITERS: Final[Mapping[str, _Write]] = MappingProxyType({
    "embeddings": embeddings.write_openai,
    "ollama_embed": embeddings.write_ollama,
    "gemini_embed": embeddings.write_gemini,
})  # fmt: skip
_ODD: Final = (ValueError, KeyError, TypeError, AttributeError)


def write_vectors(errand: Errand, wanted: embeddings.Wanted) -> Embedding:
    """Write a request for embeddings. Raises CallerFault."""
    try:
        body, dropped = _WRITERS[errand.way.name](wanted, errand.model)
    except Refused as error:
        raise refusal(error) from error
    prepared, text = prepare(errand, body)
    applied = left_out((*dropped, *prepared.dropped))
    return Embedding(errand, wanted, prepared, text, applied)


@dataclass(frozen=True, slots=True, eq=False)
class Embedding(Unstreamed):
    """Implements Translation; there is no stream of embeddings."""

    errand: Errand
    wanted: embeddings.Wanted
    prepared: Prepared
    body: bytes
    applied: tuple[str, ...]

    def say(self, body: bytes, who: Speaker) -> Said:
        try:
            vectors = embeddings.read_reply(body)
        except _ODD as error:
            raise Unreadable("its answer holds no embeddings") from error
        if len(vectors.vectors) != len(self.wanted.inputs):
            raise Unreadable("it answered with another number of embeddings")
        elapsed_ns = int((clock.monotonic() - who.started_at) * 1e9)
        document = embeddings.write_reply(
            self.errand.caller.name, vectors, self.wanted, self.errand.model, elapsed_ns
        )
        return Said(orjson.dumps(document), Framing.PLAIN, vectors.usage)
