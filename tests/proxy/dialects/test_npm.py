"""The official clients for Node, before providers of every dialect, by either door."""

from __future__ import annotations

import asyncio
import json
import subprocess
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.fakes.talk import TEXT
from tests.parts.inside import Site, run_site
from tests.parts.npm import SDKS, npm_folder
from tests.proxy.dialects.test_matrix import KINDS

SCRIPTS = Path(__file__).parent / "npm"
TIMEOUT_S = 30.0
BREAKS = ("error_in_stream", "cut_in_stream")
SUNNY = {"calls": [{"name": "weather", "arguments": {"city": "Paris"}}], "told": TEXT}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def packages() -> Path:
    return npm_folder(SDKS, timeout_s=45)


PLACES = [*((name, True) for name in KINDS), ("openai-compatible", False)]


@pytest.fixture(params=PLACES, ids=lambda p: f"{p[0]}, {'fast' if p[1] else 'other'}")
async def place(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Site, Any, str]]:
    """A gateway, its provider, and where that talks in streams."""
    name, is_fast = request.param
    kind = KINDS[name]
    fake = kind.fake()
    entry: dict[str, Any] = {
        "id": "tiny",
        "providerId": "box",
        "upstreamModel": kind.model,
    }
    if kind.kind == "ollama":
        entry["params"] = {"set": {"num_ctx": 8192}}  # its own API is chosen by this
    headers = {"x-api-key": kind.key or "x", "x-goog-api-key": kind.key or "x"}
    async with fake.serving():
        provider = {"kind": kind.kind, "endpoint": fake.url, "headers": headers}
        async with run_site(provider=provider, models=[entry], fast=is_fast) as site:
            yield site, fake, fake.talk_path(kind.model, stream=True)


async def test_openais(place: tuple[Site, Any, str], packages: Path) -> None:
    site, fake, path = place
    fake.script(path, *map(fake.fault, BREAKS))
    found = await run(
        packages, "openai", site.url, "broken", "cut", "whole", "stream", "tools", "streamedTools",
        "response", "streamedResponse", "responseWithTools", "models", "unknownModel",
    )  # fmt: skip
    assert [found.pop(name)["error"] for name in ("broken", "cut")] == ["APIError"] * 2
    told = {"text": TEXT, "calls": [], "finish": "stop", "tokens": 4}
    assert found == {
        "whole": told,
        "stream": told | {"isStreamed": True},
        "tools": SUNNY,
        "streamedTools": SUNNY,
        "response": {"text": TEXT, "status": "completed"},
        "streamedResponse": {
            "text": TEXT,
            "first": "response.created",
            "last": "response.completed",
        },
        "responseWithTools": SUNNY["calls"][0],
        "models": ["tiny"],
        "unknownModel": {
            "error": "NotFoundError",
            "status": 404,
            "code": "model_not_found",
        },
    }


async def test_anthropics(place: tuple[Site, Any, str], packages: Path) -> None:
    site, fake, path = place
    fake.script(path, *map(fake.fault, BREAKS))
    found = await run(
        packages, "anthropic", site.url, "broken", "cut", "whole", "stream", "tools", "streamedTools",
        "count", "unknownModel",
    )  # fmt: skip
    assert [found.pop(name)["error"] for name in ("broken", "cut")] == ["APIError"] * 2
    told = {"text": TEXT, "finish": "end_turn", "tokens": 4}
    assert found == {
        "whole": told,
        "stream": told | {"isStreamed": True},
        "tools": SUNNY,
        "streamedTools": SUNNY,
        "count": True,
        "unknownModel": {
            "error": "NotFoundError",
            "status": 404,
            "type": "not_found_error",
        },
    }


async def run(packages: Path, name: str, url: str, *scenes: str) -> Any:
    """Play scenes in one process of Node; answers what each came to."""
    command = ["node", "--input-type=module", "-", url, *scenes]
    with (SCRIPTS / f"{name}.mjs").open() as script:
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=packages, stdin=script,
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
