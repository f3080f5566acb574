from __future__ import annotations

from typing import Any

import orjson
import pytest

from providers.wire.dialect import Dialect
from providers.wire.envelopes import Problem
from providers.wire.translate.chat.request_reader import read_request as read_chat
from providers.wire.translate.events import (
    AudioDelta,
    Cited,
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Finished,
    ImageMade,
    Logprobs,
    ReasoningDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from providers.wire.translate.gemini.errors import read_error
from providers.wire.translate.gemini.mapping import FINISH_OUT, NO_SIGNATURE
from providers.wire.translate.gemini.reply_writer import write_reply
from providers.wire.translate.gemini.request_reader import read_request
from providers.wire.translate.gemini.request_writer import write_request
from providers.wire.translate.gemini.stream_reader import (
    GeminiStreamReader,
    read_reply,
)
from providers.wire.translate.gemini.stream_writer import GeminiStreamWriter
from providers.wire.translate.problems import Refused
from providers.wire.translate.reply import assemble
from providers.wire.translate.request import (
    ANY_MODEL,
    Effort,
    Message,
    Reasoning,
    Request,
    Role,
    Target,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from providers.wire.translate.streams import Context
from providers.wire.usage import Usage
from tests.providers.wire.translate.corpus import (
    CHAT_TOOL,
    CHAT_TURNS,
    GEMINI_TURNS,
    PNG,
    SCHEMA,
    chat,
    gemini,
)

CONTEXT = Context("made", 0, "m")


def stream(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: %b\r\n\r\n" % orjson.dumps(chunk) for chunk in chunks)


def parts(*found: dict[str, Any], **candidate: Any) -> dict[str, Any]:
    content = {"role": "model", "parts": list(found)}
    return {"candidates": [{"content": content, "index": 0, **candidate}]}


def read(data: bytes) -> list[Event]:
    reader = GeminiStreamReader("req")
    return reader.feed(data) + reader.close()


def settings(target: Target = ANY_MODEL, **asked: Any) -> dict[str, Any]:
    body = write_request(read_chat(chat(**asked)), target).body
    found: dict[str, Any] = body["generationConfig"]
    return found


def test_results_find_their_calls_without_ids() -> None:
    call, result = read_request(gemini(contents=GEMINI_TURNS)).messages[1:]
    assert isinstance(call.parts[0], ToolCall)
    assert call.parts[0].signature == "c2ln"
    assert result.parts == (ToolResult(call.parts[0].id, (Text("rain"),)),)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "contents"),
        (gemini(contents=[{"role": "king", "parts": []}]), "contents[0].role"),
        (
            gemini(contents=[{"parts": [{"functionResponse": {"name": "f"}}]}]),
            "contents[0].parts[0].functionResponse.name",
        ),
        (
            gemini(generationConfig={"temperature": 3}),
            "generationConfig.temperature",
        ),
    ],
)
def test_a_problem_names_its_field(body: dict[str, Any], param: str) -> None:
    with pytest.raises(Refused) as caught:
        read_request(body)
    assert caught.value.param == param


def test_a_chat_conversation_becomes_turns_of_user_and_model() -> None:
    request = read_chat(chat(messages=CHAT_TURNS, tools=[CHAT_TOOL]))
    body = write_request(request).body
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]
    assert body["contents"][1]["parts"][1] == {
        "functionCall": {
            "name": "get_weather",
            "args": {"city": "Köln"},
            "id": "call_1",
        }
    }
    assert body["contents"][2]["parts"][0] == {
        "functionResponse": {
            "name": "get_weather",
            "response": {"output": "rain"},
            "id": "call_1",
        }
    }
    (tool,) = body["tools"][0]["functionDeclarations"]
    assert tool["parametersJsonSchema"] == SCHEMA


def test_made_ids_are_not_told_to_the_provider() -> None:
    body = write_request(read_request(gemini(contents=GEMINI_TURNS))).body
    assert body["contents"] == GEMINI_TURNS


def asking(*answer: Any) -> Request:
    turns = (
        Message(Role.USER, (Text("a"),)),
        Message(Role.ASSISTANT, answer),
    )
    return Request(Dialect.CHAT, "m", turns)


def signatures(request: Request, target: Target = ANY_MODEL) -> list[str | None]:
    found = write_request(request, target).body["contents"][1]["parts"]
    return [part.get("thoughtSignature") for part in found]


