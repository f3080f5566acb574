"""What is special about Gemini's own API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.base import (
    NATIVE,
    OPERATIONS,
    Life,
    ProbeReply,
    Reach,
    Request,
    Settings,
)
from providers.errors import Blame, Fault
from providers.gemini import NO_SIGNATURE, Gemini, resource
from tests.contract.servers import GEMINI

URL = "https://generativelanguage.googleapis.com"
BAD_KEY = {
    "code": 400,
    "message": "API key not valid. Please pass a valid API key.",
    "status": "INVALID_ARGUMENT",
    "details": [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
        }
    ],
}


def make(url: str = URL, **changes: Any) -> Gemini:
    return Gemini(
        Settings(**{"id": "p", "base_url": url, "key": "k-of-ours"} | changes)
    )


def path_of(
    operation: str,
    model: str = "gemini-3.8-flash",
    *,
    stream: bool = False,
    url: str = URL,
    query: str = "",
) -> str:
    request = Request(NATIVE[operation], model, model, stream, frozenset(), (), query)
    return make(url).prepare(request).url_path


def fault(error: dict[str, Any], *, listed: bool = False, **changes: Any) -> Fault:
    body: Any = {"error": error}
    raw = json.dumps([body] if listed else body).encode()
    return make(**changes).interpret(error["code"], (), raw)


def test_the_model_and_the_verb_stand_in_the_path() -> None:
    start = "/v1beta/models/gemini-3.8-flash"
    assert path_of("gemini_generate") == f"{start}:generateContent"
    streamed = path_of("gemini_generate", stream=True)
    assert streamed == f"{start}:streamGenerateContent?alt=sse"
    assert path_of("gemini_embed") == f"{start}:batchEmbedContents"
    assert path_of("gemini_count") == f"{start}:countTokens"
    assert path_of("gemini_generate", query="a=b") == f"{start}:generateContent?a=b"


@pytest.mark.parametrize(
    ("url", "start"),
    [
        (URL, "/v1beta/models/"),
        (URL + "/v1beta", "/v1beta/models/"),
        ("http://front.lan/google", "/google/v1beta/models/"),
        ("http://front.lan/v1alpha", "/v1alpha/models/"),
    ],
)
def test_a_version_at_the_end_of_the_base_is_kept(url: str, start: str) -> None:
    assert path_of("gemini_count", "m", url=url) == f"{start}m:countTokens"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-3.8-flash", "models/gemini-3.8-flash"),
        ("models/gemini-3.8-flash", "models/gemini-3.8-flash"),
        ("tunedModels/mine-1", "tunedModels/mine-1"),
        ("../../v1/files", "models/..%2F..%2Fv1%2Ffiles"),
        ("m:deleteAll?x#y", "models/m%3AdeleteAll%3Fx%23y"),
        ("tunedModels/../x", "tunedModels/..%2Fx"),
    ],
)
def test_no_name_of_a_model_leaves_its_place(model: str, path: str) -> None:
    assert resource(model) == path


def test_its_key_has_a_header_of_its_own() -> None:
    headers = dict(make().passage("/v1beta/models", ()).headers)
    assert headers["x-goog-api-key"] == "k-of-ours"
    assert "authorization" not in headers


def test_everything_that_talks_or_embeds_is_translated() -> None:
    adapter = make()
    for operation in (
        OPERATIONS["chat"],
        OPERATIONS["responses"],
        OPERATIONS["messages"],
        NATIVE["ollama_chat"],
    ):
        assert adapter.way(operation) is NATIVE["gemini_generate"]
    assert adapter.way(OPERATIONS["embeddings"]) is NATIVE["gemini_embed"]
    assert adapter.way(NATIVE["ollama_embed"]) is NATIVE["gemini_embed"]
    assert adapter.way(OPERATIONS["count_tokens"]) is NATIVE["gemini_count"]
    assert adapter.way(OPERATIONS["completions"]) is None
    assert adapter.way(OPERATIONS["image_generations"]) is None


@pytest.mark.parametrize(
    ("model", "is_new"),
    [
        ("gemini-2.5-flash", False),
        ("gemini-1.5-pro", False),
        ("gemini-3-pro-preview", True),
        ("gemini-3.8-flash", True),
        ("gemini-4-argon", True),
        ("gemini-flash-latest", True),
        ("gemma-3-27b-it", False),
    ],
)
def test_since_gemini_3_it_thinks_by_level_and_wants_signatures(
    model: str, is_new: bool
) -> None:
    target = make().target_of(model)
    assert target.thinks_by_effort is is_new
    assert target.signature_else == (NO_SIGNATURE if is_new else None)


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(
    ("code", "status", "blame"),
    [
        (400, "INVALID_ARGUMENT", Blame.CALLER),
        (400, "FAILED_PRECONDITION", Blame.BROKEN),
        (401, "UNAUTHENTICATED", Blame.KEY),
        (403, "PERMISSION_DENIED", Blame.KEY),
        (404, "NOT_FOUND", Blame.CALLER),
        (429, "RESOURCE_EXHAUSTED", Blame.RATE),
        (499, "CANCELLED", Blame.BROKEN),
        (500, "INTERNAL", Blame.BROKEN),
        (503, "UNAVAILABLE", Blame.OVERLOADED),
        (504, "DEADLINE_EXCEEDED", Blame.BROKEN),
    ],
)
def test_its_errors_are_told_apart_alone_or_in_a_list(
    code: int, status: str, blame: Blame, listed: bool
) -> None:
    found = fault({"code": code, "message": "said", "status": status}, listed=listed)
    assert (found.blame, found.status, found.code) == (blame, code, status)
    assert found.message == "said"


def test_a_wrong_key_is_ours_though_it_comes_as_a_bad_request() -> None:
    found = fault(BAD_KEY)
    assert (found.blame, found.status) == (Blame.KEY, 401)
    assert fault(BAD_KEY, forward_auth=True).blame is Blame.CALLER
    reply = ProbeReply(400, json.dumps({"error": BAD_KEY}).encode())
    assert make().read_liveness(reply) is Life.REFUSED
    other = ProbeReply(400, b'{"error":{"code":400,"message":"what?"}}')
    assert make().read_liveness(other) is Life.DOWN


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        ("37s", 37),
        ("0.5s", 0.5),
        ("37", None),
        ("s", None),
        (37, None),
        ("9999999s", 86400),
    ],
)
def test_how_long_to_wait_is_read_from_the_body(
    delay: object, seconds: float | None
) -> None:
    error = {
        "code": 429,
        "message": "quota",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "x/google.rpc.QuotaFailure"}, {"retryDelay": delay}, 5],
    }
    assert fault(error).retry_after_s == seconds


def test_a_prompt_that_is_too_long_is_known_for_one() -> None:
    said = (
        "The input token count (1200000) exceeds the maximum number of tokens "
        "allowed (1048576)."
    )
    found = fault({"code": 400, "message": said, "status": "INVALID_ARGUMENT"})
    assert found.exceeds_context
    assert found.message == said


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"[5]",
        b'{"error":"x"}',
        b'{"error":{"details":5}}',
        b"\xff",
        b'{"error":{"status":[],"details":[{"reason":[],"retryDelay":{}}]}}',
    ],
)
def test_an_error_of_any_shape_is_read(body: bytes) -> None:
    assert make().interpret(400, (), body).blame is Blame.CALLER


def test_its_list_tells_windows_limits_and_what_models_are_for() -> None:
    adapter = make()
    found = adapter.read_listing(GEMINI.replies_for(adapter))
    assert found is not None
    models = {model.id: model for model in found.models}
    assert set(models) == {"gemini-3.8-flash", "gemini-embedding-001"}
    chat = models["gemini-3.8-flash"]
    assert (chat.context_window, chat.max_tokens, chat.kind) == (1048576, 65536, "chat")
    assert chat.capabilities == {"functionCalling", "jsonMode", "reasoning", "vision"}
    assert models["gemini-embedding-001"].kind == "embeddings"


@pytest.mark.parametrize("url", [URL, URL + "/v1beta"])
def test_verbs_decide_who_may_use_a_path(url: str) -> None:
    adapter = make(url)
    at = "/v1beta/models/gemini-3.8-flash"
    for verb in (
        "generateContent",
        "streamGenerateContent",
        "embedContent",
        "batchEmbedContents",
    ):
        assert adapter.reach("POST", f"{at}:{verb}") is Reach.INFERENCE
        assert adapter.reach("GET", f"{at}:{verb}") is Reach.OWNER
    assert adapter.reach("POST", f"{at}:countTokens") is Reach.METADATA
    assert adapter.reach("POST", "/v1beta/openai/chat/completions") is Reach.INFERENCE
    assert adapter.reach("GET", at) is Reach.METADATA
    for asked in (
        f"POST {at}:batchGenerateContent",
        f"POST {at}:predictLongRunning",
        f"POST {at}",
        f"POST {at}/..:generateContent",
        "POST /v1beta/models/..:generateContent",
        "POST /v1beta/tunedModels/x:generateContent",
        "DELETE /v1beta/tunedModels/x",
        "GET /v1beta/files",
        "POST /upload/v1beta/files",
        "POST /v1beta/cachedContents",
    ):
        assert adapter.reach(*asked.split(" ", 1)) is Reach.OWNER


def test_below_a_versioned_base_paths_find_their_place() -> None:
    adapter = make(URL + "/v1beta")
    assert adapter.passage("/v1beta/models?x=1", ()).url_path == "/v1beta/models?x=1"
    assert adapter.reach("POST", "/models/m:generateContent") is Reach.INFERENCE
    assert adapter.reach("GET", "/models") is Reach.METADATA
    assert adapter.keeps("GET", "/files")
    assert not adapter.keeps("GET", "/models")
