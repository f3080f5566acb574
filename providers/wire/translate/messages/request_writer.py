"""Writing a Messages request."""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec.structs import replace

from providers.wire.dialect import Dialect
from providers.wire.translate.mapping import (
    Report,
    begin,
    breakpoints,
    leave_out_media,
    opaque,
)
from providers.wire.translate.media import image_type
from providers.wire.translate.messages.mapping import (
    MOST_BREAKPOINTS,
    RULES,
    SAMPLING,
    TOP_TEMPERATURE,
)
from providers.wire.translate.messages.thinking import write_thinking
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
from providers.wire.translate.toolcalls import lenient_object, offered, schema_of

JSON = dict[str, Any]
_MODES: Final = {
    ToolMode.AUTO: "auto",
    ToolMode.REQUIRED: "any",
    ToolMode.NAMED: "tool",
    ToolMode.NONE: "none",
}
_NOT_IN_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")


def write_request(request: Request, target: Target = ANY_MODEL) -> Written:
    """Write a request; raises UnsupportedParameter and ImageUrlUnsupported."""
    report = begin(request, Dialect.MESSAGES, RULES, target)
    body: JSON = {"model": target.model or request.model}
    limit = request.max_tokens
    if limit is None:
        limit = target.default_max_tokens
        report.change("max_tokens", limit)
    body["max_tokens"] = limit
    _Prompt(request, target, report).write(body)
    _write_tools(request, report, body)
    _write_sampling(request, report, body)
    write_thinking(request, target, report, body)
    form = request.response_format
    if form is not None and form.kind is FormatKind.JSON_SCHEMA:
        _write_schema(dict(form.schema or {}), report, body)
    if request.user is not None and report.keeps("user"):
        body["metadata"] = {"user_id": request.user}
    if request.cache is not None:
        body["cache_control"] = _mark(request.cache)
    if request.stream:
        body["stream"] = True
    if request.origin is Dialect.MESSAGES:
        extras = {n: v for n, v in request.extras.items() if report.keeps(n)}
        body.update(extras)
    return report.written(body)


def _mark(cache: CacheHint) -> JSON:
    mark = {"type": "ephemeral"}
    if cache.ttl is not None:
        mark["ttl"] = cache.ttl
    return mark


def _write_sampling(request: Request, report: Report, body: JSON) -> None:
    sampling = request.sampling
    heat = sampling.temperature
    if heat is not None and heat > TOP_TEMPERATURE and report.keeps("temperature"):
        sampling = replace(sampling, temperature=TOP_TEMPERATURE)
        report.change("temperature", TOP_TEMPERATURE)
    report.put(body, sampling, SAMPLING)
    stops = [stop for stop in sampling.stop if stop.strip()]
    if len(stops) < len(sampling.stop):
        report.drop("stop")
    if stops and report.keeps("stop"):
        body["stop_sequences"] = stops


def _write_schema(schema: JSON, report: Report, body: JSON) -> None:
    if report.keeps("json_schema"):
        config = body.setdefault("output_config", {})
        config["format"] = {"type": "json_schema", "schema": schema}


