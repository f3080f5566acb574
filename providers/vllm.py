"""vLLM (docs v0.32): the widest /v1 of the local engines, and a development API.

With VLLM_SERVER_DEV_MODE=1 the same port takes /sleep or /collective_rpc: those
are in no table but the owner's.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from providers.base import Capabilities, Inventory, Probe, ProbeReply
from providers.listing import read_entries, read_object
from providers.openai_compatible import OpenAICompatible


class VLLM(OpenAICompatible):
    """A vLLM server, `vllm serve MODEL`."""

    kind = "vllm"
    title = "vLLM"
    capabilities = Capabilities(
        operations=frozenset(
            {
                "chat",
                "completions",
                "embeddings",
                "rerank",
                "responses",
                "messages",
                "count_tokens",
                "transcriptions",
                "translations",
            }
        ),
        websocket=True,
    )
    usual_ports = (8000,)
    reasoning_field = "reasoning"
    key_variables = ("VLLM_API_KEY",)
    liveness = Probe("health", "/health")
    extra_fields = frozenset(
        {
            "cache_salt",
            "chat_template_kwargs",
            "guided_choice",
            "guided_grammar",
            "guided_json",
            "guided_regex",
            "kv_transfer_params",
            "min_p",
            "priority",
            "structured_outputs",
            "top_k",
        }
    )
    inference_paths = frozenset(
        {
            "GET /v1/realtime",
            "POST /classify",
            "POST /pooling",
            "POST /rerank",
            "POST /score",
            "POST /v1/chat/completions/batch",
            "POST /v1/score",
            "POST /v2/rerank",
        }
    )
    metadata_paths = frozenset(
        {
            "GET /health",
            "GET /load",
            "GET /metrics",
            "GET /ping",
            "GET /version",
            "POST /detokenize",
            "POST /tokenize",
        }
    )
    owner_paths = frozenset(
        {
            "GET /is_sleeping",
            "GET /server_info",
            "POST /collective_rpc",
            "POST /reset_mm_cache",
            "POST /reset_prefix_cache",
            "POST /sleep",
            "POST /v1/load_lora_adapter",
            "POST /v1/unload_lora_adapter",
            "POST /wake_up",
        }
    )

    def is_alive(self, reply: ProbeReply) -> bool:
        # vLLM's /health has an empty body; a JSON object that is no error may be a
        # proxy's own answer in front of it. Web pages and errors are somebody else.
        if reply.status != 200:
            return False
        return not reply.body.strip() or read_object(reply) is not None

    def read_listing(self, replies: Mapping[str, ProbeReply]) -> Inventory | None:
        found = super().read_listing(replies)
        if found is None:
            return None
        # It serves what it has loaded, and nothing else.
        return Inventory(tuple(replace(model, warm=True) for model in found.models))

    def recognises(self, replies: Mapping[str, ProbeReply]) -> bool:
        entries = read_entries(replies.get("models"), "data") or []
        return any(self.owner_of(entry) == "vllm" for entry in entries)
