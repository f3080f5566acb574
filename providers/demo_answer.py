"""What the demo model says: its words, the tool it calls, its vectors.

Knows what a request asks in each dialect; how the answer is written in it is the
affair of providers.demo_replies. A token is a word with the space before it.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from typing import Any, Final

from msgspec import Struct

Json = dict[str, Any]

MAX_DIMENSIONS: Final = 4096
_TEXT: Final = (
    "This is the demo provider of local-ai. It has no model behind it: every answer "
    "is this text, streamed word by word, so that clients and pages can be tried "
    "without a GPU. Point a provider at a real server to hear something new."
)
_JSON_TEXT: Final = '{"message": "This is the demo provider of local-ai."}'
_WORD: Final = re.compile(r"\s*\S+")


class DemoError(Exception):
    """A request that the demo provider refuses, with status and OpenAI's words."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


class Answer(Struct, frozen=True):
    """What the demo model would say: words, or a call of the tool `tool`."""

    id: str
    model: str
    words: tuple[str, ...]
    prompt_tokens: int
    cut: bool = False
    tool: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def completion_tokens(self) -> int:
        return len(self.words) or 1


def embeddings(request: Json) -> Json:
    """The answer to POST /v1/embeddings: vectors made of the input's hash."""
    inputs = _inputs(request.get("input"))
    size = request.get("dimensions", 64)
    if isinstance(size, bool) or not isinstance(size, int):
        raise DemoError(400, "dimensions must be a whole number")
    if not 1 <= size <= MAX_DIMENSIONS:
        raise DemoError(400, f"dimensions must be between 1 and {MAX_DIMENSIONS}")
    packed = request.get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _vector(seed, size, packed),
        }
        for index, seed in enumerate(inputs)
    ]
    tokens = sum(len(_WORD.findall(seed)) or 1 for seed in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    model = request.get("model")
    return {"object": "list", "data": data, "model": model, "usage": usage}


def count_tokens(request: Json) -> Json:
    """The answer to POST /v1/messages/count_tokens."""
    return {"input_tokens": _count(request.get("messages"), request.get("system"))}


def chat_answer(request: Json, id_: str) -> Answer:
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise DemoError(400, "messages must be a list with at least one message")
    limit = request.get("max_completion_tokens", request.get("max_tokens"))
    form = request.get("response_format")
    return _answer(request, f"chatcmpl-{id_}", _count(messages), limit, _is_json(form))


def completion_answer(request: Json, id_: str) -> Answer:
    if "prompt" not in request:
        raise DemoError(400, "prompt is missing")
    prompt = _count(request["prompt"])
    return _answer(request, f"cmpl-{id_}", prompt, request.get("max_tokens"))


def response_answer(request: Json, id_: str) -> Answer:
    if "input" not in request:
        raise DemoError(400, "input is missing")
    prompt = _count(request["input"], request.get("instructions"))
    text = request.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    limit = request.get("max_output_tokens")
    return _answer(request, f"resp_{id_}", prompt, limit, _is_json(form))


def message_answer(request: Json, id_: str) -> Answer:
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise DemoError(400, "messages: a list with at least one message is required")
    prompt = _count(messages, request.get("system"))
    return _answer(request, f"msg_{id_}", prompt, request.get("max_tokens"))


def _answer(
    request: Json, id_: str, prompt: int, limit: object, as_json: bool = False
) -> Answer:
    model = str(request["model"])
    tool = _demanded_tool(request)
    if tool is not None:
        return Answer(id_, model, (), prompt, tool=tool)
    words = tuple(_WORD.findall(_JSON_TEXT if as_json else _TEXT))
    if (
        isinstance(limit, int)
        and not isinstance(limit, bool)
        and 0 < limit < len(words)
    ):
        return Answer(id_, model, words[:limit], prompt, cut=True)
    return Answer(id_, model, words, prompt)


def _demanded_tool(request: Json) -> str | None:
    """The tool that the request insists on, in any dialect's way of insisting."""
    offered = request.get("tools")
    tools = (
        [t for t in offered if isinstance(t, dict)] if isinstance(offered, list) else []
    )
    names = [name for tool in tools if (name := _tool_name(tool)) is not None]
    choice = request.get("tool_choice")
    if not names or choice is None:
        return None
    if choice == "required":
        return names[0]
    if not isinstance(choice, dict):
        return None
    named = _tool_name(choice)
    if named in names:
        return named
    return names[0] if choice.get("type") == "any" else None


def _tool_name(tool: Json) -> str | None:
    function = tool.get("function")
    holder = function if isinstance(function, dict) else tool
    name = holder.get("name")
    return name if isinstance(name, str) and name else None


def _is_json(form: object) -> bool:
    kind = form.get("type") if isinstance(form, dict) else None
    return kind in ("json_object", "json_schema")


def _count(*parts: object) -> int:
    """Words in every text below `parts`."""
    total, waiting = 0, list(parts)
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            total += len(_WORD.findall(part))
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            waiting += [part.get("content"), part.get("text")]
        elif isinstance(part, int):
            total += 1  # a prompt of token numbers
    return total


def _inputs(value: object) -> list[str]:
    """One text per input: a string, a list of strings, tokens, a list of tokens."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise DemoError(400, "input must be a text, a list of texts or of tokens")
    if all(isinstance(part, int) for part in value):
        return [" ".join(map(str, value))]
    return [
        part if isinstance(part, str) else " ".join(map(str, [part])) for part in value
    ]


def _vector(seed: str, size: int, packed: bool) -> list[float] | str:
    raw = hashlib.shake_256(seed.encode("utf-8", "replace")).digest(size)
    floats = [round(byte / 127.5 - 1.0, 6) for byte in raw]
    if not packed:
        return floats
    return base64.b64encode(struct.pack(f"<{size}f", *floats)).decode()
