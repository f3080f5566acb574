"""Gemini: Google's own API, into which everything is translated.

The model stands in the path, the key in a header of its own. Its errors may come as
a list of one, a wrong key as a 400, and how long to wait in the body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson
from msgspec.structs import replace

from providers.base import (
    Capabilities,
    FoundModel,
    Inventory,
    Life,
    Operation,
    Pair,
    Prepared,
    Probe,
    ProbeReply,
    Reach,
    Request,
)
from providers.errors import Blame, Fault
from providers.faults import MAX_RETRY_AFTER_S
from providers.listing import Document, read_entries, read_models, text, texts, whole
from providers.openai_compatible import OpenAICompatible
from providers.wire.translate.request import Target

_LIST: Final = Probe("models", "/v1beta/models?pageSize=1000")
_STREAM: Final = "/models/{model}:streamGenerateContent"
_MODEL: Final = "/models/{model}"
_FOLDERS: Final = ("models/", "tunedModels/")
_VERB: Final = re.compile(r"(/v1(?:beta)?/models/[^/:]+):(\w+)")
_WORD: Final = re.compile(r"[A-Z][A-Z_]{1,40}")
_REACH: Final[Mapping[str, Reach]] = {
    "batchEmbedContents": Reach.INFERENCE,
    "countTokens": Reach.METADATA,
    "embedContent": Reach.INFERENCE,
    "generateContent": Reach.INFERENCE,
    "streamGenerateContent": Reach.INFERENCE,
}
_NUMBER: Final = re.compile(r"gemini-(\d{1,2})(?!\d)|gemini-[a-z-]+-latest")
# Documented by Google for calls that another model made; without any signature at
# all the request is refused.
NO_SIGNATURE: Final = "skip_thought_signature_validator"
_TOO_LONG: Final = re.compile(r"token count.{0,60}exceeds the maximum", re.IGNORECASE)
_DELAY: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")


class Gemini(OpenAICompatible):
    """generativelanguage.googleapis.com."""

    kind = "gemini"
    title = "Gemini"
    capabilities = Capabilities(
        operations=frozenset({"gemini_generate", "gemini_embed", "gemini_count"}),
        usage_option=False,
        always_terminates=False,
        local=False,
    )
    key_variables = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
    default_url = "https://generativelanguage.googleapis.com"
    probe_interval_s = 60.0
    liveness = _LIST
    listing = (_LIST,)
    api_root = "/v1beta"
    auth_header = "x-goog-api-key"
    inference_paths = frozenset(
        {
            "POST /v1beta/openai/chat/completions",
            "POST /v1beta/openai/embeddings",
        }
    )
    metadata_paths = frozenset(
        {
            "GET /v1/models",
            "GET /v1/models/*",
            "GET /v1beta/models",
            "GET /v1beta/models/*",
            "GET /v1beta/openai/models",
            "GET /v1beta/openai/models/*",
        }
    )
    # Files, cached contents and tuned models are the whole account's.
    owner_paths = frozenset(
        {
            "GET /v1beta/cachedContents",
            "GET /v1beta/files",
            "POST /upload/v1beta/files",
            "POST /v1beta/cachedContents",
        }
    )

    def below(self, operation: Operation) -> str:
        return self.root + operation.path

    def target_of(self, model: str) -> Target:
        # Since Gemini 3: levels instead of budgets, and signatures are asked back.
        is_new = _is_new(model)
        return Target(
            model=model,
            thinks_by_effort=is_new,
            signature_else=NO_SIGNATURE if is_new else None,
        )

    def prepare(self, request: Request) -> Prepared:
        path, query = request.operation.path, request.query
        if request.stream and request.operation.name == "gemini_generate":
            path, query = _STREAM, f"alt=sse&{query}" if query else "alt=sse"
        path = path.replace(_MODEL, "/" + resource(request.model))
        return Prepared(
            f"{self.prefix}{self.root}{path}" + (f"?{query}" if query else ""),
            self._headers.for_model(request.headers),
        )

    def below_root(self, path: str) -> str:
        """Take the version off a path where the base URL ends with it."""
        start = self.api_root + "/"
        if self.root == "" and path.startswith(start):
            return path[len(start) - 1 :]
        return path

    def interpret(self, status: int, headers: Sequence[Pair], body: bytes) -> Fault:
        fault = super().interpret(status, headers, body)
        error = _error_in(body)
        said = error.get("status")
        if isinstance(said, str) and _WORD.fullmatch(said) and fault.code is None:
            fault = replace(fault, code=said)
        notes = _notes(error)
        if fault.retry_after_s is None:
            fault = replace(fault, retry_after_s=_delay(notes))
        if fault.blame is not Blame.CALLER:
            return fault
        wrong_key = any(note.get("reason") == "API_KEY_INVALID" for note in notes)
        if wrong_key and not self.settings.forward_auth:
            return replace(fault, blame=Blame.KEY, status=401)
        if said == "FAILED_PRECONDITION":  # no billing, or a region it does not serve
            return replace(fault, blame=Blame.BROKEN)
        if _TOO_LONG.search(fault.message):
            return replace(fault, code="context_length_exceeded")
        return fault

    def read_liveness(self, reply: ProbeReply) -> Life:
        life = super().read_liveness(reply)
        if life is Life.DOWN and reply.status == 400:
            fault = self.interpret(reply.status, (), reply.body)
            return Life.REFUSED if fault.blame is Blame.KEY else life
        return life

    def is_alive(self, reply: ProbeReply) -> bool:
        return read_models(_entries(reply), _read_model) is not None

    def read_listing(self, replies: Mapping[str, ProbeReply]) -> Inventory | None:
        models = read_models(_entries(replies.get("models")), _read_model)
        return None if models is None else Inventory(models)

    def recognises(self, replies: Mapping[str, ProbeReply]) -> bool:
        return bool(_entries(replies.get("models")))

    def reach(self, method: str, path: str) -> Reach:
        path = self._versioned(path)
        verb = _VERB.fullmatch(path)
        if verb is None:
            return self._paths.classify(method, path)
        if method != "POST" or self._paths.classify("GET", verb[1]) is Reach.OWNER:
            return Reach.OWNER
        return _REACH.get(verb[2], Reach.OWNER)

    def model_in(self, path: str) -> str | None:
        verb = _VERB.fullmatch(self._versioned(path))
        return None if verb is None else verb[1].rpartition("/")[2]

    def keeps(self, method: str, path: str) -> bool:
        return self._paths.keeps(method, self._versioned(path))

    def _versioned(self, path: str) -> str:
        """Name a path as the tables do, where the base URL ends with the version."""
        if self.root == "" and not path.startswith("/v1"):
            return self.api_root + path
        return path


def resource(model: str) -> str:
    """The path of a model below the version; no character of its name leaves it."""
    for folder in _FOLDERS:
        if model.startswith(folder):
            return folder + quote(model[len(folder) :], safe="")
    return _FOLDERS[0] + quote(model, safe="")


def _is_new(model: str) -> bool:
    found = _NUMBER.search(model)
    return found is not None and int(found[1] or 3) >= 3


def _error_in(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except ValueError:
        return {}
    if isinstance(found, list):
        found = found[0] if found else None
    error = found.get("error") if isinstance(found, dict) else None
    return error if isinstance(error, dict) else {}


def _notes(error: dict[str, Any]) -> list[dict[str, Any]]:
    details = error.get("details")
    found = details if isinstance(details, list) else []
    return [note for note in found if isinstance(note, dict)]


def _delay(notes: list[dict[str, Any]]) -> float | None:
    """How long it asks to wait: `"retryDelay": "37s"`."""
    for note in notes:
        said = _DELAY.fullmatch(str(note.get("retryDelay") or ""))
        if said is not None:
            return min(float(said[1]), MAX_RETRY_AFTER_S)
    return None


def _entries(reply: ProbeReply | None) -> list[Document] | None:
    """The models listed, only where they are named as Google names them."""
    entries = read_entries(reply, "models")
    if entries is None:
        return None
    named = [entry for entry in entries if "supportedGenerationMethods" in entry]
    return named if named or not entries else None


def _read_model(entry: Document) -> FoundModel | None:
    name = text(entry.get("name"))
    methods = texts(entry.get("supportedGenerationMethods"))
    talks = "generateContent" in methods
    if name is None or not (talks or "embedContent" in methods):
        return None  # it paints or films, by operations of its own
    able = {"functionCalling", "jsonMode", "vision"} if talks else set()
    if entry.get("thinking") is True:
        able.add("reasoning")
    return FoundModel(
        id=name.removeprefix("models/"),
        owned_by="google",
        context_window=whole(entry.get("inputTokenLimit")) or None,
        max_tokens=whole(entry.get("outputTokenLimit")) or None,
        family="gemini" if "gemini" in name else None,
        kind="chat" if talks else "embeddings",
        inputs=("text", "image", "audio", "video") if talks else ("text",),
        capabilities=frozenset(able),
    )
