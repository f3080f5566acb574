"""Bad requests: what the SDKs raise, and raw ones that no SDK would send."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest

from tests.e2e.conftest import local_provider, only
from tests.parts.gateway import Gateway, Start
from tests.parts.http_text import Message, post
from tests.parts.raw import connect, exchange, read_response

ASK: Any = [{"role": "user", "content": "Hi"}]
CHAT = "/v1/chat/completions"


@pytest.fixture
def client(served: Gateway) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="unused", max_retries=0)


@pytest.fixture
def claude(served: Gateway) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=served.url, api_key="unused", max_retries=0)


def test_unknown_model_names_near_ones(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="tinny", messages=ASK)
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert "tiny" in caught.value.message.replace("tinny", "")


@pytest.mark.parametrize("route", ["completions", "embeddings", "responses"])
def test_unknown_model_on_every_route(client: openai.OpenAI, route: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "completions": lambda: client.completions.create(model="none", prompt="x"),
        "embeddings": lambda: client.embeddings.create(model="none", input="x"),
        "responses": lambda: client.responses.create(model="none", input="x"),
    }
    with pytest.raises(openai.NotFoundError) as caught:
        calls[route]()
    assert caught.value.code == "model_not_found"


def test_unknown_model_in_anthropics_shape(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        claude.messages.create(model="tinny", max_tokens=2, messages=ASK)
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "not_found_error"
    assert "tinny" in body["error"]["message"]
    assert caught.value.request_id


def test_missing_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body={"messages": ASK}, cast_to=object)
    assert caught.value.code == "missing_field"
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("field", "value"),
    [("model", 7), ("model", ""), ("model", None), ("stream", "yes")],
)
def test_wrong_type_names_the_field(
    client: openai.OpenAI, field: str, value: object
) -> None:
    body = {"model": "tiny", "messages": ASK, field: value}
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body=body, cast_to=object)
    assert caught.value.code in {"invalid_field", "missing_field"}
    assert caught.value.param == field


def test_the_upstreams_own_refusal_comes_back(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.post(
            "/chat/completions",
            body={"model": "tiny", "messages": "not a list"},
            cast_to=object,
        )
    assert "messages" in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b'{"model":"tiny",}',
        b'{"model":"tiny","model":"tiny"}',
        b'{"model":"tiny","x":"\xff"}',
        b'{"model":"tiny","x":NaN}',
        b'{"model":"tiny","x":-Infinity}',
        b'{"model":"tiny"} {}',
        b'{"model":"tiny","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=[
        "empty", "cut", "array", "string", "comma", "twice", "utf-8", "nan",
        "infinity", "trailing", "deep",
    ],
)  # fmt: skip
async def test_malformed_json(served: Gateway, body: bytes) -> None:
    reply = await exchange(served.url, post(CHAT, body))
    _assert_error(reply, 400, "invalid_json")


async def test_malformed_json_in_anthropics_shape(served: Gateway) -> None:
    reply = await exchange(served.url, post("/v1/messages", b"{"))
    assert reply.status == 400
    content = json.loads(reply.body)
    assert content["type"] == "error"
    assert content["error"]["type"] == "invalid_request_error"


async def test_oversized_body(gateway: Start, llama: str) -> None:
    config = only(
        local_provider("llama", "llamacpp", llama), server={"maxBodyBytes": 4096}
    )
    running = await gateway(config)
    client = openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0)
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "x" * 5000}]
        )
    assert caught.value.status_code == 413
    assert caught.value.code == "body_too_large"
    # A lie about the length must not help: this body is chunked.
    parts = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    reply = await exchange(running.url, request + parts * 2 + b"0\r\n\r\n")
    _assert_error(reply, 413, "body_too_large")


async def test_wrong_method(served: Gateway) -> None:
    reply = await exchange(served.url, _get("/v1/chat/completions", method="DELETE"))
    _assert_error(reply, 405, "method_not_allowed")
    assert "POST" in (reply.header("allow") or "")


@pytest.mark.parametrize("path", ["/nowhere", "/v2/chat/completions", "/admin/nothing"])
async def test_unknown_route(served: Gateway, path: str) -> None:
    _assert_error(await exchange(served.url, _get(path)), 404, "not_found")


@pytest.mark.parametrize(
    "path",
    ["/v1/../health", "/v1/./models", "/v1/%2e%2e/x", "/v1%2fmodels", "/v1\\models",
     "/v1/%5Cmodels", "/providers/llama/..%2f..%2fetc"],
)  # fmt: skip
async def test_odd_path(served: Gateway, path: str) -> None:
    _assert_error(await exchange(served.url, _get(path)), 400, "invalid_path")


async def test_a_foreign_host_is_forbidden(served: Gateway) -> None:
    reply = await exchange(
        served.url, b"GET /v1/models HTTP/1.1\r\nhost: evil.example\r\n\r\n"
    )
    _assert_error(reply, 403, "forbidden")


async def test_a_foreign_origin_is_forbidden(served: Gateway) -> None:
    request = _get("/v1/models", "origin: http://evil.example")
    _assert_error(await exchange(served.url, request), 403, "forbidden")


async def test_an_unreachable_provider_is_named_in_no_message(
    gateway: Start,
) -> None:
    config = only(
        local_provider("gone", "vllm", "http://127.0.0.1:9"),
        models=[{"id": "m", "providerId": "gone"}],
    )
    running = await gateway(config)
    client = openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="m", messages=ASK)
    assert caught.value.code in {"upstream_error", "all_providers_unavailable"}
    assert "127.0.0.1" not in caught.value.message
    assert caught.value.response.headers["x-request-id"] in caught.value.message


async def test_a_slow_sender_is_not_waited_for(gateway: Start, llama: str) -> None:
    limits = {"headTimeoutSeconds": 1, "bodyIdleSeconds": 1}
    running = await gateway(
        only(local_provider("llama", "llamacpp", llama), server=limits)
    )
    whole = post(CHAT, b'{"model":"tiny","messages":[]}')
    for part in (whole[:20], whole[:-5]):
        _assert_error(await exchange(running.url, part), 408, "request_timeout")


async def test_a_connection_serves_on_after_an_error(served: Gateway) -> None:
    reader, writer = await connect(served.url)
    for request, status in (
        (post(CHAT, b"{"), 400),
        (_get("/nowhere"), 404),
        (_get("/v1/models"), 200),
    ):
        writer.write(request)
        reply = await read_response(reader)
        assert reply.status == status
    writer.close()


async def test_every_error_has_the_callers_request_id(served: Gateway) -> None:
    request = _get("/nowhere", "x-request-id: my-own-id")
    reply = await exchange(served.url, request)
    assert reply.header("x-request-id") == "my-own-id"


def _get(path: str, *fields: str, method: str = "GET") -> bytes:
    lines = (f"{method} {path} HTTP/1.1", "host: 127.0.0.1", *fields, "", "")
    return "\r\n".join(lines).encode()


def _assert_error(reply: Message, status: int, code: str) -> None:
    content = json.loads(reply.body)
    assert (reply.status, content["error"]["code"]) == (status, code)
    assert set(content["error"]) >= {"message", "type", "code", "param"}
    assert content["error"]["message"]
