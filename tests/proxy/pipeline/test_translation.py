"""Callers whose dialect the provider does not speak: what is sent, what comes back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from proxy.pipeline.talk import Talk
from proxy.relay.translate import Translated
from tests.parts.faulty import Peer
from tests.parts.http_text import (
    LAST_CHUNK,
    Message,
    chunk,
    data_of,
    events,
    post,
    whole,
)
from tests.parts.inside import CHAT, MESSAGES, RESPONSES, OpenSite, Site
from tests.parts.scripts import (
    DONE,
    EVENT,
    USAGE,
    answers,
    stream,
    then_close,
    then_wait,
)
from tests.parts.until import until

ASKED: dict[str, Any] = {
    "model": "tiny",
    "max_tokens": 20,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Hello"}],
}
ANSWER = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "tiny-1b",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
}
FINISH = (
    b'data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
)


def asked(**more: Any) -> bytes:
    return json.dumps({**ASKED, **more}).encode()


def named(reply: Message) -> list[str]:
    """The names of a reply's events."""
    return [
        line.removeprefix(b"event: ").decode()
        for event in events(reply.body)
        for line in event.splitlines()
        if line.startswith(b"event: ")
    ]


@pytest.fixture
async def plain(open_site: OpenSite) -> Site:
    """A provider that speaks chat and nothing else."""
    answer = answers(whole(json.dumps(ANSWER).encode()))
    return await open_site(answer, provider={"kind": "openai-compatible"})


@pytest.mark.parametrize("path", [MESSAGES, RESPONSES])
async def test_no_prompt_is_kept_while_its_answer_is_translated(
    open_site: OpenSite, path: str
) -> None:
    go = asyncio.Event()

    async def slowly(peer: Peer, request: Message) -> None:
        await peer.send(stream(EVENT, end=b""))
        await peer.wait(go)
        await peer.send(chunk(FINISH + USAGE + DONE) + LAST_CHUNK)

    site = await open_site(slowly, provider={"kind": "openai-compatible"})
    caller = await site.caller()
    prompt = "remember " * 1000
    turn = [{"role": "user", "content": prompt}]
    body = {"model": "tiny", "stream": True, "max_tokens": 20, "messages": turn}
    if path == RESPONSES:
        body = {"model": "tiny", "stream": True, "store": False, "input": turn}
    caller.send(post(path, json.dumps(body).encode()))
    courses = site.runtime.pipeline._courses
    await until(lambda: courses, "a call")
    [course] = courses
    await until(lambda: course.call.body.whole is None, "the body has gone")
    assert course.order is not None
    talk = course.order.translation
    assert isinstance(talk, Talk)
    assert (talk.body, talk.asked.messages, talk.turn) == (b"", (), None)
    assert isinstance(course.watch, Translated)
    assert prompt not in repr(course.watch._writer.context)
    go.set()
    reply = await caller.reply()
    assert named(reply)[-1] in ("message_stop", "response.completed")
    assert (await site.record()).code is None


async def test_a_message_is_asked_and_answered_as_chat(plain: Site) -> None:
    reply = await plain.ask(post(MESSAGES, asked(), "anthropic-beta: odd-2026-01-01"))
    assert reply.status == 200
    [sent] = plain.upstream.requests
    assert sent.target == CHAT
    assert json.loads(sent.body) == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
        ],
        "max_tokens": 20,
    }
    assert sent.header("anthropic-beta") is None
    assert sent.header("content-type") == "application/json"
    found = json.loads(reply.body)
    assert found["type"] == "message"
    assert found["content"] == [{"type": "text", "text": "Hi."}]
    assert found["stop_reason"] == "end_turn"
    assert found["usage"] == {"input_tokens": 3, "output_tokens": 5}
    record = await plain.record()
    assert (record.prompt_tokens, record.completion_tokens) == (3, 5)
    assert reply.header("content-type") == "application/json"
    assert reply.header("x-proxy-provider") == "box"


