"""How many tokens a request is: asked of a provider that counts, else estimated.

The estimate: UTF-8 bytes of all text and schemas by 4, 4 tokens for each message and
tool, 1,500 for each picture, 2,000 for each document that is no text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

from providers.base import Prepared
from providers.wire.dialect import Framing
from providers.wire.translate.mapping import all_parts
from providers.wire.translate.request import (
    Audio,
    File,
    Image,
    Reasoning,
    Refusal,
    Request,
    Text,
    Tool,
    ToolCall,
)
from proxy.pipeline.talk import Talks
from proxy.pipeline.translation import (
    Errand,
    Said,
    Speaker,
    Unreadable,
    Unstreamed,
    left_out,
    prepare,
)

_BYTES_PER_TOKEN: Final = 4
_PER_PIECE: Final = 4
_PER_IMAGE: Final = 1500
_PER_FILE: Final = 2000


def estimate(asked: Request) -> int:
    """Guess the tokens of a prompt."""
    size = sum(len(text.text.encode()) for text in asked.system)
    tokens = _PER_PIECE * (len(asked.messages) + len(asked.tools))
    for part in all_parts(asked):
        if isinstance(part, Text | Reasoning | Refusal):
            size += len(part.text.encode())
        elif isinstance(part, ToolCall):
            size += len(part.name) + len(part.arguments.encode())
        elif isinstance(part, Image):
            tokens += _PER_IMAGE
        elif isinstance(part, File | Audio):
            text = part.text if isinstance(part, File) else None
            tokens += _PER_FILE if text is None else 0
            size += len(text.encode()) if text else 0
    for tool in asked.tools:
        if isinstance(tool, Tool):
            size += len(tool.name) + len((tool.description or "").encode())
            size += len(orjson.dumps(dict(tool.schema or {})))
        else:
            size += len(orjson.dumps(dict(tool.raw)))
    return max(1, tokens + -(-size // _BYTES_PER_TOKEN))


def write_count(talks: Talks, errand: Errand, asked: Request) -> Count:
    """Ask a provider of Gemini's dialect, which counts a whole request."""
    written, dropped = talks.written(errand, asked)
    model = f"models/{errand.model.removeprefix('models/')}"
    whole = {"model": model, **written.body}
    prepared, body = prepare(errand, {"generateContentRequest": whole})
    return Count(prepared, body, left_out(dropped))


@dataclass(frozen=True, slots=True, eq=False)
class Count(Unstreamed):
    """A question for the number of tokens. Implements Translation."""

    prepared: Prepared
    body: bytes
    applied: tuple[str, ...]

    def say(self, body: bytes, who: Speaker) -> Said:
        try:
            found = orjson.loads(body)["totalTokens"]
        except (ValueError, KeyError, TypeError) as error:
            raise Unreadable("its answer holds no count") from error
        return Said(orjson.dumps({"input_tokens": found}), Framing.PLAIN, None)
