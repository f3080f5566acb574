"""When Ollama's own API is used, and what is taken into it from other dialects."""

from __future__ import annotations

from typing import Any

import pytest

from providers.base import NATIVE, OPERATIONS, Adapter, Settings
from providers.ollama import Ollama
from providers.ollama_cloud import OllamaCloud
from providers.wire.dialect import Dialect
from providers.wire.translate.codecs import CODECS
from providers.wire.translate.problems import InvalidField, UnsupportedParameter
from providers.wire.translate.request import Effort

DAEMON = Ollama(Settings("p", "http://box.lan:11434"))
CLOUD = OllamaCloud(Settings("p", "https://ollama.com", key="k"))
HELLO = [{"role": "user", "content": "hi"}]


def way(adapter: Adapter, operation: str, *fields: str) -> str | None:
    found = adapter.way(OPERATIONS[operation], frozenset({"model", *fields}))
    return found and found.name


def written(
    model: str = "llama3.1:8b", **asked: Any
) -> tuple[dict[str, Any], set[str]]:
    """What Ollama gets of a chat request, and what is reported as left out."""
    body = {"model": model, "messages": HELLO, **asked}
    request = CODECS[Dialect.CHAT].read_request(body)
    suited, left = DAEMON.suit(request)
    done = CODECS[Dialect.OLLAMA].write_request(suited, DAEMON.target_of(model))
    return done.body, {*left, *done.dropped}


@pytest.mark.parametrize("operation", ["chat", "messages", "responses"])
def test_its_openai_side_is_used_as_long_as_it_loses_nothing(operation: str) -> None:
    assert way(DAEMON, operation, "messages", "stream", "temperature") == operation
    for field in ("options", "num_ctx", "keep_alive", "think", "format"):
        assert way(DAEMON, operation, field) == "ollama_chat"


def test_its_cloud_keeps_no_model_alive() -> None:
    assert way(CLOUD, "chat", "keep_alive") == "chat"
    assert way(CLOUD, "chat", "think") == "ollama_chat"


def test_embeddings_with_options_are_its_own() -> None:
    assert way(DAEMON, "embeddings", "input", "dimensions") == "embeddings"
    for field in ("options", "keep_alive", "truncate"):
        assert way(DAEMON, "embeddings", field) == "ollama_embed"


def test_its_own_dialect_passes_through() -> None:
    for name in ("ollama_chat", "ollama_generate", "ollama_embed"):
        for adapter in (DAEMON, CLOUD):
            assert adapter.way(NATIVE[name], frozenset({"options"})) is NATIVE[name]
            url = adapter.path_of(NATIVE[name])
            assert url == NATIVE[name].path
    assert way(DAEMON, "rerank", "options") is None


def test_its_own_members_find_their_place() -> None:
    body, left = written(
        options={"num_ctx": 32768, "num_gpu": 1, "top_k": 5, "num_predict": 9},
        keep_alive="10m",
        think=False,
        format={"type": "object"},
        temperature=0.5,
        reasoning_effort=None,
        unheard_of=1,
    )
    assert body["options"] == {
        "num_ctx": 32768,
        "num_gpu": 1,
        "top_k": 5,
        "num_predict": 9,
        "temperature": 0.5,
    }
    assert body["keep_alive"] == "10m"
    assert body["think"] is False
    assert body["format"] == {"type": "object"}
    assert body["stream"] is False
    assert left == {"unheard_of"}


def test_a_context_may_be_asked_for_beside_the_options() -> None:
    assert written(num_ctx=8192)[0]["options"] == {"num_ctx": 8192}
    both, _ = written(num_ctx=8192, options={"num_ctx": 4096, "num_gpu": 2})
    assert both["options"] == {"num_ctx": 4096, "num_gpu": 2}


def test_what_the_callers_dialect_says_comes_first() -> None:
    body, _ = written(
        temperature=0.1,
        max_tokens=3,
        options={"temperature": 0.9, "num_predict": 7, "seed": 4},
        response_format={"type": "json_object"},
        format={"type": "object"},
    )
    assert body["options"] == {"temperature": 0.1, "num_predict": 3, "seed": 4}
    assert body["format"] == "json"


def test_a_level_goes_only_to_models_that_have_levels() -> None:
    assert written(reasoning_effort="high", keep_alive=0)[0]["think"] is True
    assert written(reasoning_effort="none", keep_alive=0)[0]["think"] is False
    levelled, _ = written("gpt-oss:20b", reasoning_effort="high", keep_alive=0)
    assert levelled["think"] == "high"
    assert written(think="low")[0]["think"] == "low"


def test_the_upstreams_model_decides_whether_there_are_levels() -> None:
    body = {"model": "alias", "messages": HELLO, "reasoning_effort": "low"}
    request = CODECS[Dialect.CHAT].read_request({**body, "keep_alive": 0})
    plain, _ = DAEMON.suit(request)
    levelled, _ = DAEMON.suit(request, "gpt-oss:20b")
    assert plain.thinking is not None
    assert levelled.thinking is not None
    assert (plain.thinking.effort, levelled.thinking.effort) == (None, Effort.LOW)


def test_nothing_of_its_own_changes_nothing() -> None:
    body = {"model": "m", "messages": HELLO, "reasoning_effort": "low", "odd": 1}
    request = CODECS[Dialect.CHAT].read_request(body)
    assert DAEMON.suit(request) == (request, ())
    assert request.thinking is not None
    assert request.thinking.effort is Effort.LOW
    own = CODECS[Dialect.OLLAMA].read_request(
        {"model": "m", "messages": HELLO, "keep_alive": 0}
    )
    assert DAEMON.suit(own) == (own, ())


def test_what_an_answer_needs_is_still_refused() -> None:
    with pytest.raises(UnsupportedParameter) as refused:
        written(keep_alive=0, audio={"voice": "alloy"})
    assert refused.value.param == "audio"


@pytest.mark.parametrize(
    ("member", "param"),
    [
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"options": 5}, "options"),
        ({"num_ctx": 1, "options": 5}, "options"),
        ({"think": "deeply"}, "think"),
        ({"format": "xml"}, "format"),
    ],
)
def test_a_wrong_member_is_named(member: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidField) as refused:
        written(**member)
    assert refused.value.param == param
