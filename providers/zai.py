"""Z.ai: an OpenAI dialect below /api/paas/v4, an Anthropic one below /api/anthropic.

The Coding Plan's base, /api/coding/paas/v4, and China's bigmodel.cn are the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from providers.base import Capabilities, Operation, Probe, ProbeReply
from providers.listing import read_entries
from providers.openai_compatible import ENGINE_FIELDS, OpenAICompatible
from providers.wire.dialect import Dialect

_OWNERS = frozenset({"z-ai", "z.ai", "zai", "zhipuai"})


class ZAI(OpenAICompatible):
    """api.z.ai."""

    kind = "zai"
    title = "Z.ai"
    capabilities = Capabilities(
        operations=frozenset({"chat", "messages"}),
        usage_option=False,  # usage comes with the last chunk in any case
        local=False,
    )
    key_variables = ("ZAI_API_KEY",)
    default_url = "https://api.z.ai/api/paas/v4"
    probe_interval_s = 60.0
    liveness = Probe("models", "/models")
    listing = (Probe("models", "/models"),)
    api_root = ""
    extra_fields = frozenset({"do_sample", "thinking", "tool_stream"})
    stripped_fields = ENGINE_FIELDS
    reasoning_field = "reasoning_content"

    def path_of(self, operation: Operation) -> str:
        if operation.dialect is not Dialect.MESSAGES:
            return super().path_of(operation)
        home = self.prefix.partition("/coding/paas")[0].partition("/paas")[0]
        return f"{home}/anthropic/v1{operation.path}"

    def recognises(self, replies: Mapping[str, ProbeReply]) -> bool:
        entries = read_entries(replies.get("models"), "data") or []
        return any(self.owner_of(entry) in _OWNERS for entry in entries)
