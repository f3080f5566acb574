"""Reading a chat request."""

from __future__ import annotations

from typing import Any, Final

from providers.wire.dialect import Dialect
from providers.wire.translate.chat.mapping import REASONING_FORMATS
from providers.wire.translate.fields import Node, load_object
from providers.wire.translate.media import AUDIO_TYPES, from_base64, from_url
from providers.wire.translate.problems import UnsupportedParameter
from providers.wire.translate.request import (
    Audio,
    CacheHint,
    Effort,
    File,
    FormatKind,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    Source,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from providers.wire.translate.thinking import from_effort
from providers.wire.translate.toolcalls import CallBook, dump

KNOWN: Final = frozenset({
    "model", "messages", "tools", "tool_choice", "parallel_tool_calls",
    "response_format", "temperature", "top_p", "top_k", "min_p", "stop", "seed",
    "frequency_penalty", "presence_penalty", "repetition_penalty", "logprobs",
    "top_logprobs", "n", "max_tokens", "max_completion_tokens", "reasoning_effort",
    "metadata", "user", "prompt_cache_key", "stream", "stream_options",
})  # fmt: skip
_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool"})
_LEGACY: Final = ("functions", "function_call")


def read_request(body: bytes | dict[str, Any]) -> Request:
    """Read a request; raises Refused with the field at fault."""
    found = load_object(body)
    for name in _LEGACY:
        if found.has(name):
            raise UnsupportedParameter(name, f"{name} is superseded by tools")
    system, messages = _read_messages(found)
    limit = found.integer("max_completion_tokens", 1)
    options = found.node("stream_options")
    return Request(
        origin=Dialect.CHAT,
        model=found.need_text("model"),
        messages=messages,
        system=system,
        tools=tuple(_read_tool(node) for node in found.nodes("tools")),
        tool_choice=_read_tool_choice(found),
        parallel_tools=found.flag("parallel_tool_calls"),
        response_format=_read_format(found.node("response_format")),
        sampling=_read_sampling(found),
        max_tokens=found.integer("max_tokens", 1) if limit is None else limit,
        thinking=from_effort(found.one_of("reasoning_effort", set(Effort))),
        metadata=found.mapping("metadata") or {},
        user=found.text("user"),
        cache_key=found.text("prompt_cache_key"),
        stream=found.flag("stream") or False,
        include_usage=bool(options and options.flag("include_usage")),
        extras=found.rest(KNOWN),
    )


def _read_sampling(found: Node) -> Sampling:
    return Sampling(
        temperature=found.number("temperature", 0, 2),
        top_p=found.number("top_p", 0, 1),
        top_k=found.integer("top_k"),
        min_p=found.number("min_p", 0, 1),
        stop=found.texts("stop"),
        seed=found.integer("seed"),
        frequency_penalty=found.number("frequency_penalty", -2, 2),
        presence_penalty=found.number("presence_penalty", -2, 2),
        repetition_penalty=found.number("repetition_penalty", 0),
        logprobs=found.flag("logprobs"),
        top_logprobs=found.integer("top_logprobs", 0),
        n=found.integer("n", 1),
    )


def _read_messages(found: Node) -> tuple[tuple[Text, ...], tuple[Message, ...]]:
    """Read the turns; system messages before the first of them stand by themselves."""
    calls = CallBook()
    system: list[Text] = []
    messages: list[Message] = []
    for node in found.need_nodes("messages"):
        message = _read_message(node, calls)
        if message.role is Role.SYSTEM and not messages:
            system += [part for part in message.parts if isinstance(part, Text)]
        else:
            messages.append(message)
    return tuple(system), tuple(messages)


def _read_message(node: Node, calls: CallBook) -> Message:
    role = node.need_text("role")
    node.one_of("role", _ROLES)
    name = node.text("name")
    if role == "assistant":
        return Message(Role.ASSISTANT, _read_answer(node, calls), name)
    if role == "tool":
        result = ToolResult(
            call_id=node.need_name("tool_call_id"),
            parts=tuple(_results(node)),
        )
        calls.check(result, node.at("tool_call_id"))
        return Message(Role.USER, (result,))
    if not node.has("content"):
        raise node.missing("content")
    if role == "user":
        return Message(Role.USER, tuple(_read_content(node)), name)
    texts = tuple(part for part in _read_content(node) if isinstance(part, Text))
    return Message(Role.SYSTEM, texts, name)


def _results(node: Node) -> list[Text | Image | File | Opaque]:
    found = _read_content(node)
    return [part for part in found if isinstance(part, Text | Image | File | Opaque)]


def _read_content(node: Node) -> list[Part]:
    content = node.get("content")
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)] if content else []
    return [_read_part(part) for part in node.nodes("content")]


