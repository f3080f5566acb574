"""Tool calls as they come in and go out: their arguments, ids and names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson

from providers.wire.translate.events import (
    Event,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from providers.wire.translate.problems import InvalidField
from providers.wire.translate.request import (
    Message,
    Opaque,
    Request,
    Tool,
    ToolCall,
    ToolResult,
)

_MADE: Final = "call_made_"
_FREEFORM_SCHEMA: Final = MappingProxyType({
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
})  # fmt: skip


def schema_of(tool: Tool) -> dict[str, Any]:
    """Answer what a tool takes; one for free text takes it as `input`."""
    if tool.freeform:
        return dict(_FREEFORM_SCHEMA)
    return dict(tool.schema or {"type": "object", "properties": {}})


def offered(request: Request) -> list[Tool | Opaque]:
    """List the tools to offer: those that the choice allows."""
    allowed = request.tool_choice.allowed if request.tool_choice else ()
    return [
        tool
        for tool in request.tools
        if not allowed or isinstance(tool, Opaque) or tool.name in allowed
    ]


def made_id(seed: str, index: int) -> str:
    """Make the id of a call that its provider gave none."""
    return f"{_MADE}{seed}_{index}"


def is_made(call_id: str) -> bool:
    return call_id.startswith(_MADE)


def arguments_object(arguments: str, at: str | None = None) -> dict[str, Any]:
    """Read arguments as the object that some dialects want; raises InvalidField."""
    if not arguments.strip():
        return {}
    try:
        found = orjson.loads(arguments)
    except orjson.JSONDecodeError as error:
        raise InvalidField(
            at, f"the tool call's arguments are not JSON: {error}"
        ) from error
    if not isinstance(found, dict):
        raise InvalidField(at, "the tool call's arguments must be a JSON object")
    return found


def lenient_object(arguments: str) -> dict[str, Any]:
    """Read what a model wrote; what is no object is kept under `input`."""
    try:
        return arguments_object(arguments)
    except InvalidField:
        return {"input": arguments}


def dump(found: object) -> str:
    """Write JSON text."""
    return orjson.dumps(found).decode()


def whole_call(
    index: int, call_id: str, name: str, arguments: str, signature: str | None = None
) -> list[Event]:
    """The events of a call that came in one piece."""
    return [
        ToolCallStart(index, call_id, name, signature),
        *([ToolCallDelta(index, arguments)] if arguments else []),
        ToolCallEnd(index),
    ]


def names_of_calls(messages: Iterable[Message]) -> Mapping[str, str]:
    """Map the ids of all calls in a conversation to their tools' names."""
    return {
        part.id: part.name
        for message in messages
        for part in message.parts
        if isinstance(part, ToolCall)
    }


class CallBook:
    """The calls seen so far while a conversation is read: results must follow one."""

    def __init__(self, *, complete: bool = True) -> None:
        self._ids: set[str] = set()
        self._complete = complete

    def note(self, call: ToolCall) -> ToolCall:
        self._ids.add(call.id)
        return call

    def check(self, result: ToolResult, at: str) -> ToolResult:
        """Raise InvalidField for a result without its call."""
        if self._complete and result.call_id not in self._ids:
            raise InvalidField(at, f"{at}: no tool call {result.call_id!r} before this")
        return result


class Unanswered:
    """Calls that wait for their result, for dialects whose calls have no ids."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, str]] = []
        self._count = 0

    def call(self, call_id: str | None, name: str) -> str:
        """Note a call; answers its id, a made one where it has none."""
        found = call_id or made_id("turn", self._count)
        self._count += 1
        self._waiting.append((found, name))
        return found

    def result(self, call_id: str | None, name: str | None, at: str) -> str:
        """Find the call of a result: by id, else the first of that name."""
        for waiting in self._waiting:
            if waiting[0] == call_id or (not call_id and name in {None, waiting[1]}):
                self._waiting.remove(waiting)
                return waiting[0]
        raise InvalidField(at, f"{at}: no tool call before this result")


class OpenCall:
    """The one call that is open in a sequence, for dialects that send calls whole."""

    def __init__(self) -> None:
        self._start = ToolCallStart(0, "", "")
        self._arguments: list[str] = []

    def start(self, event: ToolCallStart) -> None:
        self._start = event
        self._arguments = []

    def add(self, event: ToolCallDelta) -> None:
        self._arguments.append(event.arguments)

    def whole(self) -> ToolCall:
        start = self._start
        arguments = "".join(self._arguments)
        return ToolCall(start.id, start.name, arguments, start.signature)
