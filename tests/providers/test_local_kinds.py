"""What is special about vLLM, Ollama, LM Studio and llama.cpp."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.base import (
    OPERATIONS,
    Adapter,
    FoundModel,
    Inventory,
    Life,
    ProbeReply,
    Reach,
    Request,
    Settings,
)
from providers.errors import Blame
from providers.llamacpp import LlamaCpp
from providers.lmstudio import LMStudio
from providers.ollama import Ollama
from providers.ollama_api import read_tags
from providers.vllm import VLLM
from tests.contract.servers import (
    LLAMACPP,
    LMSTUDIO,
    LMSTUDIO_OLD,
    OLLAMA,
    Server,
)
from tests.contract.servers import VLLM as VLLM_SERVER

SETTINGS = Settings("p", "http://box.lan:8000")
UNEXPECTED = b'{"error":"Unexpected endpoint or method. (POST /v1/messages)"}'


def listed(adapter: Adapter, server: Server) -> dict[str, FoundModel]:
    return {model.id: model for model in inventory(adapter, server).models}


def inventory(adapter: Adapter, server: Server) -> Inventory:
    found = adapter.read_listing(server.replies_for(adapter))
    assert found is not None
    return found


def reply(value: object, status: int = 200) -> ProbeReply:
    return ProbeReply(status, json.dumps(value).encode())


def url_of(adapter: Adapter, operation: str) -> str:
    request = Request(OPERATIONS[operation], "m", "m", False, frozenset(), ())
    return adapter.prepare(request).url_path


def assert_reach(adapter: Adapter, reach: Reach, *asked: str) -> None:
    found = {text: adapter.reach(*text.split(" ", 1)) for text in asked}
    assert found == dict.fromkeys(asked, reach)


# --- vLLM


def test_vllm_tells_the_window_it_was_started_with() -> None:
    models = listed(VLLM(SETTINGS), VLLM_SERVER)
    assert models["Qwen/Qwen2.5-14B-Instruct"].context_window == 32768
    assert models["my-lora"].context_window is None
    assert all(model.warm for model in models.values())


def test_vllm_is_alive_with_an_empty_body_only() -> None:
    adapter = VLLM(SETTINGS)
    assert adapter.read_liveness(ProbeReply(200, b"")) is Life.UP
    assert adapter.read_liveness(ProbeReply(200, UNEXPECTED)) is Life.DOWN
    assert adapter.read_liveness(ProbeReply(503, b"")) is Life.DOWN


def test_vllms_development_paths_are_the_owners() -> None:
    adapter = VLLM(SETTINGS)
    assert_reach(
        adapter,
        Reach.OWNER,
        "POST /sleep",
        "POST /wake_up",
        "POST /reset_prefix_cache",
        "POST /collective_rpc",
        "GET /is_sleeping",
        "GET /server_info",
        "POST /v1/load_lora_adapter",
        "POST /abort_requests",
        "GET /v1/responses/resp_1",
    )
    assert_reach(
        adapter,
        Reach.INFERENCE,
        "POST /v2/rerank",
        "POST /score",
        "POST /v1/audio/transcriptions",
        "POST /v1/messages/count_tokens",
        "GET /v1/realtime",
    )
    assert_reach(
        adapter, Reach.METADATA, "GET /metrics", "GET /version", "POST /tokenize"
    )


def test_vllm_reranks_below_v1() -> None:
    assert url_of(VLLM(SETTINGS), "rerank") == "/v1/rerank"


# --- Ollama


def test_ollama_tells_what_is_loaded_and_with_which_window() -> None:
    models = listed(Ollama(SETTINGS), OLLAMA)
    assert (models["llama3.1:8b"].warm, models["llama3.1:8b"].context_window) == (
        True,
        4096,
    )
    assert (models["gemma4:latest"].warm, models["gemma4:latest"].context_window) == (
        False,
        None,
    )
    assert models["llama3.1:8b"].family == "llama"


def test_ollama_without_ps_does_not_guess_what_is_loaded() -> None:
    adapter = Ollama(SETTINGS)
    found = adapter.read_listing({"tags": OLLAMA.ask("/api/tags")})
    assert found is not None
    assert {model.warm for model in found.models} == {None}


def test_ollamas_encoders_are_embedding_models() -> None:
    models = listed(Ollama(SETTINGS), OLLAMA)
    assert models["nomic-embed-text:latest"].kind == "embeddings"
    assert models["llama3.1:8b"].kind == "chat"


def test_ollamas_own_word_on_capabilities_counts() -> None:
    gemma = listed(Ollama(SETTINGS), OLLAMA)["gemma4:latest"]
    assert gemma.capabilities == {"vision", "functionCalling", "reasoning"}
    assert gemma.inputs == ("text", "image")
    said = read_tags(
        reply({"models": [{"name": "x-embed", "capabilities": ["completion"]}]})
    )
    assert said is not None
    assert said[0].kind == "chat"


def test_an_ollama_without_models_is_up_and_empty() -> None:
    adapter = Ollama(SETTINGS)
    replies = {"tags": reply({"models": None}), "version": OLLAMA.ask("/api/version")}
    assert adapter.read_listing(replies) == Inventory(())
    assert adapter.recognises(replies)


def test_a_llamacpp_that_answers_api_tags_is_no_ollama() -> None:
    tags = {"models": [{"name": "tiny", "model": "tiny"}]}
    assert not Ollama(SETTINGS).recognises({"tags": reply(tags)})


def test_ollamas_models_are_changed_by_the_owner_alone() -> None:
    adapter = Ollama(SETTINGS)
    assert_reach(
        adapter,
        Reach.OWNER,
        "POST /api/pull",
        "POST /api/push",
        "POST /api/create",
        "POST /api/copy",
        "DELETE /api/delete",
        "POST /api/delete",
        "HEAD /api/blobs/sha256:0a",
        "POST /api/blobs/sha256:0a",
        "POST /api/experimental/web_search",
        "GET /api/chat",
        "POST /v1/messages/count_tokens",
    )
    assert_reach(
        adapter,
        Reach.INFERENCE,
        "POST /api/chat",
        "POST /api/generate",
        "POST /api/embed",
        "POST /api/embeddings",
        "POST /v1/messages",
        "POST /v1/responses",
    )
    assert_reach(
        adapter,
        Reach.METADATA,
        "GET /",
        "HEAD /",
        "GET /api/tags",
        "GET /api/ps",
        "POST /api/show",
        "GET /api/version",
        "GET /v1/models/llama3.1:8b",
    )


def test_ollamas_full_queue_is_overload_and_its_missing_model_the_callers() -> None:
    adapter = Ollama(SETTINGS)
    busy = (
        b'{"error":"server busy, please try again. maximum pending requests exceeded"}'
    )
    assert adapter.interpret(503, (), busy).blame is Blame.OVERLOADED
    missing = adapter.interpret(404, (), b'{"error":"model \'x\' not found"}')
    assert (missing.blame, missing.message) == (Blame.CALLER, "model 'x' not found")


# --- LM Studio


def test_lmstudio_tells_loaded_instances_their_windows_and_its_slots() -> None:
    found = inventory(LMStudio(SETTINGS), LMSTUDIO)
    models = {model.id: model for model in found.models}
    assert found.slots == 4
    assert (models["qwen/qwen3-4b"].warm, models["qwen/qwen3-4b"].context_window) == (
        True,
        8192,
    )
    assert models["qwen/qwen3-4b"].capabilities == {"functionCalling"}
    gemma = models["google/gemma-3-4b"]
    assert (gemma.warm, gemma.context_window) == (False, 131072)
    assert gemma.inputs == ("text", "image")
    assert models["text-embedding-nomic-embed-text-v1.5"].kind == "embeddings"


def test_an_lmstudio_instance_answers_to_its_own_name_too() -> None:
    second = listed(LMStudio(SETTINGS), LMSTUDIO)["second"]
    assert (second.warm, second.context_window, second.family) == (True, 4096, "qwen3")


def test_an_older_lmstudio_is_read_by_its_older_lists() -> None:
    adapter = LMStudio(SETTINGS)
    models = listed(adapter, LMSTUDIO_OLD)
    assert (models["qwen/qwen3-4b"].warm, models["qwen/qwen3-4b"].context_window) == (
        True,
        8192,
    )
    plain = Server({"/v1/models": LMSTUDIO.answers["/v1/models"]}, LMSTUDIO.elsewhere)
    assert listed(adapter, plain)["qwen/qwen3-4b"].warm is None
    for server in (LMSTUDIO_OLD, plain):
        assert adapter.recognises(server.replies_for(adapter))
        assert adapter.read_liveness(server.ask("/api/v1/models")) is Life.UP


def test_a_vision_model_of_the_older_list_takes_images() -> None:
    entry = {"id": "v", "type": "vlm", "state": "not-loaded", "max_context_length": 9}
    found = LMStudio(SETTINGS).read_listing({"legacy": reply({"data": [entry]})})
    assert found is not None
    assert found.models[0].inputs == ("text", "image")
    assert (found.models[0].warm, found.models[0].kind) == (False, "chat")


def test_an_lmstudio_that_wants_a_key_is_refused_and_not_asked_otherwise() -> None:
    adapter = LMStudio(SETTINGS)
    assert adapter.read_liveness(reply({"error": "token"}, 401)) is Life.REFUSED


def test_lmstudios_200_for_a_path_it_has_not_is_a_404() -> None:
    fault = LMStudio(SETTINGS).interpret(200, (), UNEXPECTED)
    assert (fault.blame, fault.status) == (Blame.CALLER, 404)


def test_lmstudios_models_are_loaded_by_the_owner_alone() -> None:
    adapter = LMStudio(SETTINGS)
    assert_reach(
        adapter,
        Reach.OWNER,
        "POST /api/v1/models/load",
        "POST /api/v1/models/unload",
        "POST /api/v1/models/download",
        "GET /api/v1/models/download/status",
        "GET /system",
        "GET /diagnostics",
        "GET /files",
        "GET /repository",
        "GET /plugins",
        "GET /anything",
        "GET /llm/",
        "POST /llm",
        "GET /API/V1/models/load",
    )
    assert_reach(
        adapter,
        Reach.INFERENCE,
        "GET /llm",
        "GET /embedding",
        "POST /api/v1/chat",
        "POST /api/v0/chat/completions",
        "POST /v1/messages",
    )
    assert_reach(
        adapter,
        Reach.METADATA,
        "GET /lmstudio-greeting",
        "GET /api/v0/models/qwen/qwen3-4b",
    )
    assert adapter.capabilities.websocket


# --- llama.cpp


def test_llamacpp_tells_its_slots_and_what_one_slot_holds() -> None:
    found = inventory(LlamaCpp(SETTINGS), LLAMACPP)
    assert found.slots == 2
    (model,) = found.models
    assert (model.id, model.context_window, model.warm) == ("tiny", 2048, True)
    assert model.inputs == ("text", "image")
    assert model.capabilities == {"vision"}
    assert model.kind is None


def test_llamacpp_without_props_still_lists() -> None:
    adapter = LlamaCpp(SETTINGS)
    found = adapter.read_listing({"models": LLAMACPP.ask("/v1/models")})
    assert found is not None
    assert (found.slots, found.models[0].context_window) == (None, 4096)


def test_a_llamacpp_router_tells_which_models_are_loaded() -> None:
    def entry(name: str, state: str) -> dict[str, Any]:
        return {"id": name, "owned_by": "llamacpp", "status": {"value": state}}

    data = [entry("a", "loaded"), entry("b", "unloaded"), entry("c", "odd")]
    found = LlamaCpp(SETTINGS).read_listing({
        "models": reply({"object": "list", "data": data}),
        "props": reply({"role": "router"}),
    })  # fmt: skip
    assert found is not None
    assert [model.warm for model in found.models] == [True, False, None]


@pytest.mark.parametrize(
    ("status", "value", "life"),
    [
        (200, {"status": "ok"}, Life.UP),
        (200, {"status": "error"}, Life.DOWN),
        (503, {"error": {"code": 503, "message": "Loading model"}}, Life.LOADING),
        (503, {"error": {"code": 503, "message": "something else"}}, Life.DOWN),
    ],
)
def test_a_loading_llamacpp_is_not_down(
    status: int, value: dict[str, Any], life: Life
) -> None:
    assert LlamaCpp(SETTINGS).read_liveness(reply(value, status)) is life


def test_what_a_llamacpp_was_not_started_for_is_no_outage() -> None:
    error = {
        "code": 501,
        "message": "This server does not support embeddings.",
        "type": "x",
    }
    fault = LlamaCpp(SETTINGS).interpret(501, (), json.dumps({"error": error}).encode())
    assert (fault.blame, fault.status) == (Blame.CALLER, 400)
    assert fault.code == "unsupported_operation"
    assert "does not support embeddings" in fault.message


def test_llamacpps_state_is_the_owners() -> None:
    adapter = LlamaCpp(SETTINGS)
    assert_reach(
        adapter,
        Reach.OWNER,
        "GET /slots",
        "POST /slots/0",
        "POST /props",
        "POST /lora-adapters",
        "POST /models/load",
        "POST /models/unload",
        "GET /tools",
        "POST /tools",
        "GET /cors-proxy",
        "GET /v1/stream/abc",
        "POST /v1/chat/completions/control",
    )
    assert_reach(
        adapter,
        Reach.INFERENCE,
        "POST /completion",
        "POST /infill",
        "POST /reranking",
        "POST /v1/rerank",
    )
    assert_reach(
        adapter,
        Reach.METADATA,
        "GET /health",
        "GET /props",
        "POST /tokenize",
        "POST /v1/responses/input_tokens",
    )
