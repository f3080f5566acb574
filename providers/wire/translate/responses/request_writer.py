"""Writing a Responses request."""

from __future__ import annotations

from typing import Any

from providers.wire.dialect import Dialect
from providers.wire.translate.mapping import Report, begin, leave_out_media, opaque
from providers.wire.translate.media import to_url
from providers.wire.translate.problems import (
    ImageUrlUnsupported,
    UnsupportedParameter,
)
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
    ResponseFormat,
    Role,
    Source,
    Target,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
    Written,
)
from providers.wire.translate.responses.mapping import (
    ENCRYPTED,
    LEAST_MAX_TOKENS,
    LOGPROBS,
    RULES,
    SAMPLING,
)
from providers.wire.translate.thinking import effort_of
from providers.wire.translate.toolcalls import lenient_object, offered, schema_of

JSON = dict[str, Any]


def write_request(request: Request, target: Target = ANY_MODEL) -> Written:
    """Write a request; raises UnsupportedParameter and ImageUrlUnsupported.

    Nothing is to be stored upstream unless the caller said so.
    """
    report = begin(request, Dialect.RESPONSES, RULES, target)
    body: JSON = {"model": target.model or request.model}
    system = "\n\n".join(text.text for text in request.system)
    if system:
        body["instructions"] = system
    body["input"] = _Items(request, target, report).write()
    _write_tools(request, report, body)
    report.put(body, request.sampling, SAMPLING)
    _write_limit(request, report, body)
    _write_text(request, report, body)
    _write_reasoning(request, report, body)
    if request.metadata and report.keeps("metadata"):
        body["metadata"] = dict(request.metadata)
    if request.user is not None and report.keeps("user"):
        body["user"] = request.user
    if request.cache_key is not None and report.keeps("cache_key"):
        body["prompt_cache_key"] = request.cache_key
    if request.stream:
        body["stream"] = True
    body["store"] = request.store or False
    if request.previous_response is not None:
        body["previous_response_id"] = request.previous_response
    return report.written(body)


def _write_limit(request: Request, report: Report, body: JSON) -> None:
    limit = request.max_tokens
    if limit is None or not report.keeps("max_tokens"):
        return
    if limit < LEAST_MAX_TOKENS:
        limit = LEAST_MAX_TOKENS
        report.change("max_tokens", limit)
    body["max_output_tokens"] = limit


def _write_text(request: Request, report: Report, body: JSON) -> None:
    text: JSON = {}
    if request.origin is Dialect.RESPONSES:
        extras = {n: v for n, v in request.extras.items() if report.keeps(n)}
        text.update(extras.pop("text", {}))
        body.update(extras)
    form = request.response_format
    if form is not None and report.keeps(form.kind.value):
        text["format"] = format_object(form)
    if text:
        body["text"] = text


def _write_reasoning(request: Request, report: Report, body: JSON) -> None:
    thinking = request.thinking
    include = [LOGPROBS] if request.sampling.logprobs else []
    if thinking is not None and report.keeps("thinking"):
        reasoning = reasoning_object(request)
        if reasoning:
            body["reasoning"] = reasoning
        if not request.store:
            include.append(ENCRYPTED)
    if include:
        body["include"] = include


def reasoning_object(request: Request) -> JSON:
    """Write the effort, and whether a summary is wanted."""
    effort = effort_of(request.thinking)
    found: JSON = {} if effort is None else {"effort": effort.value}
    if request.thinking is not None and request.thinking.shown:
        found["summary"] = "auto"
    return found


def format_object(form: ResponseFormat) -> JSON:
    if form.kind is not FormatKind.JSON_SCHEMA:
        return {"type": form.kind.value}
    found: JSON = {"type": "json_schema", "name": form.name or "answer"}
    for name, value in (
        ("description", form.description),
        ("schema", None if form.schema is None else dict(form.schema)),
        ("strict", form.strict),
    ):
        if value is not None:
            found[name] = value
    return found


