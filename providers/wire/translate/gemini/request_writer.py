"""Writing a generateContent request.

Schemas go as JSON Schema (`parametersJsonSchema`, `responseJsonSchema`): Google's own
subset refuses much of what tools are described with.
"""

from __future__ import annotations

from typing import Any

from providers.wire.dialect import Dialect
from providers.wire.translate.gemini.mapping import (
    LEVELS,
    MODES,
    MOST_BUDGET,
    RULES,
    SAMPLING,
)
from providers.wire.translate.mapping import Report, begin, opaque
from providers.wire.translate.media import image_type, need_data
from providers.wire.translate.problems import UnsupportedParameter
from providers.wire.translate.request import (
    ANY_MODEL,
    Audio,
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
    Source,
    Target,
    Text,
    Tool,
    ToolCall,
    ToolMode,
    ToolResult,
    Written,
)
from providers.wire.translate.thinking import budget_of, effort_of
from providers.wire.translate.toolcalls import (
    is_made,
    lenient_object,
    names_of_calls,
    offered,
    schema_of,
)

JSON = dict[str, Any]


def write_request(request: Request, target: Target = ANY_MODEL) -> Written:
    """Write a request; raises UnsupportedParameter and ImageUrlUnsupported."""
    report = begin(request, Dialect.GEMINI, RULES, target)
    body: JSON = {"contents": _Contents(request, target, report).write()}
    system = [{"text": text.text} for text in request.system if text.text]
    if system:
        body["systemInstruction"] = {"parts": system}
    _write_tools(request, report, body)
    settings: JSON = {}
    report.put(settings, request.sampling, SAMPLING)
    if request.max_tokens is not None and report.keeps("max_tokens"):
        settings["maxOutputTokens"] = request.max_tokens
    _write_format(request, report, settings)
    if request.thinking is not None and report.keeps("thinking"):
        _write_thinking(request, target, settings)
    if settings:
        body["generationConfig"] = settings
    if request.origin is Dialect.GEMINI:
        extras = {n: v for n, v in request.extras.items() if report.keeps(n)}
        body.update(extras)
    return report.written(body)


class _Contents:
    """Writes the turns; those of one role in a row become one."""

    def __init__(self, request: Request, target: Target, report: Report) -> None:
        self._request = request
        self._target = target
        self._report = report
        self._names = names_of_calls(request.messages)
        self._pending: str | None = None

    def write(self) -> list[JSON]:
        contents: list[JSON] = []
        for message in self._request.messages:
            role = "model" if message.role is Role.ASSISTANT else "user"
            parts = self._parts(message)
            if not parts:
                continue
            if contents and contents[-1]["role"] == role:
                contents[-1]["parts"] += parts
            else:
                contents.append({"role": role, "parts": parts})
        return contents

    def _parts(self, message: Message) -> list[JSON]:
        self._pending = None
        first_call = True
        found: list[JSON] = []
        for part in message.parts:
            if isinstance(part, ToolCall):
                found.append(self._call(part, first=first_call))
                first_call = False
            else:
                found += self._part(part)
        return found

    def _part(self, part: Part) -> list[JSON]:
        match part:
            case Text(text=text) | Refusal(text=text):
                return [{"text": text}] if text else []
            case Reasoning():
                if part.origin is Dialect.GEMINI and part.signature is not None:
                    self._pending = part.signature
                return []
            case Image(source=source):
                return [self._media(source, image_type(source))]
            case Audio(source=source):
                return [self._media(source, source.media_type or "audio/wav")]
            case File(source=source):
                if part.text is not None:
                    return [{"text": part.text}]
                return [self._media(source, source.media_type or "application/pdf")]
            case ToolResult():
                return self._result(part)
            case Opaque():
                return [opaque(part, self._report)]
        raise UnsupportedParameter(None, f"{type(part).__name__} cannot be sent")

    def _media(self, source: Source, media_type: str) -> JSON:
        url = source.url
        fetched = self._target.image_urls or self._request.origin is Dialect.GEMINI
        if source.data is None and url is not None and fetched:
            file: JSON = {"fileUri": url}
            if source.media_type is not None:
                file["mimeType"] = source.media_type
            return {"fileData": file}
        data = need_data(source)
        return {"inlineData": {"mimeType": media_type, "data": data}}

    def _call(self, call: ToolCall, *, first: bool) -> JSON:
        function: JSON = {"name": call.name, "args": lenient_object(call.arguments)}
        if not is_made(call.id):
            function["id"] = call.id
        signature = call.signature or self._pending
        self._pending = None
        if signature is None and self._target.signature_of is not None:
            signature = self._target.signature_of(call.id)
        if signature is None and first:
            signature = self._target.signature_else
        if signature is None:
            return {"functionCall": function}
        return {"functionCall": function, "thoughtSignature": signature}

    def _result(self, result: ToolResult) -> list[JSON]:
        """Write a result's text; its images follow as parts of the same turn."""
        texts = [part.text for part in result.parts if isinstance(part, Text)]
        key = "error" if result.is_error else "output"
        response: JSON = {
            "name": self._names.get(result.call_id, "tool"),
            "response": {key: "\n".join(texts)},
        }
        if not is_made(result.call_id):
            response["id"] = result.call_id
        found: list[JSON] = [{"functionResponse": response}]
        for part in result.parts:
            if not isinstance(part, Text):
                found += self._part(part)
        return found


def _write_tools(request: Request, report: Report, body: JSON) -> None:
    if not report.keeps("tools"):
        return
    tools: list[JSON] = []
    declared = []
    for tool in offered(request):
        if isinstance(tool, Tool):
            declared.append(_declaration(tool))
        elif tool.origin is Dialect.GEMINI:
            tools.append(dict(tool.raw))
    if declared:
        tools.insert(0, {"functionDeclarations": declared})
    if not tools:
        return
    body["tools"] = tools
    choice = request.tool_choice
    if choice is None or not declared or not report.keeps("tool_choice"):
        return
    calling: JSON = {"mode": MODES[choice.mode]}
    if choice.mode is ToolMode.NAMED:
        calling["allowedFunctionNames"] = [choice.name]
    body["toolConfig"] = {"functionCallingConfig": calling}


def _declaration(tool: Tool) -> JSON:
    found: JSON = {"name": tool.name}
    if tool.description is not None:
        found["description"] = tool.description
    if tool.schema is not None or tool.freeform:
        found["parametersJsonSchema"] = schema_of(tool)
    return found


def _write_format(request: Request, report: Report, settings: JSON) -> None:
    form = request.response_format
    if form is None or form.kind is FormatKind.TEXT:
        return
    if not report.keeps(form.kind.value):
        return
    settings["responseMimeType"] = "application/json"
    if form.schema is not None:
        settings["responseJsonSchema"] = dict(form.schema)


def _write_thinking(request: Request, target: Target, settings: JSON) -> None:
    thinking = request.thinking
    assert thinking is not None
    found: JSON = {}
    effort = effort_of(thinking)
    budget = budget_of(thinking)
    if target.thinks_by_effort and effort is not None:
        found["thinkingLevel"] = LEVELS[effort]
    elif budget is not None:
        chosen = thinking.budget_tokens
        found["thinkingBudget"] = min(budget, MOST_BUDGET) if chosen is None else budget
    elif thinking.enabled and not target.thinks_by_effort:
        found["thinkingBudget"] = -1
    if thinking.shown is not None:
        found["includeThoughts"] = thinking.shown
    elif budget != 0:
        found["includeThoughts"] = True
    if found:
        settings["thinkingConfig"] = found
