"""Anthropic: its Messages as they are, everything else translated into them.

The API wants its version with each request and refuses beta flags it does not know;
what a model refuses is data (anthropic_models). It has no embeddings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from providers.anthropic_models import refused_of, sort_flags, traits_of
from providers.base import (
    Capabilities,
    FoundModel,
    Inventory,
    Pair,
    Prepared,
    Probe,
    ProbeReply,
    Request,
)
from providers.errors import Blame, Fault
from providers.listing import Document, inner, read_entries, read_models, text, whole
from providers.openai_compatible import ENGINE_FIELDS, OpenAICompatible
from providers.wire.translate.request import Effort, Target
from providers.wire.translate.request import Request as Asked
from providers.wire.translate.thinking import effort_of

VERSION: Final[Pair] = ("anthropic-version", "2023-06-01")
_BETA: Final = "anthropic-beta"
_LIST: Final = Probe("models", "/v1/models?limit=1000")
_NO_CREDIT: Final = re.compile(r"credit balance is too low", re.IGNORECASE)
_SHUT_OUT: Final = re.compile(r"organization has been disabled", re.IGNORECASE)
_SAFE_FLAG: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CAPABILITIES: Final = (
    ("image_input", "vision"),
    ("structured_outputs", "jsonMode"),
    ("thinking", "reasoning"),
)


class Anthropic(OpenAICompatible):
    """api.anthropic.com."""

    kind = "anthropic"
    title = "Anthropic"
    capabilities = Capabilities(
        operations=frozenset({"messages", "count_tokens"}),
        usage_option=False,
        local=False,
    )
    key_variables = ("ANTHROPIC_API_KEY",)
    default_url = "https://api.anthropic.com"
    probe_interval_s = 60.0
    liveness = _LIST
    listing = (_LIST,)
    auth_header = "x-api-key"
    allowed_headers = frozenset({"anthropic-user-profile-id"})
    stripped_fields = ENGINE_FIELDS - {"top_k"}
    # Batches and files are the whole account's.
    owner_paths = frozenset(
        {
            "GET /v1/files",
            "GET /v1/messages/batches",
            "GET /v1/messages/batches/*",
            "POST /v1/files",
            "POST /v1/messages/batches",
        }
    )

    def target_of(self, model: str) -> Target:
        traits = traits_of(model)
        return Target(
            model=model,
            drops=traits.refuses,
            thinks_by_effort=traits.thinks_by_effort,
        )

    def suit(
        self, asked: Asked, model: str | None = None
    ) -> tuple[Asked, tuple[str, ...]]:
        thinking = asked.thinking
        is_off = thinking is not None and effort_of(thinking) is Effort.NONE
        if is_off and traits_of(model or asked.model).always_thinks:
            return replace(asked, thinking=None), ("reasoning_effort",)
        return asked, ()

    def prepare(self, request: Request) -> Prepared:
        headers, strange = _known_flags(request.headers)
        prepared = super().prepare(replace(request, headers=_versioned(headers)))
        refused = refused_of(request.model, request.fields)
        if not refused and not strange:
            return prepared
        drop = prepared.drop_fields | refused
        return replace(prepared, drop_fields=drop, dropped=(*sorted(drop), *strange))

    def passage(self, rest: str, headers: Sequence[Pair]) -> Prepared:
        prepared = super().passage(rest, headers)
        return replace(prepared, headers=_versioned(prepared.headers))

    def probe_headers(self) -> tuple[Pair, ...]:
        return _versioned(super().probe_headers())

    def interpret(self, status: int, headers: Sequence[Pair], body: bytes) -> Fault:
        fault = super().interpret(status, headers, body)
        if fault.status != 400:
            return fault
        if _NO_CREDIT.search(fault.message):
            return replace(fault, blame=Blame.BROKEN, status=402)
        if _SHUT_OUT.search(fault.message) and not self.settings.forward_auth:
            return replace(fault, blame=Blame.KEY, status=403)
        return fault

    def is_alive(self, reply: ProbeReply) -> bool:
        return read_models(read_entries(reply, "data"), _read_model) is not None

    def read_listing(self, replies: Mapping[str, ProbeReply]) -> Inventory | None:
        entries = read_entries(replies.get("models"), "data")
        models = read_models(entries, _read_model)
        return None if models is None else Inventory(models)

    def recognises(self, replies: Mapping[str, ProbeReply]) -> bool:
        entries = read_entries(replies.get("models"), "data") or []
        return any(e.get("type") == "model" and "display_name" in e for e in entries)


def _versioned(headers: Sequence[Pair]) -> tuple[Pair, ...]:
    """Add the version where nobody has said one."""
    if any(name == VERSION[0] for name, _ in headers):
        return tuple(headers)
    return (*headers, VERSION)


def _known_flags(headers: Sequence[Pair]) -> tuple[Sequence[Pair], list[str]]:
    """Leave out the caller's beta flags that are not known; tell which they were."""
    values = [value for name, value in headers if name == _BETA]
    known, others = sort_flags(values)
    if not others:
        return headers, []
    kept = [pair for pair in headers if pair[0] != _BETA]
    if known:
        kept.append((_BETA, ",".join(known)))
    shown = [flag if _SAFE_FLAG.fullmatch(flag) else "?" for flag in others]
    return kept, [f"{_BETA}:{flag}" for flag in shown]


def _read_model(entry: Document) -> FoundModel | None:
    name = text(entry.get("id"))
    if name is None:
        return None
    told = inner(entry, "capabilities")
    able = {ours for theirs, ours in _CAPABILITIES if _supports(told, theirs)}
    return FoundModel(
        id=name,
        owned_by="anthropic",
        created=_seconds(text(entry.get("created_at"))),
        context_window=whole(entry.get("max_input_tokens")) or None,
        max_tokens=whole(entry.get("max_tokens")) or None,
        family="claude",
        kind="chat",
        inputs=("text", "image") if "vision" in able else ("text",) if told else (),
        capabilities=frozenset(able | {"functionCalling"}),
    )


def _supports(told: Document, name: str) -> bool:
    return inner(told, name).get("supported") is True


def _seconds(moment: str | None) -> int | None:
    try:
        return int(datetime.fromisoformat(moment or "").timestamp()) or None
    except (ValueError, OverflowError):
        return None
