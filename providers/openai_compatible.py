"""The base of all that speak /v1, and the adapter for those of no known kind.

It works from declared data: a kind is a class whose attributes say where things
are and what may be sent; it overrides a method only to read what no other kind
sends. What does not depend on the request is settled in the constructor.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from providers.base import (
    ASKABLE,
    NATIVE,
    Adapter,
    Capabilities,
    Inventory,
    Life,
    Operation,
    Pair,
    Prepared,
    Probe,
    ProbeReply,
    Reach,
    Request,
    Settings,
)
from providers.errors import Blame, Fault
from providers.faults import read_fault
from providers.headers import HeaderPolicy, auth_pair
from providers.listing import Document, read_entries, read_model, read_models, text
from providers.reach import Paths
from providers.wire.translate.request import Target

# What only an engine at home understands: hints, cache and queue plumbing. Clouds
# answer 400 to some of them, so a failover from such an engine must leave them out.
# Constraints on the answer (guided_*, structured_outputs) are not here: an answer
# without them would be another answer, and the cloud's 400 is the honest reply.
ENGINE_FIELDS: Final = frozenset(
    {
        "cache_salt",
        "chat_template_kwargs",
        "keep_alive",
        "kv_transfer_params",
        "min_p",
        "priority",
        "repetition_penalty",
        "top_k",
        "ttl",
    }
)
# What servers of a known kind put into `owned_by`.
KNOWN_OWNERS: Final = frozenset(
    {"library", "llamacpp", "local-ai-demo", "organization_owner", "vllm"}
)

_NOTHING: Final[Mapping[str, bytes]] = MappingProxyType({})
_NO_FIELDS: Final[frozenset[str]] = frozenset()
_VERSION_AT_END: Final = re.compile(r"/v[0-9]+[a-z0-9]*$")


class OpenAICompatible(Adapter):
    """Any server with an OpenAI-like /v1.

    `api_root` goes between the base URL's path and an operation's path, unless
    that path ends in a version of its own (`/api/paas/v4`). `extra_fields` are
    body members understood beyond the dialect, `stripped_fields` those left out.
    The path tables hold rules of providers.reach, below the server's root; the
    declared operations and the model list need not be repeated there. The last four
    are for requests translated into chat: what it calls the limit and the reasoning
    of earlier turns, whether it fetches images and knows cache breakpoints.
    """

    kind = "openai-compatible"
    title = "OpenAI-compatible server"
    capabilities = Capabilities(
        operations=frozenset(
            {
                "chat",
                "completions",
                "embeddings",
                "rerank",
                "moderations",
                "speech",
                "transcriptions",
                "translations",
                "image_generations",
                "image_edits",
            }
        )
    )
    liveness = Probe("models", "/v1/models")
    listing: ClassVar[tuple[Probe, ...]] = (Probe("models", "/v1/models"),)

    api_root: ClassVar[str] = "/v1"
    auth_header: ClassVar[str] = "authorization"
    own_headers: ClassVar[tuple[Pair, ...]] = ()
    allowed_headers: ClassVar[frozenset[str]] = frozenset()
    extra_fields: ClassVar[frozenset[str]] = frozenset()
    stripped_fields: ClassVar[frozenset[str]] = frozenset()
    inference_paths: ClassVar[frozenset[str]] = frozenset()
    metadata_paths: ClassVar[frozenset[str]] = frozenset()
    owner_paths: ClassVar[frozenset[str]] = frozenset()
    limit_field: ClassVar[str] = "max_tokens"
    reasoning_field: ClassVar[str | None] = None
    image_urls: ClassVar[bool | None] = None
    cache_control: ClassVar[bool | None] = None

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.prefix = urlsplit(settings.base_url).path.rstrip("/")
        self.root = "" if _VERSION_AT_END.search(self.prefix) else self.api_root
        served = [ASKABLE[name] for name in sorted(self.capabilities.operations)]
        self._urls = {op.name: self.path_of(op) for op in served}
        self._paths = Paths(
            self.inference_paths | {f"{op.method} {self.below(op)}" for op in served},
            self.metadata_paths
            | {f"GET {self.root}/models", f"GET {self.root}/models/*"},
            self.owner_paths,
        )
        self._headers = self._policy(None if settings.forward_auth else settings.key)
        # Probes have no caller whose credential could go on: ours does, if any.
        probing = self._policy(settings.key) if settings.forward_auth else self._headers
        self._probe_headers = (("accept", "application/json"), *probing.own)

    def below(self, operation: Operation) -> str:
        """The path of an operation, below the server's root."""
        return (
            operation.path if operation.name in NATIVE else self.root + operation.path
        )

    def path_of(self, operation: Operation) -> str:
        """The path of an operation, from the origin on."""
        return self.prefix + self.below(operation)

    def target_of(self, model: str) -> Target:
        return Target(
            model=model,
            image_urls=self.image_urls,
            cache_control=self.cache_control,
            limit_field=self.limit_field,
            reasoning_field=self.reasoning_field,
        )

    def prepare(self, request: Request) -> Prepared:
        operation = request.operation
        # An operation that is not declared never gets here by a model's name; the
        # usual path is still the best answer for whoever insists.
        path = self._urls.get(operation.name) or self.path_of(operation)
        model = request.model
        dropped = request.fields & self.stripped_fields
        return Prepared(
            f"{path}?{request.query}" if request.query else path,
            self._headers.for_model(request.headers),
            _NOTHING
            if model == request.asked_model
            else {"model": json.dumps(model).encode()},
            dropped,
            tuple(sorted(dropped)) if dropped else (),
        )

    def passage(self, rest: str, headers: Sequence[Pair]) -> Prepared:
        return Prepared(
            self.prefix + self.below_root(rest), self._headers.for_passage(headers)
        )

    def below_root(self, path: str) -> str:
        """Take a /v1 off a path where the base URL is a versioned API of its own."""
        if self.root == "" and path.startswith("/v1/"):
            return path[3:]
        return path

    def interpret(self, status: int, headers: Sequence[Pair], body: bytes) -> Fault:
        fault = read_fault(status, headers, body, self._headers.secrets)
        if fault.blame is Blame.KEY and self.settings.forward_auth:
            return replace(fault, blame=Blame.CALLER)  # the key is the caller's
        return fault

    def probe_headers(self) -> tuple[Pair, ...]:
        return self._probe_headers

    def read_liveness(self, reply: ProbeReply) -> Life:
        if self.is_alive(reply):
            return Life.UP
        if reply.status in (401, 403):
            return Life.REFUSED
        if reply.status == 429:
            return Life.UP  # it is there and says wait
        if reply.status == 503:
            fault = read_fault(reply.status, (), reply.body)
            return Life.LOADING if fault.blame is Blame.LOADING else Life.DOWN
        return Life.DOWN

    def is_alive(self, reply: ProbeReply) -> bool:
        """Tell whether a liveness answer has the shape a healthy server gives it."""
        return read_models(read_entries(reply, "data"), read_model) is not None

    def read_listing(self, replies: Mapping[str, ProbeReply]) -> Inventory | None:
        models = read_models(read_entries(replies.get("models"), "data"), read_model)
        return None if models is None else Inventory(models)

    def recognises(self, replies: Mapping[str, ProbeReply]) -> bool:
        entries = read_entries(replies.get("models"), "data")
        if not entries or read_models(entries, read_model) is None:
            return False
        return not any(self.owner_of(entry) in KNOWN_OWNERS for entry in entries)

    @staticmethod
    def owner_of(entry: Document) -> str | None:
        return text(entry.get("owned_by"))

    def reach(self, method: str, path: str) -> Reach:
        return self._paths.classify(method, self.below_root(path))

    def keeps(self, method: str, path: str) -> bool:
        return self._paths.keeps(method, self.below_root(path))

    def _policy(self, key: str | None) -> HeaderPolicy:
        form = self.settings.auth_type
        header = {"bearer": "authorization", "api_key": "x-api-key"}.get(form or "")
        return HeaderPolicy(
            self.settings,
            auth_pair(header or self.auth_header, key),
            defaults=self.own_headers,
            allowed=self.allowed_headers,
        )