class _Prompt:
    """Writes tools, system and turns: what may carry breakpoints."""

    def __init__(self, request: Request, target: Target, report: Report) -> None:
        self._request = request
        self._target = target
        self._report = report
        marked = breakpoints(request) if report.keeps("cache_control") else []
        self._marked = {id(one) for one in marked[-MOST_BREAKPOINTS:]}
        if len(marked) > MOST_BREAKPOINTS:
            report.drop("cache_control")

    def write(self, body: JSON) -> None:
        request = self._request
        system = [self._text(text) for text in request.system if text.text]
        if system:
            body["system"] = system
        body["messages"] = self._messages()
        if self._report.keeps("tools"):
            tools = [found for tool in offered(request) if (found := self._tool(tool))]
            if tools:
                body["tools"] = tools

    def _messages(self) -> list[JSON]:
        """Write the turns; those of one role in a row become one."""
        turns: list[tuple[str, list[JSON]]] = []
        for message in self._request.messages:
            role = "assistant" if message.role is Role.ASSISTANT else "user"
            blocks = self._blocks(message)
            if not blocks:
                continue
            if turns and turns[-1][0] == role:
                turns[-1][1].extend(blocks)
            else:
                turns.append((role, blocks))
        for role, blocks in turns:
            if role == "user":
                # Results must come first in the turn that follows their calls.
                blocks.sort(key=lambda block: block["type"] != "tool_result")
        _trim_last(turns)
        return [{"role": role, "content": blocks} for role, blocks in turns]

    def _blocks(self, message: Message) -> list[JSON]:
        parts = message.parts
        if message.role is Role.ASSISTANT:
            leave_out_media(parts, self._report)
            parts = tuple(p for p in parts if not isinstance(p, Image | Audio | File))
        found = [self._block(part) for part in parts]
        return [block for block in found if block is not None]

    def _block(self, part: Part) -> JSON | None:
        match part:
            case Text():
                return self._text(part) if part.text else None
            case Refusal():
                return {"type": "text", "text": part.text} if part.text else None
            case Image() | File():
                return self._media(part)
            case ToolCall():
                return self._with_mark(
                    part,
                    {
                        "type": "tool_use",
                        "id": _tool_id(part.id),
                        "name": part.name,
                        "input": lenient_object(part.arguments),
                    },
                )
            case ToolResult():
                return self._result(part)
            case Reasoning():
                return _thought(part)
            case Opaque():
                return opaque(part, self._report)
        raise UnsupportedParameter(None, f"{type(part).__name__} cannot be sent")

    def _text(self, text: Text) -> JSON:
        return self._with_mark(text, {"type": "text", "text": text.text})

    def _with_mark(self, carrier: Any, block: JSON) -> JSON:
        if carrier.cache is not None and id(carrier) in self._marked:
            block["cache_control"] = _mark(carrier.cache)
        return block

    def _result(self, result: ToolResult) -> JSON:
        block: JSON = {"type": "tool_result", "tool_use_id": _tool_id(result.call_id)}
        first = result.parts[0] if len(result.parts) == 1 else None
        if isinstance(first, Text) and first.cache is None:
            block["content"] = first.text
        elif result.parts:
            found = [self._block(part) for part in result.parts]
            block["content"] = [part for part in found if part is not None]
        if result.is_error:
            block["is_error"] = True
        return self._with_mark(result, block)

    def _media(self, part: Image | File) -> JSON:
        if isinstance(part, Image):
            block = {"type": "image", "source": self._source(part.source, image=True)}
            return self._with_mark(part, block)
        if part.text is not None:
            source: JSON = {
                "type": "text",
                "media_type": "text/plain",
                "data": part.text,
            }
        else:
            source = self._source(part.source, image=False)
        block = {"type": "document", "source": source}
        if part.name is not None:
            block["title"] = part.name
        return self._with_mark(part, block)

    def _source(self, source: Source, *, image: bool) -> JSON:
        if source.data is not None:
            kind = image_type(source) if image else source.media_type
            return {
                "type": "base64",
                "media_type": kind or "application/pdf",
                "data": source.data,
            }
        if source.url is not None:
            if self._target.image_urls is False:
                raise ImageUrlUnsupported(
                    source.at, "this provider fetches no URLs: send base64 instead"
                )
            return {"type": "url", "url": source.url}
        if self._request.origin is not Dialect.MESSAGES:
            raise UnsupportedParameter(
                source.at, "a file kept at another vendor cannot be sent here"
            )
        return {"type": "file", "file_id": source.file_id}

    def _tool(self, tool: Tool | Opaque) -> JSON | None:
        if isinstance(tool, Opaque):
            return dict(tool.raw) if tool.origin is Dialect.MESSAGES else None
        found: JSON = {"name": tool.name}
        if tool.description is not None:
            found["description"] = tool.description
        found["input_schema"] = {"type": "object", **schema_of(tool)}
        if tool.strict is not None and self._report.keeps("strict_tools"):
            found["strict"] = tool.strict
        return self._with_mark(tool, found)


def _thought(part: Reasoning) -> JSON | None:
    """Write thinking of Anthropic's own making; it takes no other."""
    if part.origin is not Dialect.MESSAGES:
        return None
    if part.redacted is not None:
        return {"type": "redacted_thinking", "data": part.redacted}
    return {
        "type": "thinking",
        "thinking": part.text,
        "signature": part.signature or "",
    }


def _tool_id(call_id: str) -> str:
    return _NOT_IN_ID.sub("_", call_id)


def _trim_last(turns: list[tuple[str, list[JSON]]]) -> None:
    """Take trailing space off a prefilled answer, which is refused with it."""
    if not turns or turns[-1][0] != "assistant":
        return
    last = turns[-1][1][-1]
    if last["type"] == "text":
        last["text"] = last["text"].rstrip() or last["text"]


def _write_tools(request: Request, report: Report, body: JSON) -> None:
    if not body.get("tools"):
        return
    choice = request.tool_choice
    found: JSON = {}
    if choice is not None and report.keeps("tool_choice"):
        found["type"] = _MODES[choice.mode]
        if choice.mode is ToolMode.NAMED:
            found["name"] = choice.name
    single = request.parallel_tools is False and report.keeps("parallel_tool_calls")
    if single and found.get("type") != "none":
        found.setdefault("type", "auto")
        found["disable_parallel_tool_use"] = True
    if found:
        body["tool_choice"] = found
