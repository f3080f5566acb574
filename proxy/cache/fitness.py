"""Which replies may be given again: whole, good, and made by the model alone.

Errors and replies that broke off are never kept, nor what a tool on the provider's
side had a part in. A reply that ended at a bound is kept where the caller set it: then
it is the whole answer to that request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import orjson

from providers.wire.sse import data_of, split_events
from providers.wire.whole import read_error
from proxy.cache.key import Asked

# An item that says the provider's own tool was at work; what the caller's tools are
# to do is a function_call or a custom_tool_call.
_own_tool: Final = re.compile(
    rb'"type"\s*:\s*"(?:server_tool_use|mcp_tool_use|mcp_list_tools'
    rb'|(?!function_call"|custom_tool_call")[a-z0-9_]+_call)"'
).search
_finish: Final = re.compile(rb'"(?:finish_reason|stop_reason)"\s*:\s*"(\w+)"').findall
_TAIL_EVENTS: Final = 3
_AT_A_BOUND: Final = frozenset({b"length", b"max_tokens"})
_NO_END: Final = frozenset({
    b"error", b"pause_turn", b"model_context_window_exceeded",
})  # fmt: skip


def is_fit(asked: Asked, status: int, *, is_stream: bool, body: bytes) -> bool:
    """Tell whether a reply may be kept; `is_stream` that it is SSE."""
    if status != 200 or not body or _own_tool(body):
        return False
    return _is_stream_fit(asked, body) if is_stream else _is_whole_fit(asked, body)


def _is_whole_fit(asked: Asked, body: bytes) -> bool:
    if read_error(body) is not None:
        return False
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(found, dict):
        return False
    match asked.operation:
        case "chat" | "completions":
            return _have_ended(asked, _reasons(found))
        case "messages":
            return _have_ended(asked, [_encoded(found.get("stop_reason"))])
        case "responses":
            return _is_response_fit(asked, found)
    return True


def _is_stream_fit(asked: Asked, body: bytes) -> bool:
    tail = _last_data(body)
    if not tail:
        return False
    last = tail[-1]
    match asked.operation:
        case "chat" | "completions":
            if last.strip() != b"[DONE]" or any(_is_error(data) for data in tail):
                return False
            return _have_ended(asked, _finish(body))
        case "messages":
            is_closed = _member(last, "type") == "message_stop"
            return is_closed and _have_ended(asked, _finish(body))
        case "responses":
            response = _member(last, "response")
            return isinstance(response, dict) and _is_response_fit(asked, response)
    return False


def _last_data(body: bytes) -> list[bytes]:
    """Answer the data of the last few events; comments that stand there have none."""
    if b"\r" in body:
        events = split_events(body)
    else:  # a long stream is not taken apart for its end
        events = body.rsplit(b"\n\n", 2 * _TAIL_EVENTS)
        if len(events) > 2 * _TAIL_EVENTS:
            del events[0]
    return [data for event in events if (data := data_of(event))][-_TAIL_EVENTS:]


def _is_response_fit(asked: Asked, response: dict[str, Any]) -> bool:
    if response.get("status") == "completed":
        return True
    details = response.get("incomplete_details")
    return (
        response.get("status") == "incomplete"
        and asked.is_bounded
        and isinstance(details, dict)
        and details.get("reason") == "max_output_tokens"
    )


def _have_ended(asked: Asked, reasons: Iterable[bytes]) -> bool:
    found = frozenset(reasons)
    if not found or b"" in found or found & _NO_END:
        return False
    return asked.is_bounded or not found & _AT_A_BOUND


def _reasons(found: dict[str, Any]) -> list[bytes]:
    choices = found.get("choices")
    if not isinstance(choices, list):
        return []
    return [
        _encoded(choice.get("finish_reason") if isinstance(choice, dict) else None)
        for choice in choices
    ]


def _encoded(reason: object) -> bytes:
    return reason.encode("ascii", "replace") if isinstance(reason, str) else b""


def _is_error(data: bytes) -> bool:
    return read_error(data) is not None


def _member(data: bytes, name: str) -> object:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return found.get(name) if isinstance(found, dict) else None
