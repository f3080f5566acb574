"""What is special about OpenAI, OpenRouter, Ollama Cloud, Z.ai and unknown servers."""

from __future__ import annotations

import json

import pytest

from providers.base import (
    OPERATIONS,
    Adapter,
    Life,
    Prepared,
    ProbeReply,
    Reach,
    Request,
    Settings,
)
from providers.errors import Blame
from providers.ollama_cloud import OllamaCloud
from providers.openai import OpenAI
from providers.openai_compatible import ENGINE_FIELDS, OpenAICompatible
from providers.openrouter import OpenRouter
from providers.registry import KINDS, adapter_for
from providers.wire.chat import ChatWatch
from providers.wire.translate.chat.stream_reader import ChatStreamReader
from providers.wire.translate.reply import Reply, assemble
from providers.zai import ZAI
from tests.contract.servers import OPENROUTER


def make(cls: type[OpenAICompatible], url: str | None = None) -> OpenAICompatible:
    return cls(Settings("p", url or cls.default_url or "", key="key-of-ours"))


def prepared(adapter: Adapter, operation: str = "chat", *fields: str) -> Prepared:
    return adapter.prepare(
        Request(OPERATIONS[operation], "m", "m", False, frozenset(fields), ())
    )


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("http://box.lan:1234", "/v1/chat/completions"),
        ("http://box.lan:1234/openai", "/openai/v1/chat/completions"),
        ("https://api.example/serve/a/", "/serve/a/v1/chat/completions"),
        ("https://api.example/api/paas/v4", "/api/paas/v4/chat/completions"),
        ("https://api.example/v1beta", "/v1beta/chat/completions"),
        ("https://api.example/client/v4/ai", "/client/v4/ai/v1/chat/completions"),
    ],
)
def test_a_base_url_is_a_prefix_and_a_version_at_its_end_takes_the_place_of_v1(
    base: str, path: str
) -> None:
    assert prepared(make(OpenAICompatible, base)).url_path == path


def test_below_a_versioned_base_an_odd_v1_path_finds_its_place() -> None:
    adapter = make(ZAI)
    assert adapter.passage("/v1/files?a=1", ()).url_path == "/api/paas/v4/files?a=1"
    assert adapter.passage("/files", ()).url_path == "/api/paas/v4/files"
    assert adapter.reach("POST", "/v1/chat/completions") is Reach.INFERENCE
    assert adapter.reach("POST", "/chat/completions") is Reach.INFERENCE
    assert adapter.reach("POST", "/v1/v1/chat/completions") is Reach.OWNER


def test_openai_is_spared_what_only_engines_know() -> None:
    fields = ("model", "top_k", "cache_salt", "guided_json", "seed")
    sent = prepared(make(OpenAI), "chat", *fields)
    assert sent.dropped == ("cache_salt", "top_k")
    assert make(OpenAI).stripped_fields == ENGINE_FIELDS


def test_openai_has_no_anthropic_side_and_knows_how_to_count() -> None:
    capabilities = OpenAI.capabilities
    assert not {"messages", "count_tokens", "rerank"} & capabilities.operations
    assert capabilities.usage_option
    assert make(OpenAI).reach("GET", "/v1/realtime") is Reach.INFERENCE


def test_openrouter_keeps_the_sampling_it_knows() -> None:
    fields = ("model", "top_k", "min_p", "cache_salt", "priority", "provider")
    assert prepared(make(OpenRouter), "chat", *fields).dropped == (
        "cache_salt",
        "priority",
    )


def test_openrouter_gets_a_neutral_title_unless_the_operator_names_one() -> None:
    assert ("x-openrouter-title", "local-ai") in prepared(make(OpenRouter)).headers
    named = (("HTTP-Referer", "https://app.example"), ("X-OpenRouter-Title", "App"))
    settings = Settings("p", OpenRouter.default_url or "", headers=named)
    headers = prepared(OpenRouter(settings)).headers
    assert dict(headers)["x-openrouter-title"] == "App"
    assert dict(headers)["http-referer"] == "https://app.example"
    assert len([name for name, _ in headers if name == "x-openrouter-title"]) == 1


def test_openrouter_reports_usage_unasked() -> None:
    assert not OpenRouter.capabilities.usage_option


def test_openrouter_lists_windows_senses_and_skills() -> None:
    adapter = make(OpenRouter)
    found = adapter.read_listing(OPENROUTER.replies_for(adapter))
    assert found is not None
    (model,) = found.models
    assert (model.context_window, model.kind) == (131072, "chat")
    assert model.capabilities == {"functionCalling", "reasoning", "vision"}