async def test_a_streamed_message_is_asked_and_answered_as_chat(plain: Site) -> None:
    plain.upstream.script = answers(stream(EVENT, EVENT, FINISH, USAGE, DONE))
    reply = await plain.ask(post(MESSAGES, asked(stream=True)))
    [sent] = plain.upstream.requests
    assert json.loads(sent.body)["stream_options"] == {"include_usage": True}
    assert named(reply) == [
        "message_start", "content_block_start", "content_block_delta",
        "content_block_delta", "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    record = await plain.record()
    assert (record.prompt_tokens, record.completion_tokens) == (3, 5)
    assert record.code is None
    assert (reply.header("content-type") or "").startswith("text/event-stream")


async def test_a_stream_may_be_cut_anywhere(plain: Site) -> None:
    whole_stream = EVENT + FINISH + USAGE + DONE
    texts = set()
    for cut in range(1, len(whole_stream), 7):
        pieces = (whole_stream[:cut], whole_stream[cut:])
        plain.upstream.script = answers(stream(*pieces))
        reply = await plain.ask(post(MESSAGES, asked(stream=True)))
        assert named(reply)[-1] == "message_stop"
        texts.add(reply.body.count(b'"text_delta"'))
    assert texts == {1}


async def test_a_stream_that_breaks_does_not_look_complete(plain: Site) -> None:
    plain.upstream.script = then_close(stream(EVENT, FINISH, end=b""))
    reply = await plain.ask(post(MESSAGES, asked(stream=True)))
    assert named(reply)[-1] == "error"
    assert "message_stop" not in named(reply)
    assert data_of(events(reply.body)[-1])["error"]["code"] == "upstream_stream_broken"  # type: ignore[index]
    assert (await plain.record()).code == "upstream_stream_broken"


async def test_a_stream_without_its_terminator_does_not_look_complete(
    plain: Site,
) -> None:
    plain.upstream.script = answers(stream(EVENT, FINISH, USAGE))
    reply = await plain.ask(
        post(RESPONSES, b'{"model":"tiny","input":"x","stream":true}')
    )
    assert named(reply)[-1] == "response.failed"
    numbers = [data_of(event)["sequence_number"] for event in events(reply.body)]  # type: ignore[index]
    assert numbers == list(range(len(numbers)))


async def test_an_error_in_the_stream_is_told_in_the_callers_dialect(
    plain: Site,
) -> None:
    failure = b'data: {"error":{"message":"out of memory","code":500}}\n\n'
    plain.upstream.script = answers(stream(EVENT, failure))
    reply = await plain.ask(post(MESSAGES, asked(stream=True)))
    assert named(reply)[-1] == "error"
    assert b"out of memory" in reply.body
    assert (await plain.record()).code == "upstream_error"


async def test_a_refusal_is_told_in_the_callers_dialect(plain: Site) -> None:
    said = {"error": {"message": "no such tool", "type": "x", "param": "tools"}}
    plain.upstream.script = answers(whole(json.dumps(said).encode(), status=400))
    reply = await plain.ask(post(MESSAGES, asked()))
    assert reply.status == 400
    found = json.loads(reply.body)
    assert found["type"] == "error"
    assert found["error"]["type"] == "invalid_request_error"
    assert "no such tool" in found["error"]["message"]


async def test_hints_that_cannot_be_said_are_reported(plain: Site) -> None:
    reply = await plain.ask(post(MESSAGES, asked(inference_geo="eu")))
    assert reply.status == 200
    assert "dropped=inference_geo" in (reply.header("x-proxy-applied") or "")


async def test_what_must_not_be_left_out_is_refused_by_name(plain: Site) -> None:
    reply = await plain.ask(post(MESSAGES, asked(container="c")))
    assert reply.status == 400
    error = json.loads(reply.body)["error"]
    assert error["code"] == "unsupported_parameter"
    assert "container" in error["message"]
    assert not plain.upstream.requests


async def test_an_image_that_is_none_is_refused_by_name(plain: Site) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "é"}
    content = [{"type": "image", "source": source}]
    turns = [{"role": "user", "content": content}]
    reply = await plain.ask(post(MESSAGES, asked(messages=turns)))
    assert reply.status == 400
    assert json.loads(reply.body)["error"]["code"] == "image_decode_error"


async def test_an_answer_of_another_shape_is_the_providers_fault(plain: Site) -> None:
    plain.upstream.script = answers(whole(b'{"odd":1}'))
    reply = await plain.ask(post(MESSAGES, asked()))
    assert reply.status == 502
    assert json.loads(reply.body)["error"]["code"] == "upstream_error"


async def test_a_whole_answer_to_a_stream_is_streamed(plain: Site) -> None:
    reply = await plain.ask(post(MESSAGES, asked(stream=True)))
    assert named(reply)[-1] == "message_stop"
    assert b"Hi." in reply.body


async def test_failover_writes_each_provider_its_own_request(
    open_site: OpenSite,
) -> None:
    other = await open_site(answers(whole(json.dumps(ANSWER).encode())))
    site = await open_site(
        answers(whole(b'{"type":"error"}', status=500)),
        provider={"kind": "anthropic"},
        others=[
            {
                "id": "second",
                "kind": "openai-compatible",
                "endpoint": other.upstream.url,
            }
        ],
        models=[
            {
                "id": "tiny",
                "providers": [
                    {"id": "box", "upstreamModel": "claude-x"},
                    {"id": "second", "upstreamModel": "org/tiny"},
                ],
            }
        ],
    )
    body = {"model": "tiny", "input": "Hello", "max_output_tokens": 9}
    reply = await site.ask(post(RESPONSES, json.dumps(body).encode()))
    assert reply.status == 200, reply.body
    [first], [second] = site.upstream.requests, other.upstream.requests
    assert (first.target, second.target) == (MESSAGES, CHAT)
    assert json.loads(first.body)["model"] == "claude-x"
    assert json.loads(second.body)["model"] == "org/tiny"
    assert reply.header("x-proxy-attempts") == "2"
    assert json.loads(reply.body)["object"] == "response"