class _Items:
    """Writes the turns as items: a message's parts together, the rest one by one."""

    def __init__(self, request: Request, target: Target, report: Report) -> None:
        self._request = request
        self._target = target
        self._report = report
        self._freeform = freeform_names(request)
        self._custom: set[str] = set()
        self._items: list[JSON] = []

    def write(self) -> list[JSON]:
        for message in self._request.messages:
            self._message(message)
        return self._items

    def _message(self, message: Message) -> None:
        role = "developer" if message.role is Role.SYSTEM else message.role.value
        content: list[JSON] = []
        if message.role is Role.ASSISTANT:
            leave_out_media(message.parts, self._report)
        for part in message.parts:
            found = self._item(part)
            if message.role is Role.ASSISTANT and isinstance(
                part, Image | Audio | File
            ):
                continue
            if found is None:
                content.append(self._part(part, message.role))
                continue
            self._flush(role, content)
            content = []
            if found:
                self._items.append(found)
        self._flush(role, content)

    def _flush(self, role: str, content: list[JSON]) -> None:
        if content:
            self._items.append({"type": "message", "role": role, "content": content})

    def _item(self, part: Part) -> JSON | None:
        """Write an item of its own, an empty one for nothing; None: not its own."""
        match part:
            case ToolCall():
                return self._call(part)
            case ToolResult():
                return self._result(part)
            case Reasoning():
                return _reasoning(part)
            case Opaque():
                return opaque(part, self._report) if "role" not in part.raw else None
        return None

    def _call(self, call: ToolCall) -> JSON:
        if call.name in self._freeform:
            self._custom.add(call.id)
            return {
                "type": "custom_tool_call",
                "call_id": call.id,
                "name": call.name,
                "input": free_text(call.arguments),
            }
        return {
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments or "{}",
        }

    def _result(self, result: ToolResult) -> JSON:
        custom = result.call_id in self._custom
        kind = "custom_tool_call_output" if custom else "function_call_output"
        found: JSON = {"type": kind, "call_id": result.call_id}
        texts = [part.text for part in result.parts if isinstance(part, Text)]
        if len(texts) == len(result.parts):
            found["output"] = "\n".join(texts)
        else:
            found["output"] = [self._part(p, Role.USER) for p in result.parts]
        return found

    def _part(self, part: Part, role: Role) -> JSON:
        match part:
            case Text(text=text):
                kind = "output_text" if role is Role.ASSISTANT else "input_text"
                return {"type": kind, "text": text}
            case Refusal(text=text):
                return {"type": "refusal", "refusal": text}
            case Image():
                return self._image(part)
            case File():
                return self._file(part)
            case Opaque():
                return opaque(part, self._report)
        raise UnsupportedParameter(None, f"{type(part).__name__} cannot be sent")

    def _image(self, part: Image) -> JSON:
        found: JSON = {"type": "input_image"}
        if part.source.file_id is not None:
            found["file_id"] = self._own_file(part.source)
        else:
            self._check_url(part.source)
            found["image_url"] = to_url(part.source)
        if part.detail is not None:
            found["detail"] = part.detail
        return found

    def _file(self, part: File) -> JSON:
        if part.text is not None:
            return {"type": "input_text", "text": part.text}
        found: JSON = {"type": "input_file"}
        if part.source.file_id is not None:
            found["file_id"] = self._own_file(part.source)
        elif part.source.data is not None:
            found["file_data"] = to_url(part.source, "application/pdf")
        else:
            self._check_url(part.source)
            found["file_url"] = part.source.url
        if part.name is not None:
            found["filename"] = part.name
        return found

    def _check_url(self, source: Source) -> None:
        if source.url is not None and self._target.image_urls is False:
            raise ImageUrlUnsupported(
                source.at, "this provider fetches no URLs: send base64 instead"
            )

    def _own_file(self, source: Source) -> str | None:
        if self._request.origin in {Dialect.RESPONSES, Dialect.CHAT}:
            return source.file_id
        raise UnsupportedParameter(
            source.at, "a file kept at another vendor cannot be sent here"
        )


def _reasoning(part: Reasoning) -> JSON:
    """Write reasoning of OpenAI's own making; it takes no other."""
    if part.origin is not Dialect.RESPONSES or part.signature is None:
        return {}
    summary = [{"type": "summary_text", "text": part.text}] if part.text else []
    return {
        "type": "reasoning",
        "summary": summary,
        "encrypted_content": part.signature,
    }


def freeform_names(request: Request | None) -> frozenset[str]:
    """List the tools that take free text."""
    tools = request.tools if request is not None else ()
    return frozenset(t.name for t in tools if isinstance(t, Tool) and t.freeform)


def free_text(arguments: str) -> str:
    """Take the text out of the object that stands for it."""
    found = lenient_object(arguments).get("input", arguments)
    return found if isinstance(found, str) else arguments


def tool_objects(request: Request) -> list[JSON]:
    """Write the tools on offer."""
    found = []
    for tool in offered(request):
        if isinstance(tool, Tool):
            found.append(_tool(tool))
        elif tool.origin is Dialect.RESPONSES:
            found.append(dict(tool.raw))
    return found


def _tool(tool: Tool) -> JSON:
    found: JSON = {"type": "custom" if tool.freeform else "function"}
    found["name"] = tool.name
    if tool.description is not None:
        found["description"] = tool.description
    if not tool.freeform:
        found["parameters"] = schema_of(tool)
        # On by default here, and refuses schemas that are not made for it.
        found["strict"] = bool(tool.strict)
    return found


def choice_object(choice: ToolChoice | None, request: Request) -> object:
    if choice is None:
        return "auto"
    if choice.mode is not ToolMode.NAMED:
        return choice.mode.value
    free = choice.name in freeform_names(request)
    return {"type": "custom" if free else "function", "name": choice.name}


def _write_tools(request: Request, report: Report, body: JSON) -> None:
    tools = tool_objects(request) if report.keeps("tools") else []
    if not tools:
        return
    body["tools"] = tools
    if request.tool_choice is not None and report.keeps("tool_choice"):
        body["tool_choice"] = choice_object(request.tool_choice, request)
    if request.parallel_tools is not None and report.keeps("parallel_tool_calls"):
        body["parallel_tool_calls"] = request.parallel_tools
