from __future__ import annotations

from typing import Any

import pytest

from providers.base import FoundModel
from proxy.api.models import get_model, list_models
from proxy.config import Config, ModelConfig
from proxy.routing.registry import Provider, Status
from tests.fakes.kinds import provider
from tests.fakes.site import context, serving

ROUTES = {"/v1/models": list_models, "/v1/models/{id}": get_model}
ANTHROPIC = {"anthropic-version": "2023-06-01"}


def providers() -> list[Provider]:
    return [
        provider(
            "desk",
            FoundModel(
                "llama3:latest",
                owned_by="library",
                created=1_700_000_000,
                context_window=8192,
                warm=True,
                kind="chat",
                capabilities=frozenset({"functionCalling"}),
            ),
            "org/model:8b",
            kind="ollama",
        ),
        provider("spark", "org/model:8b", health=Status.OFFLINE),
    ]


async def get(
    path: str, config: Config | None = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    async with serving(context(providers(), config), ROUTES) as ask:
        response = await ask(path, headers=headers or {})
        return response.status, await response.json(content_type=None)


async def test_lists_models_in_openais_shape_with_more_beside_it() -> None:
    status, document = await get("/v1/models")
    assert status == 200
    assert document["object"] == "list"
    assert document["data"][0] == {
        "id": "llama3:latest",
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "library",
        "provider": "desk",
        "context_window": 8192,
        "capabilities": {
            "streaming": True,
            "function_calling": True,
            "vision": None,
            "json_mode": None,
            "reasoning": None,
            "embeddings": False,
        },
        "status": "warm",
    }
    assert document["data"][1]["id"] == "org/model:8b"
    assert document["data"][1]["created"] == 0


async def test_lists_the_models_of_one_provider() -> None:
    _, document = await get("/v1/models?provider=spark")
    assert [model["id"] for model in document["data"]] == ["org/model:8b"]


async def test_an_unknown_provider_is_said_to_be_unknown() -> None:
    status, error = await get("/v1/models?provider=nope")
    assert (status, error["code"]) == (404, "provider_not_found")
    assert error["param"] == "provider"


@pytest.mark.parametrize(
    ("path", "id_"),
    [
        ("org/model:8b", "org/model:8b"),
        ("org%2Fmodel%3A8b", "org/model:8b"),
        ("llama3", "llama3"),
        ("desk/llama3", "desk/llama3"),
    ],
)
async def test_answers_one_model_under_the_name_it_was_asked_by(
    path: str, id_: str
) -> None:
    status, model = await get(f"/v1/models/{path}")
    assert (status, model["id"], model["object"]) == (200, id_, "model")
    assert model["provider"] == "desk"


async def test_an_unknown_model_names_near_ones() -> None:
    status, error = await get("/v1/models/llama4")
    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "llama3:latest" in error["message"]


async def test_what_the_operator_says_beats_what_the_server_says() -> None:
    model = ModelConfig.model_validate(
        {
            "id": "mine",
            "providerId": "desk",
            "upstreamModel": "llama3:latest",
            "contextWindow": 4096,
            "capabilities": {"functionCalling": False, "vision": True},
        }
    )
    _, shown = await get("/v1/models/mine", Config(models=(model,)))
    assert shown["context_window"] == 4096
    assert shown["capabilities"]["function_calling"] is False
    assert shown["capabilities"]["vision"] is True
    assert shown["owned_by"] == "library"


async def test_anthropics_shape_for_anthropics_clients() -> None:
    _, document = await get("/v1/models", headers=ANTHROPIC)
    assert document == {
        "data": [
            {
                "type": "model",
                "id": "llama3:latest",
                "display_name": "llama3:latest",
                "created_at": "2023-11-14T22:13:20Z",
                "lifecycle": "active",
                "max_input_tokens": 8192,
                "max_tokens": None,
            },
            {
                "type": "model",
                "id": "org/model:8b",
                "display_name": "org/model:8b",
                "created_at": "1970-01-01T00:00:00Z",
                "lifecycle": "active",
                "max_input_tokens": None,
                "max_tokens": None,
            },
        ],
        "has_more": False,
        "first_id": "llama3:latest",
        "last_id": "org/model:8b",
    }
    _, model = await get("/v1/models/llama3", headers=ANTHROPIC)
    assert (model["type"], model["id"]) == ("model", "llama3")


@pytest.mark.parametrize(
    ("query", "expected", "has_more"),
    [
        ("limit=2", ["a", "b"], True),
        ("limit=2&after_id=b", ["c", "d"], True),
        ("limit=2&after_id=d", ["e"], False),
        ("limit=2&before_id=e", ["c", "d"], True),
        ("limit=9&before_id=c", ["a", "b"], False),
        ("after_id=e", [], False),
        ("limit=5", ["a", "b", "c", "d", "e"], False),
        ("after_id=a&before_id=d", ["b", "c"], False),
        ("after_id=d&before_id=a", [], False),
    ],
)
async def test_anthropics_pages(
    query: str, expected: list[str], has_more: bool
) -> None:
    known = context([provider("spark", "a", "b", "c", "d", "e")])
    async with serving(known, ROUTES) as ask:
        response = await ask(f"/v1/models?{query}", headers=ANTHROPIC)
        document = await response.json()
    assert [model["id"] for model in document["data"]] == expected
    assert document["has_more"] is has_more
    assert document["first_id"] == (expected[0] if expected else None)
    assert document["last_id"] == (expected[-1] if expected else None)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("limit=-1", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("after_id=nope", "after_id"),
        ("before_id=nope", "before_id"),
    ],
)
async def test_bad_pages_are_told_which_field(query: str, param: str) -> None:
    status, error = await get(f"/v1/models?{query}", headers=ANTHROPIC)
    assert (status, error["code"], error["param"]) == (400, "invalid_field", param)