def test_a_signature_is_taken_from_wherever_it_is_kept() -> None:
    one, two = ToolCall("c1", "f", "{}"), ToolCall("c2", "f", "{}")
    assert signatures(asking(ToolCall("c1", "f", "{}", "own"), two)) == ["own", None]
    before = Reasoning("", "before", Dialect.GEMINI)
    assert signatures(asking(before, one, two)) == ["before", None]
    remembered = Target(signature_of={"c2": "kept"}.get, signature_else=NO_SIGNATURE)
    assert signatures(asking(one, two), remembered) == [NO_SIGNATURE, "kept"]
    assert signatures(asking(one, two)) == [None, None]


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "get_weather"}},
            {"mode": "ANY", "allowedFunctionNames": ["get_weather"]},
        ),
    ],
)
def test_tool_choices(choice: Any, written: dict[str, Any]) -> None:
    body = write_request(read_chat(chat(tools=[CHAT_TOOL], tool_choice=choice))).body
    assert body["toolConfig"] == {"functionCallingConfig": written}
    again = read_request(body).tool_choice
    name = "get_weather" if isinstance(choice, dict) else None
    mode = ToolMode.NAMED if name else ToolMode(choice)
    assert again == ToolChoice(mode, name)


def test_settings_have_their_names() -> None:
    asked = {"temperature": 2, "top_p": 0.5, "seed": 3, "stop": ["a"], "max_tokens": 9}
    assert settings(**asked) == {
        "temperature": 2,
        "topP": 0.5,
        "seed": 3,
        "stopSequences": ["a"],
        "maxOutputTokens": 9,
    }


def test_json_modes() -> None:
    assert settings(response_format={"type": "json_object"}) == {
        "responseMimeType": "application/json"
    }
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    assert settings(response_format=form)["responseJsonSchema"] == SCHEMA


def test_efforts_are_budgets_or_levels() -> None:
    assert settings(reasoning_effort="low") == {
        "thinkingConfig": {"thinkingBudget": 1024, "includeThoughts": True}
    }
    assert settings(reasoning_effort="none") == {
        "thinkingConfig": {"thinkingBudget": 0}
    }
    assert settings(reasoning_effort="max")["thinkingConfig"]["thinkingBudget"] == 24576
    by_level = Target(thinks_by_effort=True)
    assert settings(by_level, reasoning_effort="max") == {
        "thinkingConfig": {"thinkingLevel": "HIGH", "includeThoughts": True}
    }


def test_thinking_is_read_in_both_ways() -> None:
    def thinking(**config: Any) -> Thinking | None:
        asked = gemini(generationConfig={"thinkingConfig": config})
        return read_request(asked).thinking

    assert thinking(thinkingBudget=0) == Thinking(enabled=False)
    assert thinking(thinkingBudget=-1) == Thinking(enabled=True)
    assert thinking(thinkingLevel="LOW") == Thinking(effort=Effort.LOW)


def test_schemas_in_googles_own_spelling_are_read() -> None:
    schema = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
    tools = [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]
    (tool,) = read_request(gemini(tools=tools)).tools
    assert getattr(tool, "schema", None) == {
        "type": "object",
        "properties": {"a": {"type": "string"}},
    }


def test_a_url_is_sent_only_to_who_fetches_it() -> None:
    url = "https://example.org/a.png"
    content = [{"type": "image_url", "image_url": {"url": url}}]
    request = read_chat(chat(messages=[{"role": "user", "content": content}]))
    with pytest.raises(Refused) as caught:
        write_request(request)
    assert caught.value.code == "image_url_not_supported"
    assert caught.value.param == "messages[0].content[0].image_url.url"
    body = write_request(request, Target(image_urls=True)).body
    assert body["contents"][0]["parts"] == [{"fileData": {"fileUri": url}}]


def test_audio_goes_inline() -> None:
    audio = {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}}
    request = read_chat(chat(messages=[{"role": "user", "content": [audio]}]))
    assert write_request(request).body["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "audio/wav", "data": PNG}}
    ]


