"""The kinds of provider a file may name, and the defaults that follow from one.

The adapters in `providers` know the same of themselves; a test holds the two
together. This list is here so that checking a file loads no adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from msgspec import Struct

ProviderType = Literal["local", "cloud"]
KindName = Literal[
    "vllm", "ollama", "lmstudio", "llamacpp", "openai", "anthropic", "gemini",
    "openrouter", "ollama-cloud", "zai", "openai-compatible", "demo",
]  # fmt: skip


class Kind(Struct, frozen=True):
    """`default_url` None: an endpoint must be given. `type` None: its address says.

    The first of `key_variables` that is set holds the key.
    """

    name: KindName
    type: ProviderType | None
    default_url: str | None = None
    key_variables: tuple[str, ...] = ()


_KINDS: Final = (
    Kind("vllm", "local", key_variables=("VLLM_API_KEY",)),
    Kind("ollama", "local"),
    Kind("lmstudio", "local", key_variables=("LM_API_TOKEN",)),
    Kind("llamacpp", "local"),
    Kind("openai", "cloud", "https://api.openai.com", ("OPENAI_API_KEY",)),
    Kind("anthropic", "cloud", "https://api.anthropic.com", ("ANTHROPIC_API_KEY",)),
    Kind("gemini", "cloud", "https://generativelanguage.googleapis.com",
         ("GOOGLE_API_KEY", "GEMINI_API_KEY")),
    Kind("openrouter", "cloud", "https://openrouter.ai/api", ("OPENROUTER_API_KEY",)),
    Kind("ollama-cloud", "cloud", "https://ollama.com", ("OLLAMA_API_KEY",)),
    Kind("zai", "cloud", "https://api.z.ai/api/paas/v4", ("ZAI_API_KEY",)),
    Kind("openai-compatible", None),
    Kind("demo", "local", "demo://local"),
)  # fmt: skip

KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {str(kind.name): kind for kind in _KINDS}
)

# Local kinds that discovery looks for: a file may name their ids undeclared.
FOUND_LOCALLY: Final = ("ollama", "lmstudio", "vllm", "llamacpp")
