"""Reading a Messages request."""

from __future__ import annotations

from typing import Any, Final

from providers.wire.dialect import Dialect
from providers.wire.translate.fields import Node, load_object
from providers.wire.translate.media import from_base64
from providers.wire.translate.problems import ImageUnreadable
from providers.wire.translate.request import (
    CacheHint,
    Effort,
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
from providers.wire.translate.signatures import unseal
from providers.wire.translate.toolcalls import CallBook, dump

KNOWN: Final = frozenset({
    "model", "messages", "system", "max_tokens", "stop_sequences", "stream",
    "temperature", "top_k", "top_p", "tools", "tool_choice", "thinking",
    "output_config", "metadata", "cache_control",
})  # fmt: skip
_MODES: Final = {
    "auto": ToolMode.AUTO,
    "any": ToolMode.REQUIRED,
    "tool": ToolMode.NAMED,
    "none": ToolMode.NONE,
}
_ROLES: Final = frozenset({"user", "assistant", "system"})


def read_request(body: bytes | dict[str, Any]) -> Request:
    """Read a request; raises Refused with the field at fault."""
    found = load_object(body)
    if not found.has("max_tokens"):
        raise found.missing("max_tokens")
    return _read(found)


def read_prompt(body: bytes | dict[str, Any]) -> Request:
    """Read what count_tokens is asked about: a request that needs no max_tokens."""
    return _read(load_object(body))


def _read(found: Node) -> Request:
    choice = found.node("tool_choice")
    config = found.node("output_config")
    metadata = found.node("metadata")
    single = choice.flag("disable_parallel_tool_use") if choice else None
    return Request(
        origin=Dialect.MESSAGES,
        model=found.need_text("model"),
        messages=_read_messages(found),
        system=_read_system(found),
        tools=tuple(_read_tool(node) for node in found.nodes("tools")),
        tool_choice=_read_tool_choice(choice),
        parallel_tools=None if single is None else not single,
        response_format=_read_format(config),
        sampling=Sampling(
            temperature=found.number("temperature", 0, 1),
            top_p=found.number("top_p", 0, 1),
            top_k=found.integer("top_k", 0),
            stop=found.texts("stop_sequences"),
        ),
        max_tokens=found.integer("max_tokens", 1),
        thinking=_read_thinking(found.node("thinking"), config),
        user=metadata.text("user_id") if metadata else None,
        cache=_read_cache(found),
        stream=found.flag("stream") or False,
        include_usage=True,
        extras=found.rest(KNOWN),
    )


def _read_system(found: Node) -> tuple[Text, ...]:
    system = found.get("system")
    if system is None or isinstance(system, str):
        return (Text(system),) if system else ()
    return tuple(
        Text(node.need_text("text"), _read_cache(node))
        for node in found.nodes("system")
    )


def _read_messages(found: Node) -> tuple[Message, ...]:
    calls = CallBook()
    messages = []
    for node in found.need_nodes("messages"):
        role = node.need_text("role")
        node.one_of("role", _ROLES)
        if not node.has("content"):
            raise node.missing("content")
        parts = tuple(_read_content(node, "content", calls))
        messages.append(Message(Role(role), parts))
    return tuple(messages)


def _read_content(node: Node, name: str, calls: CallBook) -> list[Part]:
    content = node.get(name)
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)] if content else []
    return [_read_block(block, calls) for block in node.nodes(name)]


def _read_block(node: Node, calls: CallBook) -> Part:
    kind = node.need_text("type")
    match kind:
        case "text":
            return Text(node.need_text("text"), _read_cache(node))
        case "image":
            return Image(_read_source(node), cache=_read_cache(node))
        case "document":
            return _read_document(node)
        case "tool_use":
            call = ToolCall(
                id=node.need_name("id"),
                name=node.need_name("name"),
                arguments=dump(node.mapping("input") or {}),
                cache=_read_cache(node),
            )
            return calls.note(call)
        case "tool_result":
            return _read_result(node, calls)
        case "thinking":
            return _read_thought(node)
        case "redacted_thinking":
            data, origin = unseal(node.need_text("data"), Dialect.MESSAGES)
            return Reasoning("", origin=origin, redacted=data)
    return Opaque(Dialect.MESSAGES, kind, node.raw, node.path)


