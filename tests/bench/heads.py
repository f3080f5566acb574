"""Requests as the official SDKs send them.

The heads in `heads/*.http` were recorded from the SDKs by `record_heads.py`; what
changes from call to call is a placeholder there. Bodies are put together here.
"""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Final

BENCH_KEY: Final = "sk-bench-0123456789abcdef"
FOLDER: Final = Path(__file__).parent / "heads"
IMAGE_BYTES: Final = 10 << 20
SPOKEN: Final = "mock-chat"
PAUSE_MS: Final = 20

SYSTEM: Final = (
    "You are a helpful assistant. Answer briefly and precisely, "
    "and say when you do not know."
)
QUESTION: Final = (
    "Write one paragraph about the history of the steam engine and its effect on "
    "the textile industry in the north of England between 1780 and 1850, "
    "with two dates."
)


def head(name: str, host: str, body: bytes) -> bytes:
    """Fill in the recorded head `name` for a body to be sent to `host`."""
    text = (FOLDER / f"{name}.http").read_bytes()
    text = text.replace(b"{host}", host.encode())
    return text.replace(b"{length}", str(len(body)).encode())


def chat() -> bytes:
    """A plain chat completion."""
    return _body({"messages": _messages(QUESTION), "max_tokens": 50})


def stream(chunks: int, pause_ms: int) -> bytes:
    """A streamed chat completion; the mock reads number and pace of chunks in it."""
    return _body(
        {
            "messages": _messages(QUESTION),
            "max_tokens": chunks,
            "seed": pause_ms,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )


def spoken(chunks: int, pause_ms: int, *, translated: bool) -> bytes:
    """A streamed chat completion of the model that speaks chat alone; or, translated,
    a streamed message of it.

    Messages have no seed: the gateway sets that of the model, and for others the mock
    reads it here.
    """
    asked = {"max_tokens": chunks, "seed": pause_ms, "stream": True}
    question = {"role": "user", "content": QUESTION}
    if translated:
        return _body(asked | {"system": SYSTEM, "messages": [question]}, SPOKEN)
    asked |= {
        "messages": _messages(QUESTION),
        "stream_options": {"include_usage": True},
    }
    return _body(asked, SPOKEN)


def image() -> bytes:
    """A chat completion over a picture of 10 MiB in base64."""
    picture = random.Random(7).randbytes(IMAGE_BYTES * 3 // 4)
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    parts = [
        {"type": "text", "text": "What is on this picture?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    return _body({"messages": _messages(parts), "max_tokens": 50})


def _messages(content: object) -> list[dict[str, object]]:
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": content},
    ]


def _body(fields: dict[str, object], model: str = "mock") -> bytes:
    return json.dumps({"model": model, **fields}, separators=(",", ":")).encode()
