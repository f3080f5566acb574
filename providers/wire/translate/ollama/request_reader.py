"""Reading requests of /api/chat and /api/generate; both stream unless told not to.

Without messages, or without a prompt, they ask for the model to be loaded: whoever
serves them sees a request that has no turns.
"""

from __future__ import annotations

from typing import Any, Final

from providers.wire.dialect import Dialect
from providers.wire.translate.fields import Node, load_object
from providers.wire.translate.media import from_base64
from providers.wire.translate.ollama.mapping import OPTIONS
from providers.wire.translate.request import (
    Effort,
    FormatKind,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from providers.wire.translate.toolcalls import Unanswered, dump

_SHARED: Final = frozenset({
    "model", "stream", "format", "options", "think", "logprobs", "top_logprobs",
})  # fmt: skip
KNOWN: Final = _SHARED | {"messages", "tools"}
KNOWN_BY_GENERATE: Final = _SHARED | {"prompt", "system", "images"}
_KNOWN_OPTIONS: Final = frozenset({*OPTIONS.values(), "num_predict"})
_ROLES: Final = frozenset({"system", "user", "assistant", "tool"})


def read_request(body: bytes | dict[str, Any]) -> Request:
    """Read a request of /api/chat; raises Refused with the field at fault."""
    found = load_object(body)
    system, messages = _read_messages(found)
    tools = tuple(_read_tool(node) for node in found.nodes("tools"))
    return _request(found, messages, system, tools, found.rest(KNOWN))


def read_generate(body: bytes | dict[str, Any]) -> Request:
    """Read a request of /api/generate: one turn; raises Refused."""
    found = load_object(body)
    prompt = found.text("prompt")
    parts: list[Part] = [Text(prompt)] if prompt else []
    parts += _read_images(found)
    system = found.text("system")
    return _request(
        found,
        (Message(Role.USER, tuple(parts)),) if parts else (),
        (Text(system),) if system else (),
        (),
        {
            name: value
            for name, value in found.rest(KNOWN_BY_GENERATE).items()
            if value not in ("", [], False)
        },
    )


def _request(
    found: Node,
    messages: tuple[Message, ...],
    system: tuple[Text, ...],
    tools: tuple[Tool | Opaque, ...],
    extras: dict[str, Any],
) -> Request:
    options = found.node("options") or Node({}, "options")
    others = options.rest(_KNOWN_OPTIONS)
    if others:
        extras["options"] = others
    limit = options.integer("num_predict")
    stream = found.flag("stream")
    return Request(
        origin=Dialect.OLLAMA,
        model=found.need_name("model"),
        messages=messages,
        system=system,
        tools=tools,
        response_format=_read_format(found),
        sampling=_read_sampling(found, options),
        max_tokens=limit if limit is not None and limit > 0 else None,
        thinking=_read_thinking(found),
        stream=True if stream is None else stream,
        include_usage=True,
        extras=extras,
    )


def _read_sampling(found: Node, options: Node) -> Sampling:
    return Sampling(
        temperature=options.number("temperature", 0),
        top_p=options.number("top_p", 0, 1),
        top_k=options.integer("top_k"),
        min_p=options.number("min_p", 0, 1),
        stop=options.texts("stop"),
        seed=options.integer("seed"),
        frequency_penalty=options.number("frequency_penalty"),
        presence_penalty=options.number("presence_penalty"),
        repetition_penalty=options.number("repeat_penalty", 0),
        logprobs=found.flag("logprobs"),
        top_logprobs=found.integer("top_logprobs", 0),
    )


def _read_messages(found: Node) -> tuple[tuple[Text, ...], tuple[Message, ...]]:
    calls = Unanswered()
    system: list[Text] = []
    messages: list[Message] = []
    for node in found.nodes("messages"):
        role = node.need_text("role")
        node.one_of("role", _ROLES)
        message = _read_message(node, role, calls)
        if message.role is Role.SYSTEM and not messages:
            system += [part for part in message.parts if isinstance(part, Text)]
        else:
            messages.append(message)
    return tuple(system), tuple(messages)


def _read_message(node: Node, role: str, calls: Unanswered) -> Message:
    content = node.text("content") or ""
    if role == "tool":
        call_id = calls.result(
            node.text("tool_call_id"),
            node.text("tool_name") or node.text("name"),
            node.at("role"),
        )
        return Message(Role.USER, (ToolResult(call_id, (Text(content),)),))
    parts: list[Part] = [Text(content)] if content else []
    if role == "assistant":
        thought = node.text("thinking")
        if thought:
            parts.insert(0, Reasoning(thought))
        parts += [_read_call(call, calls) for call in node.nodes("tool_calls")]
        return Message(Role.ASSISTANT, tuple(parts))
    parts += _read_images(node)
    return Message(Role(role), tuple(parts))


def _read_images(node: Node) -> list[Part]:
    found: list[Part] = []
    for at, data in enumerate(node.texts("images")):
        where = f"{node.at('images')}[{at}]"
        media_type, _, rest = data.rpartition(";base64,")
        kind = media_type.removeprefix("data:") or None
        found.append(Image(from_base64(rest, kind, where)))
    return found


def _read_call(node: Node, calls: Unanswered) -> ToolCall:
    function = node.need_node("function")
    name = function.need_name("name")
    arguments = dump(function.mapping("arguments") or {})
    return ToolCall(calls.call(node.text("id"), name), name, arguments)


def _read_tool(node: Node) -> Tool | Opaque:
    kind = node.text("type") or "function"
    if kind != "function":
        return Opaque(Dialect.OLLAMA, kind, node.raw, node.path)
    function = node.need_node("function")
    return Tool(
        name=function.need_name("name"),
        description=function.text("description"),
        schema=function.mapping("parameters"),
    )


def _read_format(found: Node) -> ResponseFormat | None:
    form = found.get("format")
    if not form:
        return None
    if isinstance(form, dict):
        return ResponseFormat(FormatKind.JSON_SCHEMA, schema=form)
    if form != "json":
        raise found.wrong("format", 'must be "json" or a JSON schema')
    return ResponseFormat(FormatKind.JSON_OBJECT)


def _read_thinking(found: Node) -> Thinking | None:
    think = found.get("think")
    if think is None or isinstance(think, bool):
        return None if think is None else Thinking(enabled=think)
    effort = found.one_of("think", set(Effort))
    return None if effort is None else Thinking(Effort(effort), enabled=True)
