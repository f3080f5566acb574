"""What servers of each kind answer to GET, by path, as recorded or documented.

A path that is not here answers `elsewhere`, the way that server does. llama.cpp's
answers were taken from a real one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from providers.base import Adapter, ProbeReply


@dataclass(frozen=True)
class Server:
    answers: Mapping[str, Any]
    elsewhere: tuple[int, Any] = (404, {"detail": "Not Found"})
    empty: frozenset[str] = field(default_factory=frozenset)

    def ask(self, path: str) -> ProbeReply:
        path = path.partition("?")[0]
        if path in self.empty:
            return ProbeReply(200, b"")
        if path in self.answers:
            return ProbeReply(200, json.dumps(self.answers[path]).encode())
        status, body = self.elsewhere
        return ProbeReply(status, json.dumps(body).encode())

    def replies_for(self, adapter: Adapter) -> dict[str, ProbeReply]:
        return {probe.name: self.ask(probe.path) for probe in adapter.listing}


VLLM = Server(
    {
        "/v1/models": {
            "object": "list",
            "data": [
                {
                    "id": "Qwen/Qwen2.5-14B-Instruct",
                    "object": "model",
                    "created": 1763683200,
                    "owned_by": "vllm",
                    "root": "Qwen/Qwen2.5-14B-Instruct",
                    "parent": None,
                    "max_model_len": 32768,
                    "permission": [{"id": "modelperm-1", "object": "model_permission"}],
                },
                {
                    "id": "my-lora",
                    "object": "model",
                    "created": 1763683200,
                    "owned_by": "vllm",
                    "root": "adapters/my-lora",
                    "parent": "Qwen/Qwen2.5-14B-Instruct",
                    "max_model_len": None,
                    "permission": [],
                },
            ],
        },
        "/version": {"version": "0.32.0"},
    },
    empty=frozenset({"/health"}),
)

OLLAMA = Server(
    {
        "/api/version": {"version": "0.14.2"},
        "/api/tags": {
            "models": [
                {
                    "name": "llama3.1:8b",
                    "model": "llama3.1:8b",
                    "modified_at": "2026-10-02T10:00:00Z",
                    "size": 4920753328,
                    "digest": "46e0c10c039e",
                    "details": {
                        "parent_model": "",
                        "format": "gguf",
                        "family": "llama",
                        "families": ["llama"],
                        "parameter_size": "8.0B",
                        "quantization_level": "Q4_K_M",
                    },
                },
                {
                    "name": "nomic-embed-text:latest",
                    "model": "nomic-embed-text:latest",
                    "modified_at": "2026-10-02T10:00:00Z",
                    "size": 274302450,
                    "digest": "0a109f422b47",
                    "details": {"format": "gguf", "family": "nomic-bert"},
                },
                {
                    "name": "gemma4:latest",
                    "model": "gemma4:latest",
                    "size": 9600000000,
                    "digest": "c6eb396dbd59",
                    "details": {"format": "gguf", "family": "gemma4"},
                    "capabilities": ["completion", "vision", "tools", "thinking"],
                },
            ]
        },
        "/api/ps": {
            "models": [
                {
                    "name": "llama3.1:8b",
                    "model": "llama3.1:8b",
                    "size": 6654289920,
                    "digest": "46e0c10c039e",
                    "details": {"format": "gguf", "family": "llama"},
                    "expires_at": "2026-11-21T11:00:00Z",
                    "size_vram": 6654289920,
                    "context_length": 4096,
                }
            ]
        },
        "/v1/models": {
            "object": "list",
            "data": [
                {
                    "id": "llama3.1:8b",
                    "object": "model",
                    "created": 1763683200,
                    "owned_by": "library",
                }
            ],
        },
    },
    elsewhere=(404, "404 page not found"),
)

LMSTUDIO = Server(
    {
        "/api/v1/models": {
            "models": [
                {
                    "type": "llm",
                    "publisher": "qwen",
                    "key": "qwen/qwen3-4b",
                    "display_name": "Qwen3 4B",
                    "architecture": "qwen3",
                    "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
                    "size_bytes": 2500000000,
                    "params_string": "4B",
                    "loaded_instances": [
                        {
                            "id": "qwen/qwen3-4b",
                            "config": {"context_length": 8192, "parallel": 4},
                        },
                        {"id": "second", "config": {"context_length": 4096}},
                    ],
                    "max_context_length": 40960,
                    "format": "gguf",
                    "capabilities": {"vision": False, "trained_for_tool_use": True},
                },
                {
                    "type": "llm",
                    "publisher": "google",
                    "key": "google/gemma-3-4b",
                    "architecture": "gemma3",
                    "loaded_instances": [],
                    "max_context_length": 131072,
                    "capabilities": {"vision": True, "trained_for_tool_use": False},
                },
                {
                    "type": "embedding",
                    "publisher": "nomic-ai",
                    "key": "text-embedding-nomic-embed-text-v1.5",
                    "loaded_instances": [],
                    "max_context_length": 2048,
                },
            ]
        },
        "/api/v0/models": {
            "object": "list",
            "data": [
                {
                    "id": "qwen/qwen3-4b",
                    "object": "model",
                    "type": "llm",
                    "publisher": "qwen",
                    "arch": "qwen3",
                    "compatibility_type": "gguf",
                    "quantization": "Q4_K_M",
                    "state": "loaded",
                    "max_context_length": 40960,
                    "loaded_context_length": 8192,
                    "capabilities": ["tool_use"],
                }
            ],
        },
        "/v1/models": {
            "object": "list",
            "data": [
                {
                    "id": "qwen/qwen3-4b",
                    "object": "model",
                    "owned_by": "organization_owner",
                }
            ],
        },
        "/lmstudio-greeting": {"lmstudio": True},
    },
    elsewhere=(200, {"error": "Unexpected endpoint or method. (GET /nowhere)"}),
)

LMSTUDIO_OLD = Server(
    {path: LMSTUDIO.answers[path] for path in ("/api/v0/models", "/v1/models")},
    elsewhere=LMSTUDIO.elsewhere,
)

LLAMACPP = Server(
    {
        "/health": {"status": "ok"},
        "/v1/models": {
            "models": [
                {
                    "name": "tiny",
                    "model": "tiny",
                    "type": "model",
                    "capabilities": ["completion"],
                    "details": {"format": "gguf", "family": ""},
                }
            ],
            "object": "list",
            "data": [
                {
                    "id": "tiny",
                    "aliases": ["tiny"],
                    "tags": [],
                    "object": "model",
                    "architecture": {
                        "input_modalities": ["text"],
                        "output_modalities": ["text"],
                    },
                    "created": 1795227908,
                    "owned_by": "llamacpp",
                    "meta": {
                        "vocab_type": 2,
                        "n_vocab": 299,
                        "n_ctx": 4096,
                        "n_ctx_train": 8192,
                        "n_embd": 32,
                        "n_params": 29472,
                        "size": 117888,
                        "ftype": "all F32",
                    },
                }
            ],
        },
        "/props": {
            "default_generation_settings": {"n_ctx": 2048},
            "total_slots": 2,
            "model_alias": "tiny",
            "modalities": {"vision": True, "video": False, "audio": False},
        },
    },
    elsewhere=(
        404,
        {
            "error": {
                "message": "File Not Found",
                "type": "not_found_error",
                "code": 404,
            }
        },
    ),
)

OPENAI = Server(
    {
        "/v1/models": {
            "object": "list",
            "data": [
                {
                    "id": "gpt-4o-mini",
                    "object": "model",
                    "created": 1721172741,
                    "owned_by": "system",
                },
                {
                    "id": "ft:gpt-4o-mini:acme",
                    "object": "model",
                    "created": 1721172741,
                    "owned_by": "acme",
                },
            ],
        }
    }
)

ANTHROPIC = Server(
    {
        "/v1/models": {
            "data": [
                {
                    "type": "model",
                    "id": "claude-opus-5-5",
                    "display_name": "Claude Opus 5.5",
                    "created_at": "2026-09-29T00:00:00Z",
                    "lifecycle": "active",
                    "line": "opus",
                    "max_input_tokens": 1000000,
                    "max_tokens": 128000,
                    "capabilities": {
                        "image_input": {"supported": True},
                        "structured_outputs": {"supported": True},
                        "thinking": {
                            "supported": True,
                            "types": {
                                "adaptive": {"supported": True},
                                "enabled": {"supported": False},
                            },
                        },
                    },
                },
                {
                    "type": "model",
                    "id": "claude-haiku-4-5-20251001",
                    "display_name": "Claude Haiku 4.5",
                    "created_at": "1970-01-01T00:00:00Z",
                },
            ],
            "first_id": "claude-opus-5-5",
            "last_id": "claude-haiku-4-5-20251001",
            "has_more": False,
        }
    },
    elsewhere=(
        404,
        {
            "type": "error",
            "error": {"type": "not_found_error", "message": "Not Found"},
            "request_id": "req_1",
        },
    ),
)

GEMINI = Server(
    {
        "/v1beta/models": {
            "models": [
                {
                    "name": "models/gemini-3.8-flash",
                    "version": "001",
                    "displayName": "Gemini 3.8 Flash",
                    "inputTokenLimit": 1048576,
                    "outputTokenLimit": 65536,
                    "supportedGenerationMethods": [
                        "generateContent",
                        "countTokens",
                        "createCachedContent",
                        "batchGenerateContent",
                    ],
                    "temperature": 1,
                    "topP": 0.95,
                    "topK": 64,
                    "maxTemperature": 2,
                    "thinking": True,
                },
                {
                    "name": "models/gemini-embedding-001",
                    "version": "001",
                    "displayName": "Gemini Embedding 001",
                    "inputTokenLimit": 2048,
                    "outputTokenLimit": 1,
                    "supportedGenerationMethods": ["embedContent", "countTokens"],
                },
                {
                    "name": "models/imagen-4.0-generate-001",
                    "version": "001",
                    "inputTokenLimit": 480,
                    "outputTokenLimit": 8192,
                    "supportedGenerationMethods": ["predict"],
                },
            ]
        }
    },
    elsewhere=(404, {"error": {"code": 404, "message": "", "status": "NOT_FOUND"}}),
)

OPENROUTER = Server(
    {
        "/v1/models": {
            "data": [
                {
                    "id": "qwen/qwen-2.5-14b",
                    "canonical_slug": "qwen/qwen-2.5-14b",
                    "name": "Qwen 2.5 14B",
                    "created": 1726000000,
                    "context_length": 131072,
                    "architecture": {
                        "input_modalities": ["text", "image"],
                        "output_modalities": ["text"],
                    },
                    "pricing": {"prompt": "0.0000001", "completion": "0.0000002"},
                    "supported_parameters": ["tools", "reasoning", "max_tokens"],
                }
            ]
        }
    }
)

OLLAMA_CLOUD = Server(
    {
        "/api/tags": {
            "models": [
                {
                    "name": "gpt-oss:120b",
                    "model": "gpt-oss:120b",
                    "size": 65290180981,
                    "digest": "569662207105",
                    "details": {"format": "", "family": "", "families": None},
                }
            ]
        }
    }
)

ZAI = Server(
    {
        "/models": {
            "object": "list",
            "data": [
                {
                    "id": "glm-4.7",
                    "object": "model",
                    "created": 1760000000,
                    "owned_by": "z-ai",
                }
            ],
        }
    }
)

DEMO = Server(
    {
        "/v1/models": {
            "object": "list",
            "data": [{"id": "demo", "object": "model", "owned_by": "local-ai-demo"}],
        }
    }
)

PLAIN = Server(
    {
        "/v1/models": {
            "object": "list",
            "data": [{"id": "some-model", "object": "model", "owned_by": "someone"}],
        }
    }
)

SERVERS: Final[Mapping[str, Server]] = {
    "vllm": VLLM,
    "ollama": OLLAMA,
    "lmstudio": LMSTUDIO,
    "llamacpp": LLAMACPP,
    "openai": OPENAI,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "openrouter": OPENROUTER,
    "ollama-cloud": OLLAMA_CLOUD,
    "zai": ZAI,
    "openai-compatible": PLAIN,
    "demo": DEMO,
}