def test_a_stream_of_thoughts_text_and_calls() -> None:
    counts = {"promptTokenCount": 9, "totalTokenCount": 9}
    last = {
        "promptTokenCount": 9,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 4,
        "cachedContentTokenCount": 2,
    }
    call = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "s"}
    events = read(
        stream(
            {
                **parts({"text": "Hm", "thought": True}),
                "usageMetadata": counts,
                "modelVersion": "gemini-x",
                "responseId": "r1",
            },
            parts({"text": "a"}, call, {"functionCall": {"name": "g", "id": "own"}}),
            {**parts({"text": ""}, finishReason="STOP"), "usageMetadata": last},
        )
    )
    assert events == [
        Start("r1", "gemini-x", None, Usage(prompt=9, completion=0)),
        ReasoningDelta("Hm"),
        TextDelta("a"),
        ToolCallStart(0, "call_made_req_0", "f", "s"),
        ToolCallDelta(0, '{"a":1}'),
        ToolCallEnd(0),
        ToolCallStart(1, "own", "g"),
        ToolCallDelta(1, "{}"),
        ToolCallEnd(1),
        Finished(Finish.TOOL_CALLS),
        Counted(Usage(prompt=9, completion=9, cached=2, reasoning=4)),
        End(),
    ]


def test_a_blocked_prompt_is_filtered() -> None:
    reply = read_reply(b'{"promptFeedback":{"blockReason":"SAFETY"}}')
    assert reply.complete
    events = read(stream({"promptFeedback": {"blockReason": "SAFETY"}}))
    assert events[1:] == [Finished(Finish.CONTENT_FILTER), End()]


@pytest.mark.parametrize(
    "reason",
    ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"],
)
def test_a_model_that_went_wrong_has_failed(reason: str) -> None:
    assert isinstance(read(stream(parts(finishReason=reason)))[-1], Failed)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("MAX_TOKENS", Finish.LENGTH),
        ("SAFETY", Finish.CONTENT_FILTER),
        ("IMAGE_SAFETY", Finish.CONTENT_FILTER),
        ("SOMETHING_NEW", Finish.STOP),
    ],
)
def test_reasons_to_stop(reason: str, finish: Finish) -> None:
    found = read(stream(parts({"text": "a"}, finishReason=reason)))
    assert Finished(finish) in found


def test_a_stream_without_a_reason_to_stop_was_cut() -> None:
    found = read(stream(parts({"text": "a"})))[-1]
    assert isinstance(found, Failed)
    assert found.code == "upstream_stream_broken"


@pytest.mark.parametrize("form", ["%s", "[%s]"])
def test_errors_are_read_also_in_a_list(form: str) -> None:
    error = '{"error":{"code":429,"message":"Slow","status":"RESOURCE_EXHAUSTED"}}'
    body = (form % error).encode()
    wanted = Failed("Slow", "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", 429)
    assert read_error(body) == wanted
    assert read(b"data: %b\n\n" % body)[-1] == wanted
    assert read_error(b'{"candidates":[]}') is None


def test_media_and_grounding() -> None:
    web = {"web": {"uri": "https://example.org/", "title": "E"}}
    events = read(
        stream(
            parts(
                {"inlineData": {"mimeType": "image/png", "data": PNG}},
                {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
                groundingMetadata={"groundingChunks": [web]},
                finishReason="STOP",
            )
        )
    )
    assert events[1:4] == [
        ImageMade("image/png", PNG),
        AudioDelta("UklGRg==", media_type="audio/wav"),
        Cited(Dialect.GEMINI, web, "https://example.org/", "E"),
    ]
    assert (
        assemble(read(GeminiStreamWriter(CONTEXT).write(events))).first
        == assemble(events).first
    )


def test_logprobs_have_chats_shape() -> None:
    one = {"token": "a", "logProbability": -0.5}
    found = {
        "chosenCandidates": [one],
        "topCandidates": [{"candidates": [one]}],
    }
    events = read(stream(parts({"text": "a"}, logprobsResult=found)))
    entry = {"token": "a", "logprob": -0.5, "bytes": [97]}
    assert Logprobs([{**entry, "top_logprobs": [entry]}]) in events


def test_a_whole_reply_keeps_signatures() -> None:
    call = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "s"}
    body = {**parts({"text": "a"}, call, finishReason="STOP"), "responseId": "r"}
    reply = read_reply(orjson.dumps(body), "req")
    written = write_reply(reply, CONTEXT)
    assert written["candidates"][0]["content"]["parts"] == [{"text": "a"}, call]
    assert set(FINISH_OUT) == set(Finish)


def test_an_error_is_written_as_google_does() -> None:
    problem = Problem(429, "rate_limit_error", "rate_limit_exceeded", "Slow")
    data = GeminiStreamWriter(CONTEXT).fail(problem)
    assert orjson.loads(data[6:]) == {
        "error": {"code": 429, "message": "Slow", "status": "RESOURCE_EXHAUSTED"}
    }
