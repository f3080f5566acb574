"""Ollama's cloud: the daemon's paths at ollama.com, with a key.

Its models retire often: they are listed at run time, and a model that is gone
gets a message that says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from providers.base import Capabilities, Inventory, Pair, Probe, ProbeReply
from providers.errors import Fault
from providers.listing import inner, read_entries, text
from providers.ollama_api import OllamaLike, read_tags
from providers.openai_compatible import ENGINE_FIELDS


class OllamaCloud(OllamaLike):
    """ollama.com; ids have no `-cloud` there."""

    kind = "ollama-cloud"
    title = "Ollama Cloud"
    capabilities = Capabilities(
        operations=frozenset(
            {
                "chat",
                "completions",
                "embeddings",
                "responses",
                "messages",
                "ollama_chat",
                "ollama_generate",
                "ollama_embed",
            }
        ),
        local=False,
    )
    key_variables = ("OLLAMA_API_KEY",)
    default_url = "https://ollama.com"
    probe_interval_s = 60.0
    liveness = Probe("tags", "/api/tags")
    listing = (Probe("tags", "/api/tags"),)
    extra_fields = frozenset({"options", "think"})
    stripped_fields = ENGINE_FIELDS

    def interpret(self, status: int, headers: Sequence[Pair], body: bytes) -> Fault:
        fault = super().interpret(status, headers, body)
        if fault.status not in (404, 410):
            return fault
        said = fault.message.rstrip(".")
        hint = "Ollama Cloud does not have this model (any more): models retire there"
        return replace(fault, message=f"{said}. {hint}; GET /v1/models lists the rest.")

    def is_alive(self, reply: ProbeReply) -> bool:
        return read_tags(reply) is not None

    def read_listing(self, replies: Mapping[str, ProbeReply]) -> Inventory | None:
        models = read_tags(replies.get("tags"))
        return None if models is None else Inventory(models)

    def recognises(self, replies: Mapping[str, ProbeReply]) -> bool:
        entries = read_entries(replies.get("tags"), "models")
        if not entries or read_tags(replies.get("tags")) is None:
            return False
        # A daemon knows the file format of what it holds; the cloud leaves it blank.
        return all(text(inner(e, "details").get("format")) is None for e in entries)
