"""Writing a request of /api/chat."""

from __future__ import annotations

from typing import Any

from providers.wire.dialect import Dialect
from providers.wire.translate.mapping import Report, begin, leave_out_media, opaque
from providers.wire.translate.media import need_data
from providers.wire.translate.ollama.mapping import LEVELS, LOGPROBS, OPTIONS, RULES
from providers.wire.translate.problems import UnsupportedParameter
from providers.wire.translate.request import (
    ANY_MODEL,
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
    Role,
    Target,
    Text,
    Tool,
    ToolCall,
    ToolMode,
    ToolResult,
    Written,
)
from providers.wire.translate.thinking import effort_of
from providers.wire.translate.toolcalls import (
    is_made,
    lenient_object,
    names_of_calls,
    offered,
    schema_of,
)

JSON = dict[str, Any]


def write_request(request: Request, target: Target = ANY_MODEL) -> Written:
    """Write a request; raises UnsupportedParameter and ImageUrlUnsupported.

    `stream` is always said, for it is on by default.
    """
    report = begin(request, Dialect.OLLAMA, RULES, target)
    body: JSON = {"model": target.model or request.model}
    body["messages"] = _Messages(request, report).write()
    tools = _tools(request, report)
    if tools:
        body["tools"] = tools
    body["stream"] = request.stream
    if request.origin is Dialect.OLLAMA:
        extras = {n: v for n, v in request.extras.items() if report.keeps(n)}
        body.update(extras)
    options = _options(request, target, report, body.pop("options", {}))
    if options:
        body["options"] = options
    report.put(body, request.sampling, LOGPROBS)
    _write_format(request, report, body)
    _write_thinking(request, target, report, body)
    return report.written(body)


def _options(request: Request, target: Target, report: Report, others: JSON) -> JSON:
    options: JSON = {}
    report.put(options, request.sampling, OPTIONS)
    if request.max_tokens is not None and report.keeps("max_tokens"):
        options["num_predict"] = request.max_tokens
    if target.context_window is not None:
        options["num_ctx"] = target.context_window
    return {**options, **others}


def _tools(request: Request, report: Report) -> list[JSON]:
    choice = request.tool_choice
    if not report.keeps("tools") or (choice and choice.mode is ToolMode.NONE):
        return []
    found = []
    for tool in offered(request):
        if isinstance(tool, Tool):
            found.append({"type": "function", "function": _function(tool)})
        elif tool.origin is Dialect.OLLAMA:
            found.append(dict(tool.raw))
    return found


def _function(tool: Tool) -> JSON:
    function: JSON = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.schema is not None or tool.freeform:
        function["parameters"] = schema_of(tool)
    return function


def _write_format(request: Request, report: Report, body: JSON) -> None:
    form = request.response_format
    if form is None or not report.keeps(form.kind.value):
        return
    if form.kind is FormatKind.JSON_SCHEMA and form.schema is not None:
        body["format"] = dict(form.schema)
    elif form.kind is not FormatKind.TEXT:
        body["format"] = "json"


def _write_thinking(
    request: Request, target: Target, report: Report, body: JSON
) -> None:
    thinking = request.thinking
    if thinking is None or not report.keeps("thinking"):
        return
    effort = effort_of(thinking)
    if effort is Effort.NONE:
        body["think"] = False
    elif effort is None:
        if thinking.enabled:
            body["think"] = True
    elif target.thinks_by_effort or request.origin is Dialect.OLLAMA:
        body["think"] = LEVELS[effort]
    else:
        body["think"] = True


class _Messages:
    """Writes the turns; each tool result is a message of its own."""

    def __init__(self, request: Request, report: Report) -> None:
        self._request = request
        self._report = report
        self._names = names_of_calls(request.messages)
        self._messages: list[JSON] = []

    def write(self) -> list[JSON]:
        system = "\n\n".join(text.text for text in self._request.system)
        if system:
            self._messages.append({"role": "system", "content": system})
        for message in self._request.messages:
            if message.role is Role.ASSISTANT:
                self._messages.append(self._answer(message))
            else:
                self._said(message)
        return self._messages

    def _answer(self, message: Message) -> JSON:
        texts, thoughts = [], []
        calls = []
        for part in message.parts:
            match part:
                case Text(text=text) | Refusal(text=text):
                    texts.append(text)
                case Reasoning(text=text):
                    thoughts.append(text)
                case ToolCall():
                    calls.append(_call(part))
                case Opaque():
                    opaque(part, self._report)
        leave_out_media(message.parts, self._report)
        found: JSON = {"role": "assistant", "content": "".join(texts)}
        if thought := "".join(thoughts):
            found["thinking"] = thought
        if calls:
            found["tool_calls"] = calls
        return found

    def _said(self, message: Message) -> None:
        """Write a user's or a late system's turn, results before the rest."""
        texts: list[str] = []
        images: list[str] = []
        for part in message.parts:
            if isinstance(part, ToolResult):
                self._result(part, images)
            else:
                self._part(part, texts, images)
        if not texts and not images and message.parts:
            return
        found: JSON = {"role": message.role.value, "content": "\n".join(texts)}
        if images:
            found["images"] = images
        self._messages.append(found)

    def _result(self, result: ToolResult, images: list[str]) -> None:
        """Write a result; its images follow as the user's."""
        texts: list[str] = []
        for part in result.parts:
            self._part(part, texts, images)
        found: JSON = {"role": "tool", "content": "\n".join(texts)}
        if name := self._names.get(result.call_id):
            found["tool_name"] = name
        if not is_made(result.call_id):
            found["tool_call_id"] = result.call_id
        self._messages.append(found)

    def _part(self, part: Part, texts: list[str], images: list[str]) -> None:
        match part:
            case Text(text=text):
                texts.append(text)
            case Image(source=source):
                images.append(need_data(source))
            case File(text=str(text)):
                texts.append(text)
            case Opaque():
                opaque(part, self._report)
            case File(source=source):
                raise UnsupportedParameter(
                    source.at, "this provider takes no files but plain text"
                )
            case _:
                raise UnsupportedParameter(None, f"{type(part).__name__} is not taken")


def _call(call: ToolCall) -> JSON:
    function = {"name": call.name, "arguments": lenient_object(call.arguments)}
    if is_made(call.id):
        return {"function": function}
    return {"id": call.id, "function": function}