def _read_part(node: Node) -> Part:
    kind = node.need_text("type")
    match kind:
        case "text":
            return Text(node.need_text("text"), _read_cache(node))
        case "refusal":
            return Refusal(node.need_text("refusal"))
        case "image_url":
            image = node.need_node("image_url")
            source = from_url(image.need_text("url"), image.at("url"))
            return Image(source, image.text("detail"), _read_cache(node))
        case "input_audio":
            audio = node.need_node("input_audio")
            media_type = AUDIO_TYPES.get(audio.need_text("format"))
            if media_type is None:
                raise audio.wrong("format", "must be one of wav, mp3, flac, opus")
            data = audio.need_text("data")
            return Audio(from_base64(data, media_type, audio.at("data")))
        case "file":
            return _read_file(node)
    return Opaque(Dialect.CHAT, kind, node.raw, node.path)


def _read_file(node: Node) -> File:
    file = node.need_node("file")
    name = file.text("filename")
    file_id = file.text("file_id")
    if file_id is not None:
        source = Source(file_id=file_id, at=file.at("file_id"))
        return File(source, name, cache=_read_cache(node))
    data = file.need_text("file_data")
    at = file.at("file_data")
    if data.startswith(("data:", "http")):
        return File(from_url(data, at), name, cache=_read_cache(node))
    return File(from_base64(data, None, at), name, cache=_read_cache(node))


def _read_cache(node: Node) -> CacheHint | None:
    found = node.node("cache_control")
    return None if found is None else CacheHint(found.text("ttl"))


def _read_answer(node: Node, calls: CallBook) -> tuple[Part, ...]:
    parts: list[Part] = [*_read_reasoning(node), *_read_content(node)]
    if refusal := node.text("refusal"):
        parts.append(Refusal(refusal))
    parts += [calls.note(_read_call(call)) for call in node.nodes("tool_calls")]
    return tuple(parts)


def _read_reasoning(node: Node) -> list[Part]:
    """Read what the caller hands back of earlier reasoning, in either spelling."""
    signed = [
        part
        for detail in node.nodes("reasoning_details")
        if (part := _read_detail(detail)) is not None
    ]
    if signed:
        return signed
    text = node.text("reasoning_content") or node.text("reasoning")
    return [Reasoning(text)] if text else []


def _read_detail(node: Node) -> Part | None:
    origin = REASONING_FORMATS.get(node.text("format") or "")
    if node.get("type") == "reasoning.encrypted":
        return Reasoning("", origin=origin, redacted=node.text("data"))
    text = node.text("text") or ""
    signature = node.text("signature")
    return Reasoning(text, signature, origin) if text or signature else None


def _read_call(node: Node) -> ToolCall:
    if node.get("type") == "custom":
        custom = node.need_node("custom")
        arguments = dump({"input": custom.need_text("input")})
        return ToolCall(node.need_name("id"), custom.need_name("name"), arguments)
    function = node.need_node("function")
    return ToolCall(
        id=node.need_name("id"),
        name=function.need_name("name"),
        arguments=function.text("arguments") or "",
        signature=read_signature(node.raw),
        cache=_read_cache(node),
    )


def read_signature(call: dict[str, Any]) -> str | None:
    """Read `extra_content.google.thought_signature` of a tool call."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    found = google.get("thought_signature") if isinstance(google, dict) else None
    return found if isinstance(found, str) else None


def _read_tool(node: Node) -> Tool | Opaque:
    kind = node.need_text("type")
    if kind == "custom":
        custom = node.need_node("custom")
        name = custom.need_name("name")
        return Tool(name, custom.text("description"), freeform=True)
    if kind != "function":
        return Opaque(Dialect.CHAT, kind, node.raw, node.path)
    function = node.need_node("function")
    return Tool(
        name=function.need_name("name"),
        description=function.text("description"),
        schema=function.mapping("parameters"),
        strict=function.flag("strict"),
        cache=_read_cache(node),
    )


def _read_tool_choice(found: Node) -> ToolChoice | None:
    choice = found.get("tool_choice")
    if choice is None:
        return None
    if isinstance(choice, str):
        found.one_of("tool_choice", {"auto", "none", "required"})
        return ToolChoice(ToolMode(choice))
    node = found.need_node("tool_choice")
    kind = node.need_text("type")
    if kind == "allowed_tools":
        allowed = node.need_node("allowed_tools")
        mode = ToolMode(allowed.one_of("mode", {"auto", "required"}) or "auto")
        names = [
            tool.need_node("function").need_name("name")
            for tool in allowed.nodes("tools")
        ]
        return ToolChoice(mode, allowed=tuple(names))
    if kind not in {"function", "custom"}:
        raise node.wrong("type", "must be one of allowed_tools, custom, function")
    return ToolChoice(ToolMode.NAMED, node.need_node(kind).need_name("name"))


def _read_format(node: Node | None) -> ResponseFormat | None:
    if node is None:
        return None
    kind = FormatKind(node.one_of("type", set(FormatKind)) or FormatKind.TEXT)
    if kind is not FormatKind.JSON_SCHEMA:
        return ResponseFormat(kind)
    found = node.need_node("json_schema")
    return ResponseFormat(
        kind,
        name=found.text("name"),
        schema=found.mapping("schema"),
        strict=found.flag("strict"),
        description=found.text("description"),
    )