def test_openrouters_account_is_the_owners() -> None:
    adapter = make(OpenRouter)
    for path in ("/v1/credits", "/v1/key", "/v1/generation", "/v1/keys"):
        assert adapter.reach("GET", path) is Reach.OWNER


def test_openrouters_errors_in_a_200_keep_their_number() -> None:
    body = {"error": {"code": 429, "message": "Rate limited", "metadata": {}}}
    fault = make(OpenRouter).interpret(200, (), json.dumps(body).encode())
    assert (fault.blame, fault.status, fault.code) == (Blame.RATE, 429, None)


def test_openrouters_streams_have_comments_a_cost_and_numbered_errors() -> None:
    head = {"id": "gen-1", "object": "chat.completion.chunk", "model": "q/q"}
    usage = {
        "prompt_tokens": 7,
        "completion_tokens": 1,
        "cost": 0.00014,
        "cost_details": {"upstream_inference_cost": 0.0001},
        "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 2},
    }
    stop = {"index": 0, "delta": {}, "finish_reason": "stop"}
    said = head | {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}
    comment = b": OPENROUTER PROCESSING\n\n"
    end = head | {"choices": [stop], "usage": usage}

    def read(*chunks: object) -> tuple[Reply, ChatWatch]:
        events = [b"data: " + json.dumps(chunk).encode() for chunk in chunks]
        raw = comment + b"\n\n".join([*events, b"data: [DONE]", b""])
        reader, watch = ChatStreamReader("x"), ChatWatch()
        assert watch.see(raw) == raw
        return assemble([*reader.feed(raw), *reader.close()]), watch

    reply, watch = read(said, end)
    for counted in (reply.usage, watch.usage):
        assert counted is not None
        assert counted.cost_usd == 0.00014
        assert (counted.cached, counted.cache_write) == (5, 2)
    broken = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
    failed = {"error": {"code": 502, "message": "gone"}, "choices": [broken]}
    reply, watch = read(said, head | failed)
    assert reply.failure is not None
    assert (reply.failure.message, watch.error) == ("gone", "gone")


def test_openrouter_takes_breakpoints_and_reasoning_back() -> None:
    target = make(OpenRouter).target_of("anthropic/claude-sonnet-5")
    assert (target.cache_control, target.reasoning_field) == (True, "reasoning")
    assert make(ZAI).target_of("glm-4.7").reasoning_field == "reasoning_content"
    assert make(OpenAI).target_of("gpt-6").limit_field == "max_completion_tokens"


@pytest.mark.parametrize("status", [404, 410])
def test_a_model_gone_from_ollama_cloud_is_said_to_be_retired(status: int) -> None:
    fault = make(OllamaCloud).interpret(status, (), b'{"error":"model not found"}')
    assert fault.blame is Blame.CALLER
    assert fault.message.startswith("model not found. ")
    assert "retire" in fault.message


def test_ollama_cloud_speaks_both_of_ollamas_sides() -> None:
    adapter = make(OllamaCloud)
    assert adapter.reach("POST", "/api/chat") is Reach.INFERENCE
    assert adapter.reach("POST", "/api/pull") is Reach.OWNER
    assert prepared(adapter, "messages").url_path == "/v1/messages"
    assert ("authorization", "Bearer key-of-ours") in prepared(adapter).headers


@pytest.mark.parametrize(
    ("base", "home"),
    [
        ("https://api.z.ai/api/paas/v4", "/api"),
        ("https://api.z.ai/api/coding/paas/v4", "/api"),
        ("http://front.lan/zai/api/paas/v4", "/zai/api"),
    ],
)
def test_zais_anthropic_side_is_beside_its_openai_side(base: str, home: str) -> None:
    adapter = make(ZAI, base)
    prefix = base.partition("//")[2].partition("/")[2]
    assert prepared(adapter).url_path == f"/{prefix}/chat/completions"
    assert prepared(adapter, "messages").url_path == f"{home}/anthropic/v1/messages"


def test_zai_probes_its_list_below_its_own_base() -> None:
    assert {probe.path for probe in (ZAI.liveness, *ZAI.listing)} == {"/models"}


def test_a_rate_limited_cloud_is_not_down() -> None:
    assert make(OpenAI).read_liveness(ProbeReply(429, b"")) is Life.UP


def test_an_unknown_server_is_asked_for_openais_dialect_alone() -> None:
    operations = OpenAICompatible.capabilities.operations
    assert not {"messages", "responses", "count_tokens"} & operations
    assert {"chat", "rerank", "speech"} <= operations


def test_the_registry_makes_each_kind_with_its_settings() -> None:
    settings = Settings("mine", "http://box.lan")
    for kind, cls in KINDS.items():
        made = adapter_for(kind, settings)
        assert type(made) is cls
        assert made.settings is settings
