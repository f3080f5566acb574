"""Reading a Responses request.

Items that belong to one answer (reasoning, text, calls) become one turn. What
`previous_response_id` stands for is put before the turns by whoever keeps responses.
"""

from __future__ import annotations

from typing import Any, Final

from providers.wire.dialect import Dialect
from providers.wire.translate.fields import Node, load_object
from providers.wire.translate.media import from_base64, from_url
from providers.wire.translate.problems import UnsupportedParameter
from providers.wire.translate.request import (
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
from providers.wire.translate.responses.mapping import LOGPROBS
from providers.wire.translate.signatures import unseal
from providers.wire.translate.thinking import from_effort
from providers.wire.translate.toolcalls import CallBook, dump

KNOWN: Final = frozenset({
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls",
    "text", "temperature", "top_p", "top_logprobs", "max_output_tokens", "reasoning",
    "metadata", "user", "prompt_cache_key", "stream", "stream_options", "store",
    "previous_response_id", "include", "background",
})  # fmt: skip
_ROLES: Final = frozenset({"user", "assistant", "system", "developer"})


def read_request(body: bytes | dict[str, Any]) -> Request:
    """Read a request; raises Refused with the field at fault."""
    found = load_object(body)
    if found.flag("background"):
        raise UnsupportedParameter("background", "responses run in the foreground")
    instructions = found.text("instructions")
    system, messages = _Input(found).read()
    if instructions:
        system.insert(0, Text(instructions))
    reasoning = found.node("reasoning") or Node({}, "reasoning")
    summary = reasoning.text("summary") or reasoning.text("generate_summary")
    text = found.node("text") or Node({}, "text")
    extras = found.rest(KNOWN)
    if others := text.rest({"format"}):
        extras["text"] = others
    return Request(
        origin=Dialect.RESPONSES,
        model=found.need_text("model"),
        messages=tuple(messages),
        system=tuple(system),
        tools=tuple(_read_tool(node) for node in found.nodes("tools")),
        tool_choice=_read_tool_choice(found),
        parallel_tools=found.flag("parallel_tool_calls"),
        response_format=_read_format(text.node("format")),
        sampling=_read_sampling(found),
        max_tokens=found.integer("max_output_tokens", 1),
        thinking=from_effort(
            reasoning.one_of("effort", set(Effort)),
            shown=True if summary else None,
        ),
        metadata=found.mapping("metadata") or {},
        user=found.text("user"),
        cache_key=found.text("prompt_cache_key"),
        stream=found.flag("stream") or False,
        include_usage=True,
        store=found.flag("store"),
        previous_response=found.text("previous_response_id"),
        extras=extras,
    )


def _read_sampling(found: Node) -> Sampling:
    return Sampling(
        temperature=found.number("temperature", 0, 2),
        top_p=found.number("top_p", 0, 1),
        logprobs=True if LOGPROBS in found.texts("include") else None,
        top_logprobs=found.integer("top_logprobs", 0),
    )


class _Input:
    """Reads `input`, item by item."""

    def __init__(self, found: Node) -> None:
        self._found = found
        self._calls = CallBook(complete=not found.has("previous_response_id"))
        self._system: list[Text] = []
        self._messages: list[Message] = []

    def read(self) -> tuple[list[Text], list[Message]]:
        found = self._found
        content = found.get("input")
        if isinstance(content, str):
            return [], [Message(Role.USER, (Text(content),))]
        if content is None:
            raise found.missing("input")
        for node in found.nodes("input"):
            self._item(node)
        return self._system, self._messages

    def _item(self, node: Node) -> None:
        kind = node.text("type") or "message"
        match kind:
            case "message":
                self._message(node)
            case "function_call" | "custom_tool_call":
                call = _read_call(node, kind)
                self._add(Role.ASSISTANT, (self._calls.note(call),))
            case "function_call_output" | "custom_tool_call_output":
                result = ToolResult(node.need_name("call_id"), _read_output(node))
                self._calls.check(result, node.at("call_id"))
                self._add(Role.USER, (result,))
            case "reasoning":
                self._add(Role.ASSISTANT, (_read_reasoning(node),))
            case _:
                part = Opaque(Dialect.RESPONSES, kind, node.raw, node.path)
                self._add(_role_of(kind), (part,))

    def _message(self, node: Node) -> None:
        role = node.need_text("role")
        node.one_of("role", _ROLES)
        if not node.has("content"):
            raise node.missing("content")
        parts = tuple(_read_content(node, "content"))
        if role == "user":
            self._messages.append(Message(Role.USER, parts))
        elif role == "assistant":
            self._add(Role.ASSISTANT, parts)
        elif self._messages:
            self._messages.append(Message(Role.SYSTEM, parts))
        else:
            self._system += [part for part in parts if isinstance(part, Text)]

    def _add(self, role: Role, parts: tuple[Part, ...]) -> None:
        """Add to the turn that is open: an answer, or the results after it."""
        last = self._messages[-1] if self._messages else None
        joins = last is not None and last.role is role
        if last is not None and joins and role is Role.USER:
            joins = all(isinstance(part, ToolResult) for part in last.parts)
        if last is not None and joins:
            self._messages[-1] = Message(role, last.parts + parts)
        else:
            self._messages.append(Message(role, parts))


def _role_of(kind: str) -> Role:
    return Role.USER if kind.endswith("_output") else Role.ASSISTANT


def _read_content(node: Node, name: str) -> list[Part]:
    content = node.get(name)
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)] if content else []
    return [_read_part(part) for part in node.nodes(name)]


