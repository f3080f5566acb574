"""Reads a reply that failed, whatever shape its server gives errors.

Knows the shapes seen in the field, side by side: OpenAI, Anthropic, Ollama,
llama.cpp, OpenRouter, vLLM old and new, FastAPI, lists of one, web pages and
nothing at all. Never raises: what cannot be read becomes a plain sentence.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final

import orjson
from msgspec import Struct
from msgspec.structs import replace

from providers.errors import Blame, Fault

Pair = tuple[str, str]

MAX_MESSAGE_CHARS: Final = 2_000
MAX_RETRY_AFTER_S: Final = 86_400.0
# Seconds in one of each; a server that sends both means the finer one.
_WAITING: Final = MappingProxyType({"retry-after-ms": 0.001, "retry-after": 1.0})
_MAX_WORD_CHARS: Final = 200
_MAX_TEXT_BYTES: Final = 16_384

_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+"
)
_TITLE: Final = re.compile(r"<title[^>]*>([^<]{1,200})</title", re.IGNORECASE)
_DIGITS: Final = re.compile(r"[0-9]{1,10}")

_BLAME: Final[Mapping[int, Blame]] = MappingProxyType(
    {
        401: Blame.KEY,
        402: Blame.BROKEN,  # our account is empty: not the caller's doing
        403: Blame.KEY,
        407: Blame.BROKEN,  # an outbound proxy wants a password
        408: Blame.BROKEN,
        429: Blame.RATE,
        499: Blame.BROKEN,  # Ollama's word for a request that was cancelled
        503: Blame.OVERLOADED,
        529: Blame.OVERLOADED,
    }
)
# For an error object in a reply of status 200, which says the status only so.
_STATUS_OF_TYPE: Final[Mapping[str, int]] = MappingProxyType(
    {
        "invalid_request_error": 400,
        "exceed_context_size_error": 400,
        "authentication_error": 401,
        "billing_error": 402,
        "permission_error": 403,
        "not_found_error": 404,
        "request_too_large": 413,
        "rate_limit_error": 429,
        "unavailable_error": 503,
        "timeout_error": 504,
        "overloaded_error": 529,
    }
)
# An address that is not there, as frameworks and servers say it; one that says what it is
# that was not found (a model, a response) has the address.
_NO_ROUTE: Final = re.compile(
    r"\W*(?:404\W+)?(?:(?:page|file|route|path|url|resource|endpoint) )?not found\W*"
    r"|(?:cannot post|unexpected endpoint|invalid url|no such (?:route|endpoint|path)"
    r"|unknown (?:request url|endpoint|route|path))\b.*",
    re.IGNORECASE | re.DOTALL,
)
_WEB_PAGE: Final = "The provider answered with a web page"
_REFUSED_CONTENT: Final = frozenset(
    {"content_filter", "content_policy_violation", "moderation"}
)


class Words(Struct, frozen=True):
    """What an error body says. `number` is its own idea of the HTTP status;
    `flagged`: the content was refused by moderation.
    """

    message: str = ""
    code: str | None = None
    type: str | None = None
    param: str | None = None
    number: int | None = None
    flagged: bool = False


def read_fault(
    status: int, headers: Iterable[Pair], body: bytes, secrets: Sequence[str] = ()
) -> Fault:
    """Turn a failed reply into a Fault; `secrets` never show up in it."""
    words = read_words(body)
    status = _status(status, words)
    blame = _blame(status, words)
    return Fault(
        blame=blame,
        status=status,
        message=_clip(_sentence(status, _clean(words.message, secrets))),
        code=_clean_word(words.code, secrets),
        type=_clean_word(words.type, secrets),
        param=_clean_word(words.param, secrets),
        retry_after_s=read_retry_after(headers),
        tells_secret=_tells_secret(body, secrets),
        lacks_route=_lacks_route(status, words),
    )


def _lacks_route(status: int, words: Words) -> bool:
    said = words.message.strip()
    if status == 405:
        return True
    if status != 404:
        return said.lower().startswith("unexpected endpoint")  # LM Studio, with a 200
    if "model" in (words.code or ""):
        return False
    return not said or said.startswith(_WEB_PAGE) or bool(_NO_ROUTE.fullmatch(said))


def read_retry_after(headers: Iterable[Pair]) -> float | None:
    """Seconds the upstream asks to wait, a day at most.

    A moment counts from the reply's own `date`, so that clocks need not agree; a reply
    without one gives none.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        if name in _WAITING or name == "date":
            found.setdefault(name, value.strip())
    for name, unit_s in _WAITING.items():
        number = _seconds(found.get(name, ""))
        if number is not None:
            return min(number * unit_s, MAX_RETRY_AFTER_S)
    moment, sent = _moment(found.get("retry-after")), _moment(found.get("date"))
    if moment is None or sent is None:
        return None
    return min(max(0.0, moment - sent), MAX_RETRY_AFTER_S)


def read_words(body: bytes) -> Words:
    """Find the upstream's words in an error body of any known shape."""
    try:
        document = orjson.loads(body)
    except ValueError:
        return Words(message=_plain_text(body))
    if isinstance(document, list):  # Gemini's front sends lists of one
        document = document[0] if document else None
    if isinstance(document, str):
        return Words(message=document)
    return _from_object(document) if isinstance(document, dict) else Words()


