"""Requests in each dialect, and replies in the vocabulary: what a matrix is made of."""

from __future__ import annotations

from typing import Any

from providers.wire.dialect import Dialect
from providers.wire.translate.events import Cited, Finish
from providers.wire.translate.reply import Choice, Reply
from providers.wire.translate.request import (
    Reasoning,
    Text,
    ToolCall,
)
from providers.wire.usage import Usage

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **more}


def messages(**more: Any) -> dict[str, Any]:
    return {"max_tokens": 100, **chat(), **more}


def responses(**more: Any) -> dict[str, Any]:
    return {"model": "m", "input": "Hi", **more}


def ollama(**more: Any) -> dict[str, Any]:
    return {**chat(), "stream": False, **more}


def gemini(**more: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], **more}


CHAT_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather",
        "parameters": SCHEMA,
    },
}
CHAT_TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Weather in Köln and Bonn?"},
    {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city":"Köln"}'},
            },
            {
                "id": "call_2",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city":"Bonn"}'},
            },
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    {"role": "tool", "tool_call_id": "call_2", "content": "sun"},
    {"role": "user", "content": "And tomorrow?"},
]
MESSAGES_TOOL = {
    "name": "get_weather",
    "description": "Tell the weather",
    "input_schema": SCHEMA,
}
MESSAGES_TURNS = [
    {"role": "user", "content": "Weather in Köln and Bonn?"},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Two cities.", "signature": "c2ln"},
            {"type": "text", "text": "I look."},
            {
                "type": "tool_use",
                "id": "toolu_1",
                "name": "get_weather",
                "input": {"city": "Köln"},
            },
            {
                "type": "tool_use",
                "id": "toolu_2",
                "name": "get_weather",
                "input": {"city": "Bonn"},
            },
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"},
            {
                "type": "tool_result",
                "tool_use_id": "toolu_2",
                "content": [{"type": "text", "text": "sun"}],
                "is_error": True,
            },
            {"type": "text", "text": "And tomorrow?"},
        ],
    },
]
GEMINI_TURNS = [
    {"role": "user", "parts": [{"text": "Weather in Köln?"}]},
    {
        "role": "model",
        "parts": [
            {
                "functionCall": {"name": "get_weather", "args": {"city": "Köln"}},
                "thoughtSignature": "c2ln",
            }
        ],
    },
    {
        "role": "user",
        "parts": [
            {
                "functionResponse": {
                    "name": "get_weather",
                    "response": {"output": "rain"},
                }
            }
        ],
    },
]
RESPONSES_TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "Tell the weather",
    "parameters": SCHEMA,
    "strict": True,
}
RESPONSES_INPUT = [
    {"role": "user", "content": "Weather in Köln and Bonn?"},
    {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Two cities."}],
        "encrypted_content": "gAAA",
    },
    {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
    },
    {
        "type": "function_call",
        "call_id": "call_1",
        "name": "get_weather",
        "arguments": '{"city":"Köln"}',
    },
    {
        "type": "function_call",
        "call_id": "call_2",
        "name": "get_weather",
        "arguments": '{"city":"Bonn"}',
    },
    {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
    {
        "type": "function_call_output",
        "call_id": "call_2",
        "output": [{"type": "input_text", "text": "sun"}],
    },
    {"role": "user", "content": [{"type": "input_text", "text": "And tomorrow?"}]},
]
OLLAMA_TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Weather in Köln?"},
    {
        "role": "assistant",
        "content": "",
        "thinking": "One city.",
        "tool_calls": [
            {"function": {"name": "get_weather", "arguments": {"city": "Köln"}}}
        ],
    },
    {"role": "tool", "tool_name": "get_weather", "content": "rain"},
]

