"""Kind → adapter, by hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from providers.anthropic import Anthropic
from providers.base import Adapter, Settings
from providers.demo import Demo
from providers.gemini import Gemini
from providers.llamacpp import LlamaCpp
from providers.lmstudio import LMStudio
from providers.ollama import Ollama
from providers.ollama_cloud import OllamaCloud
from providers.openai import OpenAI
from providers.openai_compatible import OpenAICompatible
from providers.openrouter import OpenRouter
from providers.vllm import VLLM
from providers.zai import ZAI

KINDS: Final[Mapping[str, type[Adapter]]] = MappingProxyType(
    {
        adapter.kind: adapter
        for adapter in (
            VLLM,
            Ollama,
            LMStudio,
            LlamaCpp,
            OpenAI,
            Anthropic,
            Gemini,
            OpenRouter,
            OllamaCloud,
            ZAI,
            OpenAICompatible,
            Demo,
        )
    }
)


def adapter_for(kind: str, settings: Settings) -> Adapter:
    """Make the adapter of a provider; raises ValueError for a kind there is not."""
    adapter = KINDS.get(kind)
    if adapter is None:
        raise ValueError(
            f"no such kind of provider: {kind!r}; known: {', '.join(KINDS)}"
        )
    return adapter(settings)
