"""OpenAI itself."""

from __future__ import annotations

from collections.abc import Mapping

from providers.base import Capabilities, ProbeReply
from providers.listing import read_entries
from providers.openai_compatible import ENGINE_FIELDS, OpenAICompatible

_OWNERS = frozenset({"openai", "openai-internal", "system"})


class OpenAI(OpenAICompatible):
    """api.openai.com."""

    kind = "openai"
    title = "OpenAI"
    capabilities = Capabilities(
        operations=frozenset(
            {
                "chat",
                "completions",
                "embeddings",
                "moderations",
                "speech",
                "transcriptions",
                "translations",
                "image_generations",
                "image_edits",
                "responses",
            }
        ),
        websocket=True,
        local=False,
    )
    key_variables = ("OPENAI_API_KEY",)
    default_url = "https://api.openai.com"
    probe_interval_s = 60.0
    stripped_fields = ENGINE_FIELDS
    limit_field = "max_completion_tokens"
    inference_paths = frozenset({"GET /v1/realtime"})
    metadata_paths = frozenset({"POST /v1/responses/input_tokens"})

    def recognises(self, replies: Mapping[str, ProbeReply]) -> bool:
        entries = read_entries(replies.get("models"), "data") or []
        return any(self.owner_of(entry) in _OWNERS for entry in entries)
