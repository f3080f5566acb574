"""OpenRouter: many clouds behind one /v1 that reports its own cost.

Usage is in every stream whether asked for or not, so nothing need be added.
"""

from __future__ import annotations

from collections.abc import Mapping

from providers.base import Capabilities, ProbeReply
from providers.listing import read_entries
from providers.openai_compatible import ENGINE_FIELDS, OpenAICompatible

_EXTRA = frozenset({"min_p", "repetition_penalty", "top_k"})


class OpenRouter(OpenAICompatible):
    """openrouter.ai."""

    kind = "openrouter"
    title = "OpenRouter"
    capabilities = Capabilities(
        operations=frozenset(
            {"chat", "completions", "embeddings", "responses", "messages"}
        ),
        usage_option=False,
        local=False,
    )
    key_variables = ("OPENROUTER_API_KEY",)
    default_url = "https://openrouter.ai/api"
    probe_interval_s = 60.0
    # Attribution counts only with an HTTP-Referer, a URL that names the app: that is
    # the operator's to give, in `headers`. The title alone is harmless and neutral.
    own_headers = (("x-openrouter-title", "local-ai"),)
    allowed_headers = frozenset({"x-session-id"})  # keeps a session at one provider
    extra_fields = _EXTRA | {
        "models",
        "plugins",
        "provider",
        "session_id",
        "transforms",
    }
    stripped_fields = ENGINE_FIELDS - _EXTRA
    reasoning_field = "reasoning"
    image_urls = True
    cache_control = True
    metadata_paths = frozenset({"GET /v1/providers"})
    # What the account has spent, and any generation by its id, are the owner's.
    owner_paths = frozenset({"GET /v1/credits", "GET /v1/generation", "GET /v1/key"})

    def recognises(self, replies: Mapping[str, ProbeReply]) -> bool:
        entries = read_entries(replies.get("models"), "data") or []
        return any("canonical_slug" in e and "pricing" in e for e in entries)
