"""The parts of the end-to-end tests, and the address that SDK suites speak to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

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
    config = only(
        local_provider("llama", "llamacpp", llama),
        local_provider("llama-embed", "llamacpp", llama_embed),
    )
    with run_gateway(tmp_path_factory.mktemp("served"), config) as running:
        yield running


@pytest.fixture(params=["direct", "gateway"])
def base_url(request: pytest.FixtureRequest, llama: str) -> str:
    """Where chat is: the bare model server, which proves the test, or the gateway."""
    return llama if request.param == "direct" else _gateway_url(request)


@pytest.fixture(params=["direct", "gateway"])
def embed_base_url(request: pytest.FixtureRequest, llama_embed: str) -> str:
    """Where embeddings are, as `base_url`."""
    return llama_embed if request.param == "direct" else _gateway_url(request)


def _gateway_url(request: pytest.FixtureRequest) -> str:
    running: Gateway = request.getfixturevalue("served")
    return running.url