REQUESTS: dict[Dialect, dict[str, dict[str, Any]]] = {
    Dialect.CHAT: {
        "plain": chat(),
        "turns": chat(messages=CHAT_TURNS, tools=[CHAT_TOOL], tool_choice="auto"),
        "limits": chat(max_completion_tokens=50, stop=["X", "Y"], temperature=0.5),
        "single stop": chat(stop="X", stream=True),
        "image": chat(
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is it?"},
                        {
                            "type": "image_url",
                            "image_url": {
                                "url": f"data:image/png;base64,{PNG}",
                                "detail": "low",
                            },
                        },
                    ],
                }
            ]
        ),
        "schema": chat(
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "place", "schema": SCHEMA, "strict": True},
            }
        ),
        "effort": chat(reasoning_effort="high", max_tokens=50_000),
        "hints": chat(user="u1", prompt_cache_key="k", parallel_tool_calls=True),
    },
    Dialect.MESSAGES: {
        "plain": messages(),
        "turns": messages(
            messages=MESSAGES_TURNS,
            tools=[MESSAGES_TOOL],
            system=[
                {
                    "type": "text",
                    "text": "Be brief.",
                    "cache_control": {"type": "ephemeral"},
                }
            ],
            tool_choice={"type": "auto", "disable_parallel_tool_use": False},
        ),
        "limits": messages(stop_sequences=["X"], top_k=5, temperature=0.5),
        "image": messages(
            messages=[
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image",
                            "source": {
                                "type": "base64",
                                "media_type": "image/png",
                                "data": PNG,
                            },
                        }
                    ],
                }
            ]
        ),
        "schema": messages(
            output_config={"format": {"type": "json_schema", "schema": SCHEMA}}
        ),
        "budget": messages(
            max_tokens=9000, thinking={"type": "enabled", "budget_tokens": 2048}
        ),
        "user": messages(metadata={"user_id": "u1"}, stream=True),
    },
    Dialect.GEMINI: {
        "plain": gemini(),
        "turns": gemini(
            contents=GEMINI_TURNS,
            systemInstruction={"parts": [{"text": "Be brief."}]},
            tools=[
                {
                    "functionDeclarations": [
                        {"name": "get_weather", "parametersJsonSchema": SCHEMA}
                    ]
                }
            ],
            toolConfig={"functionCallingConfig": {"mode": "AUTO"}},
        ),
        "limits": gemini(
            generationConfig={"maxOutputTokens": 50, "stopSequences": ["X"], "topK": 3}
        ),
        "image": gemini(
            contents=[
                {
                    "role": "user",
                    "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}],
                }
            ]
        ),
        "schema": gemini(
            generationConfig={
                "responseMimeType": "application/json",
                "responseJsonSchema": SCHEMA,
            }
        ),
        "budget": gemini(
            generationConfig={
                "thinkingConfig": {"thinkingBudget": 2048, "includeThoughts": True}
            }
        ),
    },
    Dialect.RESPONSES: {
        "plain": responses(),
        "turns": responses(
            input=RESPONSES_INPUT,
            instructions="Be brief.",
            tools=[RESPONSES_TOOL],
            tool_choice="auto",
            parallel_tool_calls=True,
        ),
        "limits": responses(max_output_tokens=50, temperature=0.5, store=False),
        "image": responses(
            input=[
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "input_image",
                            "image_url": f"data:image/png;base64,{PNG}",
                            "detail": "auto",
                        }
                    ],
                }
            ]
        ),
        "schema": responses(
            text={"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}
        ),
        "effort": responses(reasoning={"effort": "low", "summary": "auto"}),
        "custom": responses(
            tools=[{"type": "custom", "name": "patch", "description": "Patch"}],
            input=[
                {
                    "type": "custom_tool_call",
                    "call_id": "c1",
                    "name": "patch",
                    "input": "*** a",
                },
                {
                    "type": "custom_tool_call_output",
                    "call_id": "c1",
                    "output": "done",
                },
            ],
            stream=True,
        ),
    },
    Dialect.OLLAMA: {
        "plain": ollama(),
        "turns": ollama(messages=OLLAMA_TURNS, tools=[CHAT_TOOL]),
        "limits": ollama(
            options={"num_predict": 50, "stop": ["X"], "top_k": 3, "min_p": 0.1}
        ),
        "image": ollama(
            messages=[{"role": "user", "content": "What?", "images": [PNG]}]
        ),
        "schema": ollama(format=SCHEMA),
        "json": ollama(format="json", think="low", stream=True),
    },
}

NOTE = {
    "type": "url_citation",
    "url_citation": {
        "url": "https://example.org/",
        "title": "Example",
        "start_index": 0,
        "end_index": 9,
    },
}
USAGE = Usage(prompt=30, completion=12, cached=8, reasoning=4)
CALL = ToolCall("call_1", "get_weather", '{"city":"Köln"}')
OTHER_CALL = ToolCall("call_2", "get_time", "{}")


def reply(*parts: Any, finish: Finish = Finish.STOP, **more: Any) -> Reply:
    choice = Choice(parts=parts, finish=finish, **more)
    return Reply("id_1", "model-1", None, (choice,), USAGE, complete=True)


REPLIES = {
    "text": reply(Text("Grüße, 世界 \u2028 🙂")),
    "cut": reply(Text("one two"), finish=Finish.LENGTH),
    "call": reply(CALL, finish=Finish.TOOL_CALLS),
    "text and calls": reply(
        Text("I look."), CALL, OTHER_CALL, finish=Finish.TOOL_CALLS
    ),
    "reasoning": reply(Reasoning("Let me see."), Text("It rains.")),
    "nothing": reply(),
    "filtered": reply(Text("I"), finish=Finish.CONTENT_FILTER),
    "cited": reply(
        Text("It rains."),
        citations=(Cited(Dialect.CHAT, NOTE, "https://example.org/", "Example", None),),
    ),
}
