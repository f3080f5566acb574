"""Writing a chat request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from providers.wire.dialect import Dialect
from providers.wire.translate.chat.mapping import (
    REASONING_FORMATS_OUT,
    RULES,
    SAMPLING,
)
from providers.wire.translate.mapping import Report, begin, leave_out_media, opaque
from providers.wire.translate.media import AUDIO_FORMATS, to_url
from providers.wire.translate.problems import (
    ImageUrlUnsupported,
    UnsupportedParameter,
)
from providers.wire.translate.request import (
    ANY_MODEL,
    Audio,
    CacheHint,
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
from providers.wire.translate.thinking import effort_of
from providers.wire.translate.toolcalls import offered, schema_of

JSON = dict[str, Any]


def write_request(request: Request, target: Target = ANY_MODEL) -> Written:
    """Write a request; raises UnsupportedParameter and ImageUrlUnsupported."""
    report = begin(request, Dialect.CHAT, RULES, target)
    body: JSON = {"model": target.model or request.model}
    body["messages"] = _Messages(request, target, report).write()
    _write_tools(request, target, report, body)
    report.put(body, request.sampling, SAMPLING)
    if request.max_tokens is not None and report.keeps("max_tokens"):
        body[target.limit_field] = request.max_tokens
    effort = effort_of(request.thinking)
    if effort is not None and report.keeps("thinking"):
        body["reasoning_effort"] = effort.value
    if request.response_format is not None:
        _write_format(request.response_format, report, body)
    if request.user is not None and report.keeps("user"):
        body["user"] = request.user
    if request.cache_key is not None and report.keeps("cache_key"):
        body["prompt_cache_key"] = request.cache_key
    if request.metadata and request.origin is Dialect.CHAT:
        body["metadata"] = dict(request.metadata)
    if request.stream:
        body["stream"] = True
        if report.keeps("stream_options"):
            body["stream_options"] = {"include_usage": True}
    if request.origin is Dialect.CHAT:
        extras = {n: v for n, v in request.extras.items() if report.keeps(n)}
        body.update(extras)
    return report.written(body)


class _Messages:
    """Writes the turns; a user's turn with tool results becomes several messages."""

    def __init__(self, request: Request, target: Target, report: Report) -> None:
        self._request = request
        self._target = target
        self._report = report
        self._marks = bool(target.cache_control)
        self._messages: list[JSON] = []

    def write(self) -> list[JSON]:
        if self._request.system:
            self._system(self._request.system, None)
        for message in self._request.messages:
            if message.role is Role.ASSISTANT:
                self._answer(message)
            elif message.role is Role.SYSTEM:
                texts = [p for p in message.parts if isinstance(p, Text)]
                self._system(texts, message.name)
            else:
                self._user(message)
        return self._messages

    def _add(self, role: str, content: object, name: str | None = None) -> None:
        found: JSON = {"role": role, "content": content}
        if name is not None:
            found["name"] = name
        self._messages.append(found)

    def _system(self, texts: Iterable[Text], name: str | None) -> None:
        self._add("system", self._joined(list(texts), "\n\n"), name)

    def _joined(self, texts: list[Text], between: str) -> str | list[JSON]:
        """Join texts, for many templates take a string alone; not where marks count."""
        if any(text.cache for text in texts):
            if self._marks:
                return [self._part(text) for text in texts]
            self._report.drop("cache_control")
        return between.join(text.text for text in texts)

    def _user(self, message: Message) -> None:
        rest: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolResult):
                rest += self._result(part)
            else:
                rest.append(part)
        if rest or not message.parts:
            self._add("user", self._content(rest), message.name)

    def _result(self, result: ToolResult) -> list[Part]:
        """Write a result's text; its images follow as the user's."""
        texts = [part for part in result.parts if isinstance(part, Text)]
        content = self._joined(texts, "\n")
        self._messages.append(
            {"role": "tool", "tool_call_id": result.call_id, "content": content}
        )
        return [part for part in result.parts if not isinstance(part, Text)]

    def _content(self, parts: list[Part]) -> str | list[JSON]:
        if all(isinstance(part, Text) for part in parts) and len(parts) < 2:
            texts = [part for part in parts if isinstance(part, Text)]
            return self._joined(texts, "")
        return [self._part(part) for part in parts]

    def _part(self, part: Part) -> JSON:
        match part:
            case Text():
                return self._marked({"type": "text", "text": part.text}, part.cache)
            case Image():
                return self._marked(self._image(part), part.cache)
            case Audio():
                return _audio(part)
            case File():
                return self._marked(_file(part), part.cache)
            case Opaque():
                return opaque(part, self._report)
        raise UnsupportedParameter(None, f"a user cannot send {type(part).__name__}")

    def _image(self, image: Image) -> JSON:
        source = image.source
        if source.url is not None and self._target.image_urls is False:
            raise ImageUrlUnsupported(
                source.at, "this provider fetches no images: send base64 instead"
            )
        found: JSON = {"url": _need_url(source)}
        if image.detail is not None:
            found["detail"] = image.detail
        return {"type": "image_url", "image_url": found}

    def _marked(self, found: JSON, cache: CacheHint | None) -> JSON:
        if cache is None:
            return found
        if not self._marks:
            self._report.drop("cache_control")
            return found
        mark = {"type": "ephemeral"}
        if cache.ttl is not None:
            mark["ttl"] = cache.ttl
        return {**found, "cache_control": mark}

    def _answer(self, message: Message) -> None:
        found: JSON = {"role": "assistant"}
        if message.name is not None:
            found["name"] = message.name
        texts = [part for part in message.parts if isinstance(part, Text)]
        refusals = [p.text for p in message.parts if isinstance(p, Refusal)]
        calls = [part for part in message.parts if isinstance(part, ToolCall)]
        found["content"] = self._joined(texts, "")
        strange = [
            opaque(part, self._report)
            for part in message.parts
            if isinstance(part, Opaque)
        ]
        if strange:
            found["content"] = [*map(self._part, texts), *strange]
        leave_out_media(message.parts, self._report)
        if refusals:
            found["refusal"] = "".join(refusals)
        self._reasoning(message, found)
        if calls:
            found["tool_calls"] = [self._call(call) for call in calls]
        self._messages.append(found)

    def _reasoning(self, message: Message, found: JSON) -> None:
        field = self._target.reasoning_field
        thoughts = [part for part in message.parts if isinstance(part, Reasoning)]
        if field is None or not thoughts:
            return
        text = "".join(part.text for part in thoughts)
        if text:
            found[field] = text
        details = reasoning_details(thoughts)
        if details:
            found["reasoning_details"] = details

    def _call(self, call: ToolCall) -> JSON:
        function = {"name": call.name, "arguments": call.arguments or "{}"}
        found: JSON = {"id": call.id, "type": "function", "function": function}
        signature = call.signature
        if signature is None and self._target.signature_of is not None:
            signature = self._target.signature_of(call.id)
        if signature is not None:
            found["extra_content"] = extra_content(signature)
        return self._marked(found, call.cache)