async def test_what_the_operator_sets_for_a_model_is_said_too(
    open_site: OpenSite,
) -> None:
    params = {"set": {"temperature": 0.25}, "strip": ["top_k"]}
    site = await open_site(
        answers(whole(json.dumps(ANSWER).encode())),
        provider={"kind": "openai-compatible"},
        models=[{"id": "tiny", "providerId": "box", "params": params}],
    )
    reply = await site.ask(post(MESSAGES, asked(top_k=3)))
    sent = json.loads(site.upstream.requests[0].body)
    assert sent["temperature"] == 0.25
    assert "top_k" not in sent
    assert reply.header("x-proxy-applied") == "set=temperature, dropped=top_k"


async def test_an_image_that_nobody_fetches_is_refused_by_name(
    open_site: OpenSite,
) -> None:
    site = await open_site(provider={"kind": "ollama"})
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    turns = [{"role": "user", "content": [image]}]
    body = {"model": "tiny", "messages": turns, "options": {"num_ctx": 8192}}
    reply = await site.ask(post(CHAT, json.dumps(body).encode()))
    assert reply.status == 400
    error = json.loads(reply.body)["error"]
    assert error["code"] == "image_url_not_supported"
    assert error["param"] == "messages[0].content[0].image_url.url"
    assert not site.upstream.requests


async def test_what_was_left_out_is_told_within_bounds(plain: Site) -> None:
    odd = {f"odd_{n}_{'x' * 100}\r\n": n for n in range(100)}
    reply = await plain.ask(post(MESSAGES, asked(**odd)))
    assert reply.status == 200
    told = reply.header("x-proxy-applied") or ""
    assert 24 <= told.count("dropped=") <= 25
    assert len(told) < 2000


async def test_who_can_say_it_is_asked_instead(open_site: OpenSite) -> None:
    other = await open_site(answers(whole(json.dumps(ANSWER).encode())))
    site = await open_site(
        provider={"kind": "ollama"},
        others=[
            {
                "id": "second",
                "kind": "openai-compatible",
                "endpoint": other.upstream.url,
            }
        ],
        models=[{"id": "tiny", "providers": [{"id": "box"}, {"id": "second"}]}],
    )
    tool = {"type": "function", "function": {"name": "look"}}
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hi"}],
        "options": {"num_ctx": 8192},
        "tools": [tool],
        "tool_choice": "required",
    }
    reply = await site.ask(post(CHAT, json.dumps(body).encode()))
    assert reply.status == 200
    assert reply.header("x-proxy-provider") == "second"
    assert not site.upstream.requests
    [box, _] = site.runtime.registry.providers
    assert (box.failures, box.active) == (0, 0)


async def test_an_error_in_an_answer_that_says_200_is_an_error(plain: Site) -> None:
    body = b'{"error":{"message":"out of memory","code":500}}'
    plain.upstream.script = answers(whole(body))
    for stream_ in (False, True):
        reply = await plain.ask(post(MESSAGES, asked(stream=stream_)))
        assert reply.status == 502
        assert json.loads(reply.body)["type"] == "error"


async def test_who_leaves_a_translated_stream_is_left_by_the_provider(
    plain: Site,
) -> None:
    plain.upstream.script = then_wait(stream(EVENT, end=b""))
    caller = await plain.caller()
    caller.send(post(MESSAGES, asked(stream=True)))
    await caller.until(b"text_delta")
    caller.leave()
    record = await plain.record()
    assert (record.status, record.code) == (499, "client_closed_request")
    await until(lambda: not plain.upstream.open_peers, "the provider to be left")


async def test_comments_go_out_while_a_provider_is_silent(
    open_site: OpenSite,
) -> None:
    line = b'{"message":{"role":"assistant","content":"Hi"},"done":false}\n'
    site = await open_site(
        then_wait(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n"
            b"transfer-encoding: chunked\r\n\r\n" + chunk(line)
        ),
        provider={"kind": "ollama"},
    )
    turns = [{"role": "user", "content": "hi"}]
    body = {"model": "tiny", "messages": turns, "stream": True, "think": False}
    caller = await site.caller()
    caller.send(post(CHAT, json.dumps(body).encode()))
    await caller.until(b'"Hi"')
    site.later(16)
    await caller.until(b": keep-alive")


async def test_what_the_operator_sets_for_the_provider_reaches_it(
    open_site: OpenSite,
) -> None:
    site = await open_site(
        answers(whole(json.dumps(ANSWER).encode())),
        provider={"kind": "openai-compatible"},
        models=[
            {
                "id": "tiny",
                "providerId": "box",
                "params": {"set": {"chat_template_kwargs": {"enable_thinking": False}}},
            }
        ],
    )
    reply = await site.ask(post(MESSAGES, asked(inference_geo="eu")))
    sent = json.loads(site.upstream.requests[0].body)
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    told = reply.header("x-proxy-applied")
    assert told == "set=chat_template_kwargs, dropped=inference_geo"


async def test_embeddings_are_no_stream(open_site: OpenSite) -> None:
    body = b'{"embeddings":[[0.5]],"prompt_eval_count":1}'
    site = await open_site(answers(whole(body)), provider={"kind": "ollama"})
    reply = await site.ask(post("/api/embed", b'{"model":"tiny","input":"a"}'))
    assert reply.body == body
    record = await site.record()
    assert not record.stream
    assert record.prompt_tokens == 1
