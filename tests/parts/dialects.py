"""Callers of every dialect, by their official clients: one question, one way to read it.

A `Question` says what is asked in no dialect; each caller asks it in its own and reads
what came back into an `Answered`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import anthropic
import ollama
import openai
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/q842iQAAAABJRU5ErkJggg=="
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = ("weather", "time")


@dataclass(frozen=True)
class Called:
    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """`results` are answers to `calls`, of the turn before; `extra` goes as it is."""

    model: str
    turns: tuple[str, ...] = ("hi",)
    system: str | None = None
    tools: bool = False
    calls: tuple[Called, ...] = ()
    image: bool = False
    schema: bool = False
    effort: str | None = None
    stop: str | None = None
    max_tokens: int = 2000
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answered:
    text: str
    thinking: str
    calls: tuple[Called, ...]
    finish: str | None
    prompt: int
    completion: int


class ChatCaller:
    """/v1/chat/completions."""

    def __init__(self, url: str) -> None:
        self.client = openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key="x", max_retries=0
        )

    async def ask(self, asked: Question, *, stream: bool) -> Answered:
        body = self.body(asked)
        if not stream:
            return self.read(
                (await self.client.chat.completions.create(**body)).to_dict()
            )
        text, thinking, finish = "", "", None
        calls: dict[int, dict[str, str]] = {}
        usage: dict[str, Any] = {}
        chunks = await self.client.chat.completions.create(
            **body, stream=True, stream_options={"include_usage": True}
        )
        async for chunk in chunks:
            if chunk.usage:
                usage = chunk.usage.to_dict()
            for choice in chunk.choices:
                finish = choice.finish_reason or finish
                delta = choice.delta.to_dict()
                text += str(delta.get("content") or "")
                thinking += str(
                    delta.get("reasoning_content") or delta.get("reasoning") or ""
                )
                for call in choice.delta.tool_calls or ():
                    known = calls.setdefault(
                        call.index, {"id": "", "name": "", "args": ""}
                    )
                    known["id"] += call.id or ""
                    assert call.function is not None
                    known["name"] += call.function.name or ""
                    known["args"] += call.function.arguments or ""
        said = tuple(
            Called(c["id"], c["name"], json.loads(c["args"])) for c in calls.values()
        )
        return _answered(text, thinking, said, finish, usage)

    @staticmethod
    def read(found: Any) -> Answered:
        [choice] = found["choices"]
        message = choice["message"]
        calls = tuple(
            Called(
                c["id"], c["function"]["name"], json.loads(c["function"]["arguments"])
            )
            for c in message.get("tool_calls") or ()
        )
        thinking = message.get("reasoning_content") or message.get("reasoning") or ""
        text, finish = message.get("content") or "", choice["finish_reason"]
        return _answered(text, thinking, calls, finish, found["usage"])

    @staticmethod
    def body(asked: Question) -> dict[str, Any]:
        turns: list[dict[str, Any]] = []
        if asked.system:
            turns.append({"role": "system", "content": asked.system})
        turns += _alternating(asked.turns)
        if asked.image:
            url = {"url": f"data:image/png;base64,{PIXEL}"}
            text = {"type": "text", "text": asked.turns[-1]}
            turns[-1]["content"] = [text, {"type": "image_url", "image_url": url}]
        if asked.calls:
            calls = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": call.name,
                        "arguments": json.dumps(call.arguments),
                    },
                }
                for call in asked.calls
            ]
            turns.append({"role": "assistant", "content": None, "tool_calls": calls})
            turns += [
                {"role": "tool", "tool_call_id": call.id, "content": "18 C"}
                for call in asked.calls
            ]
        body: dict[str, Any] = {
            "model": asked.model,
            "messages": turns,
            "max_tokens": asked.max_tokens,
        }
        if asked.tools:
            body["tools"] = [
                {"type": "function", "function": {"name": name, "parameters": SCHEMA}}
                for name in TOOLS
            ]
        if asked.schema:
            form = {"name": "city", "schema": SCHEMA}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if asked.effort:
            body["reasoning_effort"] = asked.effort
        if asked.stop:
            body["stop"] = [asked.stop]
        if asked.extra:
            body["extra_body"] = dict(asked.extra)
        return body


class UnifiedCaller:
    """/llm, which has no client of its own: OpenAI's models read what it answers."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def ask(self, asked: Question, *, stream: bool) -> Answered:
        body = ChatCaller.body(asked)
        body |= body.pop("extra_body", {})
        head = {"model": body.pop("model"), "messages": body.pop("messages")}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        text = json.dumps({**head, "options": body})
        found = await _post(f"{self.url}/llm", text)
        if not stream:
            whole = ChatCompletion.model_validate_json(found)
            return ChatCaller.read(whole.to_dict())
        state = ChatCompletionStreamState()
        ended = False
        for event in found.decode().split("\n\n"):
            data = event.removeprefix("data: ")
            if '"error"' in data:
                raise StreamFailed(data)
            ended = ended or data == "[DONE]"
            if data and data != "[DONE]":
                state.handle_chunk(ChatCompletionChunk.model_validate_json(data))
        assert ended
        return ChatCaller.read(state.current_completion_snapshot.to_dict())