def _read_thought(node: Node) -> Reasoning:
    text = node.text("thinking") or ""
    sealed = node.text("signature")
    if not sealed:
        return Reasoning(text)
    signature, origin = unseal(sealed, Dialect.MESSAGES)
    return Reasoning(text, signature, origin)


def _read_result(node: Node, calls: CallBook) -> ToolResult:
    kinds = Text | Image | File | Opaque
    parts = _read_content(node, "content", calls)
    result = ToolResult(
        call_id=node.need_name("tool_use_id"),
        parts=tuple(p for p in parts if isinstance(p, kinds)),
        is_error=node.flag("is_error") or False,
        cache=_read_cache(node),
    )
    return calls.check(result, node.at("tool_use_id"))


def _read_source(node: Node) -> Source:
    source = node.need_node("source")
    kind = source.need_text("type")
    if kind == "url":
        url = source.need_text("url")
        if not url.startswith(("http://", "https://")):
            at = source.at("url")
            raise ImageUnreadable(at, f"{at} must be an http URL")
        return Source(url=url, at=source.at("url"))
    if kind == "file":
        return Source(file_id=source.need_text("file_id"), at=source.at("file_id"))
    if kind == "base64":
        media_type = source.need_text("media_type")
        return from_base64(source.need_text("data"), media_type, source.at("data"))
    raise source.wrong("type", "must be one of base64, file, url")


def _read_document(node: Node) -> Part:
    source = node.need_node("source")
    kind = source.need_text("type")
    name = node.text("title")
    cache = _read_cache(node)
    if kind == "text":
        empty = Source("text/plain", at=source.at("data"))
        return File(empty, name, text=source.need_text("data"), cache=cache)
    if kind == "content":
        return Opaque(Dialect.MESSAGES, "document", node.raw, node.path)
    return File(_read_source(node), name, cache=cache)


def _read_cache(node: Node) -> CacheHint | None:
    found = node.node("cache_control")
    return None if found is None else CacheHint(found.text("ttl"))


def _read_tool(node: Node) -> Tool | Opaque:
    kind = node.text("type")
    if kind not in {None, "custom"}:
        return Opaque(Dialect.MESSAGES, str(kind), node.raw, node.path)
    return Tool(
        name=node.need_name("name"),
        description=node.text("description"),
        schema=node.mapping("input_schema"),
        strict=node.flag("strict"),
        cache=_read_cache(node),
    )


def _read_tool_choice(node: Node | None) -> ToolChoice | None:
    if node is None:
        return None
    kind = node.need_text("type")
    node.one_of("type", _MODES)
    name = node.need_name("name") if kind == "tool" else None
    return ToolChoice(_MODES[kind], name)


def _read_thinking(node: Node | None, config: Node | None) -> Thinking | None:
    effort = config.one_of("effort", set(Effort)) if config else None
    said = None if effort is None else Effort(effort)
    if node is None:
        return None if said is None else Thinking(effort=said, enabled=None)
    kind = node.need_text("type")
    if kind == "disabled":
        return Thinking(enabled=False)
    budget = node.integer("budget_tokens", 1)
    if kind == "enabled" and budget is None:
        raise node.missing("budget_tokens")
    display = node.text("display")
    shown = None if display is None else display != "omitted"
    return Thinking(said, budget, enabled=True, shown=shown)


def _read_format(config: Node | None) -> ResponseFormat | None:
    node = config.node("format") if config else None
    if node is None:
        return None
    node.one_of("type", {"json_schema"})
    return ResponseFormat(FormatKind.JSON_SCHEMA, schema=node.mapping("schema"))