def _read_part(node: Node) -> Part:
    kind = node.need_text("type")
    match kind:
        case "input_text" | "output_text" | "text":
            return Text(node.need_text("text"))
        case "refusal":
            return Refusal(node.need_text("refusal"))
        case "input_image":
            return _read_image(node)
        case "input_file":
            return _read_file(node)
    return Opaque(Dialect.RESPONSES, kind, node.raw, node.path)


def _read_image(node: Node) -> Image:
    detail = node.text("detail")
    if node.has("file_id"):
        file_id = node.need_text("file_id")
        return Image(Source(file_id=file_id, at=node.at("file_id")), detail)
    return Image(from_url(node.need_text("image_url"), node.at("image_url")), detail)


def _read_file(node: Node) -> File:
    name = node.text("filename")
    if node.has("file_id"):
        file_id = node.need_text("file_id")
        return File(Source(file_id=file_id, at=node.at("file_id")), name)
    if node.has("file_url"):
        return File(from_url(node.need_text("file_url"), node.at("file_url")), name)
    data, at = node.need_text("file_data"), node.at("file_data")
    if data.startswith("data:"):
        return File(from_url(data, at), name)
    return File(from_base64(data, None, at), name)


def _read_call(node: Node, kind: str) -> ToolCall:
    if kind == "custom_tool_call":
        arguments = dump({"input": node.need_text("input")})
    else:
        arguments = node.need_text("arguments")
    return ToolCall(node.need_name("call_id"), node.need_name("name"), arguments)


def _read_output(node: Node) -> tuple[Text | Image | File | Opaque, ...]:
    if not node.has("output"):
        raise node.missing("output")
    found = _read_content(node, "output")
    kinds = Text | Image | File | Opaque
    return tuple(part for part in found if isinstance(part, kinds))


def _read_reasoning(node: Node) -> Reasoning:
    texts = [part.text("text") or "" for part in node.nodes("summary")]
    if not texts:
        texts = [part.text("text") or "" for part in node.nodes("content")]
    sealed = node.text("encrypted_content")
    if not sealed:
        return Reasoning("\n\n".join(texts))
    signature, origin = unseal(sealed, Dialect.RESPONSES)
    return Reasoning("\n\n".join(texts), signature, origin)


def _read_tool(node: Node) -> Tool | Opaque:
    kind = node.need_text("type")
    if kind == "custom":
        return Tool(node.need_name("name"), node.text("description"), freeform=True)
    if kind != "function":
        return Opaque(Dialect.RESPONSES, kind, node.raw, node.path)
    return Tool(
        name=node.need_name("name"),
        description=node.text("description"),
        schema=node.mapping("parameters"),
        strict=node.flag("strict"),
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
        mode = ToolMode(node.one_of("mode", {"auto", "required"}) or "auto")
        names = [t.need_name("name") for t in node.nodes("tools") if t.has("name")]
        return ToolChoice(mode, allowed=tuple(names))
    if kind not in {"function", "custom"}:
        raise UnsupportedParameter("tool_choice", f"{kind} cannot be asked for here")
    return ToolChoice(ToolMode.NAMED, node.need_name("name"))


def _read_format(node: Node | None) -> ResponseFormat | None:
    if node is None:
        return None
    kind = FormatKind(node.one_of("type", set(FormatKind)) or FormatKind.TEXT)
    if kind is not FormatKind.JSON_SCHEMA:
        return ResponseFormat(kind)
    return ResponseFormat(
        kind,
        name=node.text("name"),
        schema=node.mapping("schema"),
        strict=node.flag("strict"),
        description=node.text("description"),
    )
