"""Reading a generateContent request.

Its address holds the model and whether to stream: whoever knows them puts them in.
"""

from __future__ import annotations

from typing import Any, Final

from providers.wire.dialect import Dialect
from providers.wire.translate.fields import Node, load_object
from providers.wire.translate.gemini.mapping import LEVELS_IN, MODES
from providers.wire.translate.media import from_base64
from providers.wire.translate.request import (
    Audio,
    File,
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
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from providers.wire.translate.toolcalls import Unanswered, dump

KNOWN: Final = frozenset({
    "model", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig",
})  # fmt: skip
_MODE_NAMES: Final = {"AUTO", "NONE", "ANY", "MODE_UNSPECIFIED", "VALIDATED"}


def read_request(body: bytes | dict[str, Any]) -> Request:
    """Read a request; raises Refused with the field at fault."""
    found = load_object(body)
    settings = found.node("generationConfig") or Node({}, "generationConfig")
    system = found.node("systemInstruction")
    return Request(
        origin=Dialect.GEMINI,
        model=(found.text("model") or "").removeprefix("models/"),
        messages=_read_contents(found),
        system=tuple(Text(part.need_text("text")) for part in system.nodes("parts"))
        if system
        else (),
        tools=_read_tools(found),
        tool_choice=_read_tool_choice(found),
        response_format=_read_format(settings),
        sampling=_read_sampling(settings),
        max_tokens=settings.integer("maxOutputTokens", 1),
        thinking=_read_thinking(settings.node("thinkingConfig")),
        include_usage=True,
        extras=found.rest(KNOWN),
    )


def _read_sampling(settings: Node) -> Sampling:
    return Sampling(
        temperature=settings.number("temperature", 0, 2),
        top_p=settings.number("topP", 0, 1),
        top_k=settings.integer("topK", 0),
        stop=settings.texts("stopSequences"),
        seed=settings.integer("seed"),
        frequency_penalty=settings.number("frequencyPenalty"),
        presence_penalty=settings.number("presencePenalty"),
        logprobs=settings.flag("responseLogprobs"),
        top_logprobs=settings.integer("logprobs", 0),
        n=settings.integer("candidateCount", 1),
    )


def _read_contents(found: Node) -> tuple[Message, ...]:
    calls = Unanswered()
    messages = []
    for node in found.need_nodes("contents"):
        node.one_of("role", {"user", "model", "function"})
        parts = tuple(_read_part(part, calls) for part in node.nodes("parts"))
        role = Role.ASSISTANT if node.get("role") == "model" else Role.USER
        messages.append(Message(role, parts))
    return tuple(messages)


def _read_part(node: Node, calls: Unanswered) -> Part:
    if node.has("functionCall"):
        call = node.need_node("functionCall")
        name = call.need_name("name")
        return ToolCall(
            id=calls.call(call.text("id"), name),
            name=name,
            arguments=dump(call.mapping("args") or {}),
            signature=node.text("thoughtSignature"),
        )
    if node.has("functionResponse"):
        return _read_result(node.need_node("functionResponse"), calls)
    if node.has("inlineData"):
        data = node.need_node("inlineData")
        media_type = data.need_text("mimeType")
        at = data.at("data")
        return _media(from_base64(data.need_text("data"), media_type, at))
    if node.has("fileData"):
        file = node.need_node("fileData")
        url = file.need_text("fileUri")
        kind = file.text("mimeType")
        return _media(Source(kind, url=url, at=file.at("fileUri")))
    if node.has("text"):
        text = node.need_text("text")
        if not node.flag("thought"):
            return Text(text)
        return Reasoning(text, node.text("thoughtSignature"), Dialect.GEMINI)
    return Opaque(Dialect.GEMINI, next(iter(node.raw), ""), node.raw, node.path)


def _media(source: Source) -> Part:
    kind = (source.media_type or "").partition("/")[0]
    if kind == "image":
        return Image(source)
    return Audio(source) if kind == "audio" else File(source)


def _read_result(node: Node, calls: Unanswered) -> ToolResult:
    call_id = calls.result(node.text("id"), node.need_name("name"), node.at("name"))
    response = node.mapping("response") or {}
    failed = set(response) == {"error"}
    for name in ("output", "result", "error"):
        if set(response) == {name} and isinstance(response[name], str):
            return ToolResult(call_id, (Text(response[name]),), is_error=failed)
    return ToolResult(call_id, (Text(dump(response)),), is_error=failed)


def _read_tools(found: Node) -> tuple[Tool | Opaque, ...]:
    tools: list[Tool | Opaque] = []
    for node in found.nodes("tools"):
        tools += [
            Tool(
                name=tool.need_name("name"),
                description=tool.text("description"),
                schema=tool.mapping("parametersJsonSchema")
                or _plain_schema(tool.mapping("parameters")),
            )
            for tool in node.nodes("functionDeclarations")
        ]
        others = node.rest({"functionDeclarations"})
        if others:
            tools.append(Opaque(Dialect.GEMINI, next(iter(others)), others, node.path))
    return tuple(tools)


def _plain_schema(found: Any) -> Any:
    """Spell the types of Google's own schema as JSON Schema does: in lower case."""
    if isinstance(found, list):
        return [_plain_schema(item) for item in found]
    if not isinstance(found, dict):
        return found
    return {
        name: value.lower()
        if name == "type" and isinstance(value, str)
        else _plain_schema(value)
        for name, value in found.items()
    }


def _read_tool_choice(found: Node) -> ToolChoice | None:
    config = found.node("toolConfig")
    calling = config.node("functionCallingConfig") if config else None
    if calling is None:
        return None
    mode = calling.one_of("mode", _MODE_NAMES) or "AUTO"
    names = calling.texts("allowedFunctionNames")
    if mode == "ANY" and len(names) == 1:
        return ToolChoice(ToolMode.NAMED, names[0])
    modes = {name: kind for kind, name in MODES.items() if kind is not ToolMode.NAMED}
    return ToolChoice(modes.get(mode, ToolMode.AUTO), allowed=names)


def _read_format(settings: Node) -> ResponseFormat | None:
    schema = settings.mapping("responseJsonSchema")
    if schema is None:
        schema = _plain_schema(settings.mapping("responseSchema"))
    if schema is not None:
        return ResponseFormat(FormatKind.JSON_SCHEMA, schema=schema)
    if settings.text("responseMimeType") == "application/json":
        return ResponseFormat(FormatKind.JSON_OBJECT)
    return None


def _read_thinking(node: Node | None) -> Thinking | None:
    if node is None:
        return None
    level = node.one_of("thinkingLevel", set(LEVELS_IN))
    budget = node.integer("thinkingBudget", -1)
    return Thinking(
        effort=LEVELS_IN[level] if level else None,
        budget_tokens=budget if budget and budget > 0 else None,
        enabled=None if budget is None else budget != 0,
        shown=node.flag("includeThoughts"),
    )
