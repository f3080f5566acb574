"""Adapters that are data alone, and providers made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson

from providers.base import (
    OPERATIONS,
    Adapter,
    Capabilities,
    FoundModel,
    Inventory,
    Life,
    Pair,
    Prepared,
    Probe,
    ProbeReply,
    Reach,
    Request,
    Settings,
)
from providers.errors import Blame, Fault
from proxy.config import ProviderConfig
from proxy.routing.registry import Provider, Status

CHAT = OPERATIONS["chat"]
EMBEDDINGS = OPERATIONS["embeddings"]
RERANK = OPERATIONS["rerank"]


class PlainAdapter(Adapter):
    """Alive when `/alive` says {"kind": ...}; lists what `/list` says."""

    kind = "ollama"
    title = "Ollama"
    capabilities: ClassVar[Capabilities] = Capabilities(
        frozenset({"chat", "embeddings"}), default_slots=1
    )
    usual_ports = (11434,)
    liveness = Probe("alive", "/alive")
    listing = (Probe("list", "/list"),)

    def prepare(self, request: Request) -> Prepared:
        return Prepared("/", ())

    def passage(self, rest: str, headers: Sequence[Pair]) -> Prepared:
        return Prepared(rest, ())

    def interpret(self, status: int, headers: Sequence[Pair], body: bytes) -> Fault:
        return Fault(Blame.BROKEN, status, "")

    def probe_headers(self) -> tuple[Pair, ...]:
        key = self.settings.key
        return (("authorization", f"Bearer {key}"),) if key else ()

    def read_liveness(self, reply: ProbeReply) -> Life:
        if reply.status in (401, 403):
            return Life.REFUSED
        if reply.status == 503:
            return Life.LOADING
        return Life.UP if _kind_in(reply) == self.kind else Life.DOWN

    def read_listing(self, replies: Mapping[str, ProbeReply]) -> Inventory | None:
        reply = replies.get("list")
        if reply is None or _kind_in(reply) != self.kind:
            return None
        document = orjson.loads(reply.body)
        models = tuple(FoundModel(id_) for id_ in document["models"])
        return Inventory(models, document.get("slots"))

    def recognises(self, replies: Mapping[str, ProbeReply]) -> bool:
        return "list" in replies and _kind_in(replies["list"]) == self.kind

    def reach(self, method: str, path: str) -> Reach:
        return Reach.OWNER

    def keeps(self, method: str, path: str) -> bool:
        return False


def _kind_in(reply: ProbeReply) -> object:
    if reply.status != 200:
        return None
    try:
        document = orjson.loads(reply.body)
    except ValueError:
        return None
    return document.get("kind") if isinstance(document, dict) else None


class VllmLike(PlainAdapter):
    kind = "vllm"
    title = "vLLM"
    capabilities = Capabilities(frozenset({"chat", "embeddings", "rerank"}))
    usual_ports = (8000,)


class LlamaLike(PlainAdapter):
    """Shares a port with nobody real: both it and VllmLike may be on 8000 here."""

    kind = "llamacpp"
    title = "llama.cpp server"
    usual_ports = (8080, 8000)


class CloudLike(PlainAdapter):
    kind = "openai"
    title = "OpenAI"
    capabilities = Capabilities(frozenset({"chat"}), local=False)
    usual_ports = ()
    key_variables = ("OPENAI_API_KEY",)
    default_url = "https://api.openai.com"
    liveness = Probe("list", "/list")


class DemoLike(PlainAdapter):
    kind = "demo"
    title = "Demo"
    usual_ports = ()
    default_url = "demo://local"


KINDS: Mapping[str, type[Adapter]] = {
    adapter.kind: adapter
    for adapter in (PlainAdapter, VllmLike, LlamaLike, CloudLike, DemoLike)
}


def provider(
    id_: str,
    *models: FoundModel | str,
    kind: str = "vllm",
    health: Status = Status.ONLINE,
    **config: Any,
) -> Provider:
    """Make a provider that lists `models`; more keywords go into its config."""
    config.setdefault("endpoint", f"http://{id_}.lan:8000")
    config.setdefault("type", "cloud" if kind == "openai" else "local")
    settled = ProviderConfig(id=id_, kind=kind, name=id_, **config)
    adapter = KINDS[kind](Settings(id=id_, base_url=settled.base_url))
    found = tuple(FoundModel(m) if isinstance(m, str) else m for m in models)
    made = Provider(settled, adapter, health=health, models=found)
    if not settled.enabled:
        made.held = Status.DISABLED
    return made
