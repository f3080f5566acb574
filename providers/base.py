"""The contract between the gateway and an adapter, and the values it is made of.

An adapter is pure: `prepare` says what to send, `interpret` says what a reply
that failed means, `read_*` read probe answers. Whoever calls does the I/O. The
gateway's side is proxy.pipeline and proxy.routing; a script can do the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar, Final

from msgspec import Struct, field

from providers.errors import Fault
from providers.wire.dialect import Dialect
from providers.wire.translate.request import Request as Asked
from providers.wire.translate.request import Target

Pair = tuple[str, str]


class BodyKind(StrEnum):
    JSON = "json"  # one object with a `model`
    FORM = "form"  # multipart/form-data with a `model` part, streamed through
    NONE = "none"


class Operation(Struct, frozen=True):
    """Something that can be asked of a model. `path` is below a provider's /v1.

    `name` is also the capability an adapter must declare to be asked for it.
    """

    name: str
    path: str
    dialect: Dialect
    method: str = "POST"
    body: BodyKind = BodyKind.JSON


_CHAT, _RESPONSES, _MESSAGES = Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES

OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType({
    row.name: row
    for row in (
        Operation("chat", "/chat/completions", _CHAT),
        Operation("completions", "/completions", _CHAT),
        Operation("embeddings", "/embeddings", _CHAT),
        Operation("rerank", "/rerank", _CHAT),
        Operation("moderations", "/moderations", _CHAT),
        Operation("speech", "/audio/speech", _CHAT),
        Operation("transcriptions", "/audio/transcriptions", _CHAT, body=BodyKind.FORM),
        Operation("translations", "/audio/translations", _CHAT, body=BodyKind.FORM),
        Operation("image_generations", "/images/generations", _CHAT),
        Operation("image_edits", "/images/edits", _CHAT, body=BodyKind.FORM),
        Operation("responses", "/responses", _RESPONSES),
        Operation("messages", "/messages", _MESSAGES),
        Operation("count_tokens", "/messages/count_tokens", _MESSAGES),
    )
})  # fmt: skip

_OLLAMA, _GEMINI = Dialect.OLLAMA, Dialect.GEMINI

# What only its own vendor's API has; paths are below the server's root, or Gemini's
# version. The model stands in the path where there are braces.
NATIVE: Final[Mapping[str, Operation]] = MappingProxyType({
    row.name: row
    for row in (
        Operation("ollama_chat", "/api/chat", _OLLAMA),
        Operation("ollama_generate", "/api/generate", _OLLAMA),
        Operation("ollama_embed", "/api/embed", _OLLAMA),
        Operation("ollama_embeddings", "/api/embeddings", _OLLAMA),
        Operation("gemini_generate", "/models/{model}:generateContent", _GEMINI),
        Operation("gemini_embed", "/models/{model}:batchEmbedContents", _GEMINI),
        Operation("gemini_count", "/models/{model}:countTokens", _GEMINI),
    )
})  # fmt: skip
ASKABLE: Final[Mapping[str, Operation]] = MappingProxyType({**OPERATIONS, **NATIVE})
EMBEDDING: Final = frozenset({"embeddings", "ollama_embed", "ollama_embeddings"})
"""Operations whose answers are vectors."""
STREAM_UNLESS_TOLD: Final = frozenset({"ollama_chat", "ollama_generate"})
"""Operations whose answers are streams where the body does not say `"stream": false`."""

# What may serve in an operation's place, translated; the nearest relative first.
STAND_INS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "chat": ("messages", "gemini_generate", "ollama_chat", "responses"),
    "responses": ("chat", "messages", "gemini_generate", "ollama_chat"),
    "messages": ("chat", "gemini_generate", "ollama_chat", "responses"),
    "ollama_chat": ("chat", "messages", "gemini_generate", "responses"),
    "ollama_generate": ("chat", "messages", "gemini_generate", "responses"),
    "embeddings": ("gemini_embed", "ollama_embed"),
    "ollama_embed": ("embeddings", "gemini_embed"),
    "ollama_embeddings": ("ollama_embed", "embeddings", "gemini_embed"),
    "count_tokens": ("gemini_count",),
})  # fmt: skip


class Settings(Struct, frozen=True):
    """What an adapter must know of its provider.

    `base_url` has no closing slash and no closing /v1: `http://host:8000`,
    `https://api.z.ai/api/paas/v4`. `headers` are the operator's own, sent always.
    `auth_type` is "bearer", "api_key" or None for the kind's usual form;
    `forward_auth`: the caller's own credential goes on instead of `key`.
    """

    id: str
    base_url: str
    key: str | None = None
    headers: tuple[Pair, ...] = ()
    forward_headers: frozenset[str] = frozenset()
    auth_type: str | None = None
    forward_auth: bool = False

    def __repr__(self) -> str:
        return f"Settings({self.id})"  # the rest holds secrets


class Capabilities(Struct, frozen=True):
    """What a kind of provider can do.

    `operations` are names of ASKABLE that it is asked for as they are; what else it
    serves, translated, `Adapter.way` tells. `usage_option` says that it knows
    `stream_options.include_usage`; `always_terminates` that its streams close
    with their dialect's terminator; `websocket` that pass-through may upgrade.
    `local` decides default timeouts and routing order.
    """

    operations: frozenset[str]
    usage_option: bool = True
    always_terminates: bool = True
    websocket: bool = False
    local: bool = True
    default_slots: int | None = None


class Request(Struct, frozen=True):
    """A model request as the adapter sees it.

    `fields` are the names of the body's top-level members; the body itself stays
    with the caller of `prepare`. Of a translated request, `fields` are those of the
    body as it was written, `asked_model` is `model`, and there is no query. `headers`
    are the caller's, names lower-case.
    """

    operation: Operation
    model: str
    asked_model: str
    stream: bool
    fields: frozenset[str]
    headers: Sequence[Pair]
    query: str = ""


class Prepared(Struct, frozen=True):
    """What to send: `url_path` is origin-form (prefix, path and query).

    `set_fields` maps top-level members to their new JSON text, `drop_fields` are
    taken out; every other byte of the body goes as it came. `dropped` names what
    the caller should be told of.
    """

    url_path: str
    headers: tuple[Pair, ...]
    set_fields: Mapping[str, bytes] = field(default_factory=dict)
    drop_fields: frozenset[str] = frozenset()
    dropped: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Prepared({self.url_path})"  # its headers hold the provider's key


class Reach(StrEnum):
    """Who may use a path by direct pass-through (http-api §5)."""

    INFERENCE = "inference"
    METADATA = "metadata"
    OWNER = "owner"


class Probe(Struct, frozen=True):
    """A cheap question that loads nothing. `path` is below the server's root."""

    name: str
    path: str
    method: str = "GET"
    body: bytes = b""


