"""One error, in each dialect: as a whole body, and as the end of a broken stream.

Output is ASCII JSON: no text can end a line, an event or an encoding early.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from providers.wire.dialect import Dialect, Framing

_ANTHROPIC_TYPES: Final = MappingProxyType({
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
})  # fmt: skip


class Problem(Struct, frozen=True):
    """An error to be told; `type` is OpenAI's, Anthropic's follows from `status`."""

    status: int
    type: str
    code: str
    message: str
    param: str | None = None
    request_id: str | None = None


def render(problem: Problem, dialect: Dialect) -> bytes:
    """Write the whole JSON body of an error reply."""
    if dialect is Dialect.MESSAGES:
        return _json(_anthropic(problem))
    if dialect is Dialect.OLLAMA:
        return _json({"error": problem.message})
    return _json(_openai(problem))


def is_envelope(body: bytes, dialect: Dialect) -> bool:
    """Tell whether an error body has the shape that SDKs of the dialect read."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return False
    error = found.get("error") if isinstance(found, dict) else None
    if dialect is Dialect.OLLAMA:
        return isinstance(error, str)
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return False
    if dialect is Dialect.MESSAGES:
        return found.get("type") == "error" and isinstance(error.get("type"), str)
    return True


def in_stream(
    problem: Problem,
    dialect: Dialect,
    framing: Framing,
    *,
    response_id: str | None = None,
    sequence_number: int = 0,
    model: str = "",
    created_at: int = 0,
) -> bytes:
    """Write the events that end a stream which cannot be completed.

    They belong on an event boundary. What follows from it looks complete in no
    dialect; PLAIN bodies have no such end and get no bytes. The last four are of
    Responses: `response_id` as the stream gave it, the number of this event, the
    model and the time (Unix seconds) of the response.
    """
    if framing is Framing.PLAIN:
        return b""
    if framing is Framing.NDJSON:
        return render(problem, Dialect.OLLAMA) + b"\n"
    if dialect is Dialect.MESSAGES:
        return _event("error", _anthropic(problem))
    if dialect is Dialect.RESPONSES:
        response = _failed_response(problem, response_id, model, created_at)
        return _event("response.failed", {
            "type": "response.failed",
            "sequence_number": sequence_number,
            "response": response,
        })  # fmt: skip
    error = b"data: " + render(problem, dialect) + b"\n\n"
    return error + b"data: [DONE]\n\n" if dialect is Dialect.CHAT else error


def _openai(problem: Problem) -> dict[str, object]:
    return {
        "error": {
            "message": problem.message,
            "type": problem.type,
            "code": problem.code,
            "param": problem.param,
        }
    }


def _anthropic(problem: Problem) -> dict[str, object]:
    return {
        "type": "error",
        "error": {
            "type": _anthropic_type(problem.status),
            "message": problem.message,
            "code": problem.code,
        },
        "request_id": problem.request_id,
    }


def _anthropic_type(status: int) -> str:
    """Name a status as Anthropic does, which files other 4xx under invalid requests."""
    other = "invalid_request_error" if 400 <= status < 500 else "api_error"
    return _ANTHROPIC_TYPES.get(status, other)


def _failed_response(
    problem: Problem, response_id: str | None, model: str, created_at: int
) -> dict[str, object]:
    """Build the Response that SDKs parse: all its required members, and the error.

    They refuse an id that differs from the one the stream began with.
    """
    return {
        "id": response_id or f"resp_{problem.request_id or 'failed'}",
        "object": "response",
        "created_at": created_at,
        "status": "failed",
        "error": {"code": problem.code, "message": problem.message},
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }


def _event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: ".encode() + _json(data) + b"\n\n"


def _json(found: object) -> bytes:
    # Escaped to ASCII, for naive clients split lines at U+2028 and U+0085 too.
    return json.dumps(_sound(found), separators=(",", ":")).encode("ascii")


def _sound(found: object) -> object:
    """Replace lone surrogates, which strict parsers refuse even when escaped."""
    if isinstance(found, str):
        return found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(found, dict):
        return {key: _sound(value) for key, value in found.items()}
    return found