async def _post(url: str, text: str) -> bytes:
    async with aiohttp.ClientSession() as session:
        headers = {"content-type": "application/json"}
        async with session.post(url, data=text, headers=headers) as reply:
            found = await reply.read()
            if reply.status != 200:
                raise Refused(reply.status, found)
            return found


class ResponsesCaller:
    """/v1/responses."""

    def __init__(self, url: str) -> None:
        self.client = openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key="x", max_retries=0
        )

    async def ask(self, asked: Question, *, stream: bool) -> Answered:
        body = self.body(asked)
        if not stream:
            return self.read(await self.client.responses.create(**body))
        last, text, numbers = None, "", []
        events = await self.client.responses.create(**body, stream=True)
        async for event in events:
            numbers.append(event.sequence_number)
            last = event
            if event.type == "response.output_text.delta":
                text += event.delta
        assert numbers == list(range(len(numbers)))
        assert last is not None
        if last.type == "response.failed":
            raise StreamFailed(str(last.response.error))
        assert last.type in ("response.completed", "response.incomplete")
        answered = self.read(last.response)
        assert answered.text == text
        return answered

    @staticmethod
    def read(found: Any) -> Answered:
        thinking, calls = "", []
        for item in found.output:
            if item.type == "reasoning":
                parts = [*(item.content or ()), *item.summary]
                thinking += "".join(part.text for part in parts)
            if item.type == "function_call":
                call = Called(item.call_id, item.name, json.loads(item.arguments))
                calls.append(call)
        finish = "tool_calls" if calls else "stop"
        if found.status == "incomplete":
            finish = "length"
        usage = {
            "prompt_tokens": found.usage.input_tokens,
            "completion_tokens": found.usage.output_tokens,
        }
        return _answered(found.output_text, thinking, tuple(calls), finish, usage)

    @staticmethod
    def body(asked: Question) -> dict[str, Any]:
        items: list[dict[str, Any]] = _alternating(asked.turns)
        if asked.image:
            items[-1]["content"] = [
                {"type": "input_text", "text": asked.turns[-1]},
                {
                    "type": "input_image",
                    "detail": "auto",
                    "image_url": f"data:image/png;base64,{PIXEL}",
                },
            ]
        items += [
            {
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": json.dumps(call.arguments),
            }
            for call in asked.calls
        ]
        items += [
            {"type": "function_call_output", "call_id": call.id, "output": "18 C"}
            for call in asked.calls
        ]
        body: dict[str, Any] = {
            "model": asked.model,
            "input": items,
            "max_output_tokens": asked.max_tokens,
        }
        if asked.system:
            body["instructions"] = asked.system
        if asked.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "name": name,
                    "parameters": SCHEMA,
                    "strict": False,
                }
                for name in TOOLS
            ]
        if asked.schema:
            form = {"type": "json_schema", "name": "city", "schema": SCHEMA}
            body["text"] = {"format": form}
        if asked.effort:
            body["reasoning"] = {"effort": asked.effort, "summary": "auto"}
        if asked.extra:
            body["extra_body"] = dict(asked.extra)
        return body