def _from_object(document: dict[str, Any]) -> Words:
    error = document.get("error")
    if isinstance(error, dict):
        return _from_error(error)
    if isinstance(error, str):
        rest = _from_error(document)
        return replace(rest, message=error)
    if "detail" in document:
        return _from_detail(document["detail"])
    return _from_error(document)


def _from_error(error: dict[str, Any]) -> Words:
    code, kind, param = error.get("code"), error.get("type"), error.get("param")
    message, metadata = error.get("message"), error.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
    return Words(
        message=_with_source(message if isinstance(message, str) else "", metadata),
        code=_code(code),
        type=kind if isinstance(kind, str) and kind != "error" else None,
        param=param if isinstance(param, str) else None,
        number=_http_status(code),
        flagged=_is_flagged(code, metadata),
    )


def _is_flagged(code: object, metadata: dict[str, Any]) -> bool:
    """Tell a moderation refusal, which OpenRouter sends as 403, from a bad key."""
    if isinstance(code, str) and code in _REFUSED_CONTENT:
        return True
    return "flagged_input" in metadata or "reasons" in metadata


def _from_detail(detail: object) -> Words:
    """FastAPI: a text, a list of {loc, msg, type}, or whatever the app raised."""
    if isinstance(detail, str):
        return Words(message=detail)
    if isinstance(detail, dict):
        return _from_object({k: v for k, v in detail.items() if k != "detail"})
    if not isinstance(detail, list):
        return Words()
    problems = [item for item in detail if isinstance(item, dict)]
    lines = []
    for problem in problems[:5]:
        where, said = _location(problem), problem.get("msg")
        said = said if isinstance(said, str) else "is not valid"
        lines.append(f"{where}: {said}" if where else said)
    param = _location(problems[0]) if problems else ""
    return Words(message="; ".join(lines), param=param or None)


def _location(problem: dict[str, Any]) -> str:
    location = problem.get("loc")
    parts = location if isinstance(location, list) else []
    return ".".join(str(part) for part in parts if part != "body")


def _with_source(message: str, metadata: dict[str, Any]) -> str:
    """Add what OpenRouter's own provider said: its message alone says nothing."""
    raw = metadata.get("raw")
    if not isinstance(raw, str) or not raw:
        return message
    return f"{message}: {raw}" if message else raw


def _code(code: object) -> str | None:
    """A code worth passing on: one that only repeats the HTTP status is not."""
    if isinstance(code, str):
        return code if code and _http_status(code) is None else None
    if isinstance(code, int) and not isinstance(code, bool):
        return str(code) if _http_status(code) is None else None
    return None


def _http_status(code: object) -> int | None:
    if isinstance(code, str) and _DIGITS.fullmatch(code):
        code = int(code)
    if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600:
        return code
    return None


def _status(status: int, words: Words) -> int:
    if status >= 300:
        return status
    return words.number or _STATUS_OF_TYPE.get(words.type or "", 502)


def _blame(status: int, words: Words) -> Blame:
    if status == 403 and words.flagged:
        return Blame.CALLER
    if status == 503 and "loading" in words.message.lower():
        return Blame.LOADING
    known = _BLAME.get(status)
    if known is not None:
        return known
    return Blame.CALLER if 400 <= status < 500 else Blame.BROKEN


def _sentence(status: int, said: str) -> str:
    if 300 <= status < 400:
        return "The provider answered with a redirect, which is not followed."
    if status == 402:
        lead = "The account at the provider has no credit left"
        return f"{lead}: {said}" if said else f"{lead}."
    return said or f"The provider answered with status {status} and no message."


def _plain_text(body: bytes) -> str:
    text = body[:_MAX_TEXT_BYTES].decode("utf-8", "replace").strip()
    if "<html" not in text.lower() and not text.startswith("<"):
        return text
    title = _TITLE.search(text)
    said = title.group(1).strip() if title else ""
    return f"{_WEB_PAGE}: {said}" if said else f"{_WEB_PAGE} instead of an API reply."


def _seconds(value: str) -> float | None:
    try:
        number = float(value.strip())
    except ValueError:
        return None
    if "_" in value:  # Python alone takes 1_0 for a number
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _moment(value: str | None) -> float | None:
    """Read a date of HTTP, in any of its three forms (RFC 9110 §5.6.7)."""
    if value is None:
        return None
    try:
        return parsedate_to_datetime(value).replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _tells_secret(body: bytes, secrets: Sequence[str]) -> bool:
    """Tell whether a secret stands anywhere in a body, in JSON escaped or not."""
    with contextlib.suppress(ValueError):
        body = orjson.dumps(orjson.loads(body))
    return any(secret.encode() in body for secret in secrets)


def _clean(text: str, secrets: Sequence[str]) -> str:
    """Make an upstream's text safe for one line of a log and a caller's eyes."""
    text = _UNPRINTABLE.sub(" ", text).strip()
    for secret in secrets:
        text = text.replace(secret, "[key]")
    return text


def _clean_word(word: str | None, secrets: Sequence[str]) -> str | None:
    return None if word is None else _clip(_clean(word, secrets), _MAX_WORD_CHARS)


def _clip(text: str, limit: int = MAX_MESSAGE_CHARS) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
