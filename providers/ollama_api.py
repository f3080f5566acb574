"""What Ollama's daemon and its cloud have in common: /api, and when it is used.

Their OpenAI side knows neither the context's size nor how long a model stays: a
request that says such things is translated into /api/chat.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final

from msgspec.structs import asdict, replace

from providers.base import NATIVE, FoundModel, Operation, ProbeReply
from providers.listing import (
    Document,
    inner,
    read_entries,
    read_models,
    text,
    texts,
    whole,
)
from providers.openai_compatible import OpenAICompatible
from providers.wire.dialect import Dialect
from providers.wire.translate.mapping import BINDING
from providers.wire.translate.ollama.request_reader import read_request
from providers.wire.translate.request import Request as Asked
from providers.wire.translate.request import Sampling, Target, Thinking

INFERENCE: Final = frozenset(
    {"POST /api/chat", "POST /api/embed", "POST /api/embeddings", "POST /api/generate"}
)
METADATA: Final = frozenset(
    {
        "GET /",
        "GET /api/ps",
        "GET /api/status",
        "GET /api/tags",
        "GET /api/version",
        "POST /api/show",
    }
)
OWNER: Final = frozenset(
    {
        "DELETE /api/delete",
        "GET /api/blobs/*",
        "POST /api/blobs/*",
        "POST /api/copy",
        "POST /api/create",
        "POST /api/experimental/*",
        "POST /api/pull",
        "POST /api/push",
    }
)
_CAPABILITIES: Final[Mapping[str, str]] = MappingProxyType({
    "tools": "functionCalling",
    "thinking": "reasoning",
    "vision": "vision",
    "embedding": "embeddings",
})  # fmt: skip

_TALKS: Final = frozenset({"chat", "messages", "responses"})
_OF_EMBEDDINGS: Final = frozenset({"keep_alive", "options", "truncate"})
_LEVELLED: Final = "gpt-oss"  # the models that think at a level
_MEMBERS: Final = frozenset({"format", "keep_alive", "num_ctx", "options", "think"})


class OllamaLike(OpenAICompatible):
    """`native_fields` are the members that its OpenAI side does not understand."""

    native_fields: ClassVar[frozenset[str]] = frozenset(
        {"format", "num_ctx", "options", "think"}
    )
    extra_fields = frozenset({"keep_alive", "options", "think"})
    inference_paths = INFERENCE
    metadata_paths = METADATA
    owner_paths = OWNER
    image_urls = False
    reasoning_field = "reasoning"

    def way(
        self, operation: Operation, fields: frozenset[str] = frozenset()
    ) -> Operation | None:
        if operation.name in _TALKS and not fields.isdisjoint(self.native_fields):
            return NATIVE["ollama_chat"]
        if operation.name == "embeddings" and not fields.isdisjoint(_OF_EMBEDDINGS):
            return NATIVE["ollama_embed"]
        return super().way(operation, fields)

    def target_of(self, model: str) -> Target:
        found = super().target_of(model)
        return replace(found, thinks_by_effort=_LEVELLED in model)

    def suit(
        self, asked: Asked, model: str | None = None
    ) -> tuple[Asked, tuple[str, ...]]:
        return with_own_members(asked, has_levels=_LEVELLED in (model or asked.model))


def with_own_members(
    asked: Asked, *, has_levels: bool
) -> tuple[Asked, tuple[str, ...]]:
    """Read Ollama's own members in another dialect's body as Ollama itself would.

    What the caller's dialect says of the same thing comes first. Answers the names
    of what is left out, too. Raises Refused.
    """
    extras = asked.extras
    refused = BINDING.get(asked.origin, frozenset())
    if asked.origin is Dialect.OLLAMA or not refused.isdisjoint(extras):
        return asked, ()  # nothing to do; or the writer refuses it
    own = {name: extras[name] for name in _MEMBERS if name in extras}
    if not own:
        return asked, ()
    size = own.pop("num_ctx", None)
    options = own.get("options", {})
    if size is not None and isinstance(options, dict):
        own["options"] = {"num_ctx": size, **options}
    said = read_request({"model": asked.model or "?", "messages": [], **own})
    thinking = asked.thinking
    if thinking is not None and not has_levels and thinking.enabled is not False:
        thinking = Thinking(enabled=True)  # a level is refused where there are none
    suited = replace(
        asked,
        origin=Dialect.OLLAMA,
        sampling=_together(asked.sampling, said.sampling),
        max_tokens=asked.max_tokens or said.max_tokens,
        response_format=asked.response_format or said.response_format,
        thinking=thinking or said.thinking,
        extras=said.extras,
    )
    return suited, tuple(name for name in extras if name not in _MEMBERS)


def _together(first: Sampling, second: Sampling) -> Sampling:
    values = asdict(first)
    for name, value in values.items():
        if value is None or value == ():
            values[name] = getattr(second, name)
    return Sampling(**values)


def read_tags(reply: ProbeReply | None) -> tuple[FoundModel, ...] | None:
    """Read the answer to GET /api/tags; None when it is another server's."""
    return read_models(read_entries(reply, "models"), _read_tag)


def _read_tag(entry: Document) -> FoundModel | None:
    name = text(entry.get("model")) or text(entry.get("name"))
    if name is None:
        return None
    details = inner(entry, "details")
    family = text(details.get("family"))
    told = texts(entry.get("capabilities"))
    return FoundModel(
        id=name,
        owned_by="library",
        family=family,
        context_window=whole(details.get("context_length")) or None,
        kind=_kind(name, family or "", told),
        inputs=("text", "image") if "vision" in told else (),
        capabilities=frozenset(
            _CAPABILITIES[word] for word in told if word in _CAPABILITIES
        ),
    )


def _kind(name: str, family: str, told: tuple[str, ...]) -> str:
    if told:
        return "chat" if "completion" in told else "embeddings"
    # Older daemons do not say; encoders are of BERT's families or named for it.
    embeds = "bert" in family or "embed" in name
    return "embeddings" if embeds else "chat"