def reasoning_details(thoughts: Iterable[Reasoning]) -> list[JSON]:
    """Write signed reasoning as OpenRouter does; what is unsigned needs no details."""
    found: list[JSON] = []
    for part in thoughts:
        name = REASONING_FORMATS_OUT.get(part.origin) if part.origin else None
        if part.redacted is not None:
            detail = {"type": "reasoning.encrypted", "data": part.redacted}
        elif part.signature is not None:
            detail = {"type": "reasoning.text", "text": part.text}
            detail["signature"] = part.signature
        else:
            continue
        found.append({**detail, "format": name or "unknown", "index": len(found)})
    return found


def extra_content(signature: str) -> JSON:
    """Write Gemini's thought signature where Google's own chat endpoint has it."""
    return {"google": {"thought_signature": signature}}


def _audio(part: Audio) -> JSON:
    media_type = part.source.media_type or ""
    kind = AUDIO_FORMATS.get(media_type)
    if kind is None or part.source.data is None:
        raise UnsupportedParameter(part.source.at, f"audio of type {media_type!r}")
    return {
        "type": "input_audio",
        "input_audio": {"data": part.source.data, "format": kind},
    }


def _file(part: File) -> JSON:
    if part.text is not None:
        return {"type": "text", "text": part.text}
    source = part.source
    if source.file_id is not None:
        file: JSON = {"file_id": source.file_id}
    else:
        file = {"file_data": to_url(source, "application/pdf")}
    if part.name is not None:
        file["filename"] = part.name
    return {"type": "file", "file": file}


def _need_url(source: Source) -> str:
    found = to_url(source)
    if found is None:
        raise UnsupportedParameter(
            source.at, "a file kept at another vendor cannot be sent to this provider"
        )
    return found


def _write_tools(request: Request, target: Target, report: Report, body: JSON) -> None:
    if not report.keeps("tools"):
        return
    tools = []
    for tool in offered(request):
        if isinstance(tool, Tool):
            tools.append(_tool(tool, target, report))
        elif tool.origin is Dialect.CHAT:
            tools.append(dict(tool.raw))
    if not tools:
        return
    body["tools"] = tools
    if request.tool_choice is not None and report.keeps("tool_choice"):
        body["tool_choice"] = _tool_choice(request.tool_choice)
    if request.parallel_tools is not None and report.keeps("parallel_tool_calls"):
        body["parallel_tool_calls"] = request.parallel_tools


def _tool(tool: Tool, target: Target, report: Report) -> JSON:
    function: JSON = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.schema is not None or tool.freeform:
        function["parameters"] = schema_of(tool)
    if tool.strict is not None and report.keeps("strict_tools"):
        function["strict"] = tool.strict
    found: JSON = {"type": "function", "function": function}
    if tool.cache is not None:
        if target.cache_control:
            found["cache_control"] = {"type": "ephemeral"}
        else:
            report.drop("cache_control")
    return found


def _tool_choice(choice: ToolChoice) -> object:
    if choice.mode is ToolMode.NAMED:
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode.value


def _write_format(form: ResponseFormat, report: Report, body: JSON) -> None:
    if form.kind is not FormatKind.JSON_SCHEMA:
        if report.keeps("json_object"):
            body["response_format"] = {"type": form.kind.value}
        return
    if not report.keeps("json_schema"):
        return
    schema: JSON = {"name": form.name or "answer"}
    for name, value in (
        ("description", form.description),
        ("schema", None if form.schema is None else dict(form.schema)),
        ("strict", form.strict),
    ):
        if value is not None:
            schema[name] = value
    body["response_format"] = {"type": "json_schema", "json_schema": schema}
