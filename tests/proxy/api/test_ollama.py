from __future__ import annotations

from typing import Any

import pytest

from providers.base import FoundModel
from proxy.api import ollama
from proxy.routing.registry import Provider
from tests.fakes.kinds import provider
from tests.fakes.site import context, serving

ROUTES = {
    "/api/tags": ollama.tags,
    "/api/ps": ollama.running,
    "/api/version": ollama.version,
    "/api/show": ollama.show,
    "/api/pull": ollama.refuse,
}
TALKS = FoundModel(
    "llama3:8b",
    created=1_700_000_000,
    context_window=8192,
    warm=True,
    family="llama",
    kind="chat",
    capabilities=frozenset({"functionCalling", "vision", "reasoning"}),
)
EMBEDS = FoundModel("nomic", kind="embeddings", warm=False, created=1 << 62)


def providers() -> list[Provider]:
    return [provider("desk", TALKS, EMBEDS, kind="vllm")]


async def asked(method: str, path: str, **options: Any) -> tuple[int, Any]:
    async with serving(context(providers()), ROUTES) as ask:
        reply = await ask(path, method, **options)
        return reply.status, await reply.json(content_type=None)


async def test_every_model_is_listed() -> None:
    _, found = await asked("GET", "/api/tags")
    first, second = found["models"]
    assert (first["name"], first["model"]) == ("llama3:8b", "llama3:8b")
    assert first["modified_at"] == "2023-11-14T22:13:20Z"
    assert len(first["digest"]) == 64
    assert first["details"]["family"] == "llama"
    assert second["modified_at"] == "1970-01-01T00:00:00Z"


async def test_what_is_warm_runs() -> None:
    _, found = await asked("GET", "/api/ps")
    assert [(m["name"], m["context_length"]) for m in found["models"]] == [
        ("llama3:8b", 8192)
    ]


async def test_the_version_is_one_that_editors_take() -> None:
    _, found = await asked("GET", "/api/version")
    assert tuple(map(int, found["version"].split("."))) >= (0, 6, 4)


@pytest.mark.parametrize("name", ["model", "name"])
async def test_a_model_is_shown(name: str) -> None:
    _, found = await asked("POST", "/api/show", json={name: "llama3:8b"})
    assert found["model_info"]["general.architecture"] == "llama"
    assert found["model_info"]["llama.context_length"] == 8192
    assert found["capabilities"] == ["completion", "tools", "vision", "thinking"]
    _, found = await asked("POST", "/api/show", json={name: "nomic"})
    assert found["capabilities"] == ["embedding"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_field"),
        ({"model": 7}, "invalid_field"),
        ({"model": "none"}, "model_not_found"),
    ],
)
async def test_what_cannot_be_shown_is_said(body: dict[str, Any], code: str) -> None:
    _, found = await asked("POST", "/api/show", json=body)
    assert found["code"] == code


async def test_what_is_the_owners_is_refused_with_its_place() -> None:
    _, found = await asked("POST", "/api/pull", json={"model": "x"})
    assert found["code"] == "unsupported_operation"
    assert "/ollama/api/pull" in found["message"]