class ProbeReply(Struct, frozen=True):
    status: int
    body: bytes


class Life(StrEnum):
    """What a probe's answer says of the server."""

    UP = "up"
    LOADING = "loading"
    DOWN = "down"
    REFUSED = "refused"  # it is there but rejects our key: configuration, no outage


class FoundModel(Struct, frozen=True):
    """A model that a provider lists.

    `warm`: True loaded, False not, None unknown. `context_window` in tokens is
    the loaded one where the provider says, else the model's, `max_tokens` the most it
    writes in one reply. `kind` is "chat", "embeddings" or None when unknown. `inputs`
    such as ("text", "image").
    """

    id: str
    owned_by: str | None = None
    created: int | None = None
    context_window: int | None = None
    max_tokens: int | None = None
    warm: bool | None = None
    family: str | None = None
    kind: str | None = None
    inputs: tuple[str, ...] = ()
    capabilities: frozenset[str] = frozenset()


class Inventory(Struct, frozen=True):
    """What discovery learned: models, and slots if the server says how many."""

    models: tuple[FoundModel, ...]
    slots: int | None = None


class Adapter(ABC):
    """One kind of provider. Subclasses declare data; few need to override methods.

    `usual_ports` and `key_variables` serve discovery: where a local server of
    this kind listens, which environment variables hold a cloud's key (first that
    is set wins). `default_url` is the cloud's base.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    usual_ports: ClassVar[tuple[int, ...]] = ()
    key_variables: ClassVar[tuple[str, ...]] = ()
    default_url: ClassVar[str | None] = None
    liveness: ClassVar[Probe]
    listing: ClassVar[tuple[Probe, ...]]
    probe_interval_s: ClassVar[float] = 30.0

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def way(
        self, operation: Operation, fields: frozenset[str] = frozenset()
    ) -> Operation | None:
        """Say by which operation a caller's is served: by the same, and its bytes go
        through; by another, whose dialect it is translated into; None for by none.

        `fields` are the names of the body's top-level members.
        """
        able = self.capabilities.operations
        names = (operation.name, *STAND_INS.get(operation.name, ()))
        return next((ASKABLE[name] for name in names if name in able), None)

    def target_of(self, model: str) -> Target:
        """Say what the writer of a translated request must know of a model here."""
        return Target(model=model)

    def suit(
        self, asked: Asked, model: str | None = None
    ) -> tuple[Asked, tuple[str, ...]]:
        """Make a request fit before it is written: what a kind knows beyond the caller's
        dialect finds its place. Answers it, and what was left out. Raises Refused.

        `model` is the upstream's id, where that is not what the caller says.
        """
        return asked, ()

    @abstractmethod
    def prepare(self, request: Request) -> Prepared:
        """Say what to send for a model request. Raises nothing."""

    @abstractmethod
    def passage(self, rest: str, headers: Sequence[Pair]) -> Prepared:
        """Say what to send for pass-through; `rest` is path and query below the root,
        as sent, beginning with a slash.
        """

    @abstractmethod
    def interpret(self, status: int, headers: Sequence[Pair], body: bytes) -> Fault:
        """Say what a reply of status ≥ 300, or an error body in a 200, means."""

    @abstractmethod
    def probe_headers(self) -> tuple[Pair, ...]:
        """The header fields for probes: the key, and the operator's own."""

    @abstractmethod
    def read_liveness(self, reply: ProbeReply) -> Life:
        """Read the answer to `liveness`; checks its shape, not only its status."""

    @abstractmethod
    def read_listing(self, replies: Mapping[str, ProbeReply]) -> Inventory | None:
        """Read the answers to `listing` by probe name; None when no shape fits.

        A probe that got no answer is absent from `replies`.
        """

    @abstractmethod
    def recognises(self, replies: Mapping[str, ProbeReply]) -> bool:
        """Tell whether answers to `listing` came from a server of this kind."""

    @abstractmethod
    def reach(self, method: str, path: str) -> Reach:
        """Classify a decoded pass-through path (below the root)."""

    def model_in(self, path: str) -> str | None:
        """Read the model that a decoded inference path names, where it is not in the
        body.
        """
        return None

    @abstractmethod
    def keeps(self, method: str, path: str) -> bool:
        """Tell whether a decoded path (below the root) is known to be the owner's."""