class MessagesCaller:
    """/v1/messages."""

    def __init__(self, url: str) -> None:
        self.client = anthropic.AsyncAnthropic(base_url=url, api_key="x", max_retries=0)

    async def ask(self, asked: Question, *, stream: bool) -> Answered:
        body = self.body(asked)
        if not stream:
            return self.read(await self.client.messages.create(**body))
        async with self.client.messages.stream(**body) as events:
            return self.read(await events.get_final_message())

    @staticmethod
    def read(found: Any) -> Answered:
        text = "".join(b.text for b in found.content if b.type == "text")
        thinking = "".join(b.thinking for b in found.content if b.type == "thinking")
        calls = tuple(
            Called(b.id, b.name, b.input) for b in found.content if b.type == "tool_use"
        )
        finish = {
            "end_turn": "stop",
            "stop_sequence": "stop",
            "max_tokens": "length",
            "tool_use": "tool_calls",
        }.get(found.stop_reason, found.stop_reason)
        used = found.usage
        prompt = used.input_tokens + (used.cache_read_input_tokens or 0)
        prompt += used.cache_creation_input_tokens or 0
        usage = {"prompt_tokens": prompt, "completion_tokens": used.output_tokens}
        return _answered(text, thinking, calls, finish, usage)

    @staticmethod
    def body(asked: Question) -> dict[str, Any]:
        turns = _alternating(asked.turns)
        if asked.image:
            source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
            text = {"type": "text", "text": asked.turns[-1]}
            turns[-1]["content"] = [text, {"type": "image", "source": source}]
        if asked.calls:
            uses = [
                {"type": "tool_use", "id": c.id, "name": c.name, "input": c.arguments}
                for c in asked.calls
            ]
            turns.append({"role": "assistant", "content": uses})
            results = [
                {"type": "tool_result", "tool_use_id": c.id, "content": "18 C"}
                for c in asked.calls
            ]
            turns.append({"role": "user", "content": results})
        body: dict[str, Any] = {
            "model": asked.model,
            "messages": turns,
            "max_tokens": asked.max_tokens,
        }
        if asked.system:
            body["system"] = asked.system
        if asked.tools:
            body["tools"] = [{"name": n, "input_schema": SCHEMA} for n in TOOLS]
        extra: dict[str, Any] = dict(asked.extra)
        if asked.schema:
            form = {"type": "json_schema", "schema": SCHEMA}
            extra["output_config"] = {"format": form}
        if asked.effort:
            extra["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        if asked.stop:
            body["stop_sequences"] = [asked.stop]
        if extra:
            body["extra_body"] = extra
        return body


class OllamaCaller:
    """/api/chat."""

    def __init__(self, url: str) -> None:
        self.client = ollama.AsyncClient(host=url)

    async def ask(self, asked: Question, *, stream: bool) -> Answered:
        body = self.body(asked)
        if not stream:
            found = await self.client.chat(**body)
            return self.read([found])
        return self.read([p async for p in await self.client.chat(**body, stream=True)])

    @staticmethod
    def read(parts: list[Any]) -> Answered:
        text = "".join(part.message.content or "" for part in parts)
        thinking = "".join(part.message.thinking or "" for part in parts)
        calls = tuple(
            Called("", call.function.name, call.function.arguments)
            for part in parts
            for call in part.message.tool_calls or ()
        )
        last = parts[-1]
        assert last.done
        finish = "tool_calls" if calls else last.done_reason
        usage = {
            "prompt_tokens": last.prompt_eval_count,
            "completion_tokens": last.eval_count,
        }
        return _answered(text, thinking, calls, finish, usage)

    @staticmethod
    def body(asked: Question) -> dict[str, Any]:
        turns: list[dict[str, Any]] = []
        if asked.system:
            turns.append({"role": "system", "content": asked.system})
        turns += _alternating(asked.turns)
        if asked.image:
            turns[-1]["images"] = [PIXEL]
        if asked.calls:
            calls = [
                {"function": {"name": c.name, "arguments": dict(c.arguments)}}
                for c in asked.calls
            ]
            turns.append({"role": "assistant", "content": "", "tool_calls": calls})
            turns += [
                {"role": "tool", "tool_name": call.name, "content": "18 C"}
                for call in asked.calls
            ]
        options: dict[str, Any] = {"num_predict": asked.max_tokens}
        if asked.stop:
            options["stop"] = [asked.stop]
        body: dict[str, Any] = {
            "model": asked.model,
            "messages": turns,
            "options": options,
        }
        if asked.tools:
            body["tools"] = [
                {"type": "function", "function": {"name": name, "parameters": SCHEMA}}
                for name in TOOLS
            ]
        if asked.schema:
            body["format"] = SCHEMA
        if asked.effort:
            body["think"] = True
        return body


class StreamFailed(Exception):
    """A stream that ended with its failure."""


class Refused(Exception):
    """An error reply of /llm."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(body)
        self.status_code = status


def _alternating(turns: tuple[str, ...]) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(turns)]


def _answered(
    text: str,
    thinking: str,
    calls: tuple[Called, ...],
    finish: str | None,
    usage: Mapping[str, Any],
) -> Answered:
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    return Answered(text, thinking, calls, finish, prompt, completion)
