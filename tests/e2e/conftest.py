"""The parts of the end-to-end tests, and the address that SDK suites speak to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.parts.doors import ORDINARY, PLACES, by_door, model_calls
from tests.parts.gateway import Gateway, gateway, run_gateway
from tests.parts.llama import llama, llama_embed

__all__ = ["gateway", "llama", "llama_embed"]


def local_provider(identity: str, kind: str, endpoint: str) -> dict[str, Any]:
    return {"id": identity, "kind": kind, "type": "local", "endpoint": endpoint}


def only(*providers: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """A configuration with these providers and nothing found by itself."""
    return {
        "discovery": {"enabled": False},
        "providers": list(providers),
        **sections,
    }


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, llama: str, llama_embed: str
) -> Iterator[Gateway]:
    """One gateway in front of both real model servers, for the whole run."""
    config = _both_servers(llama, llama_embed)
    with run_gateway(tmp_path_factory.mktemp("served"), config) as running:
        yield running


@pytest.fixture(scope="session")
def served_ordinarily(
    tmp_path_factory: pytest.TempPathFactory, llama: str, llama_embed: str
) -> Iterator[Gateway]:
    """As `served`, with its fast door shut."""
    config = _both_servers(llama, llama_embed) | {"server": {"fastPath": False}}
    with run_gateway(tmp_path_factory.mktemp("ordinarily"), config) as running:
        yield running


@pytest.fixture(params=PLACES)
def base_url(request: pytest.FixtureRequest, llama: str) -> Iterator[str]:
    """Where chat is: the bare model server, which proves the test, or the gateway,
    by either door; all calls must have gone through that one."""
    yield from _through(request, llama)


@pytest.fixture(params=PLACES)
def embed_base_url(request: pytest.FixtureRequest, llama_embed: str) -> Iterator[str]:
    """Where embeddings are, as `base_url`."""
    yield from _through(request, llama_embed)


def _through(request: pytest.FixtureRequest, direct: str) -> Iterator[str]:
    door = request.param
    if door not in PLACES[1:]:
        yield direct
        return
    name = "served_ordinarily" if door == ORDINARY else "served"
    running: Gateway = request.getfixturevalue(name)
    with by_door(door, running, lambda: model_calls(running)):
        yield running.url


def _both_servers(llama: str, llama_embed: str) -> dict[str, Any]:
    return only(
        local_provider("llama", "llamacpp", llama),
        local_provider("llama-embed", "llamacpp", llama_embed),
    )
