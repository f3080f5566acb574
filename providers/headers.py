"""Which header fields go to a provider: of the caller's, the adapter's, the operator's.

On model routes only an allow-list of the caller's fields goes on, on pass-through
all but a few. No form of the caller's credential ever does, unless the operator
asked for it (`forward_auth`). Host, content-length and via are relay's affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from providers.base import Pair, Settings

CREDENTIALS: Final = frozenset(
    {"authorization", "x-api-key", "api-key", "x-goog-api-key"}
)
PRIVATE: Final = CREDENTIALS | {"cookie", "proxy-authorization"}
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
FRAMING: Final = HOP_BY_HOP | {"host", "content-length"}
ALLOWED: Final = frozenset(
    {
        "accept",
        "content-type",
        "idempotency-key",
        "traceparent",
        "tracestate",
        "user-agent",
    }
)
ALLOWED_PREFIX: Final = "x-stainless-"
ALLOWED_SUFFIXES: Final = ("-beta", "-version")

# Frameworks that obey these do other than what method and path, which are judged, say.
OVERRIDES: Final = frozenset(
    {
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
    }
)

_IDENTITY: Final = ("accept-encoding", "identity")
_SECRET_WORDS: Final = ("auth", "key", "secret", "token")


class HeaderPolicy:
    """Decides once, for one provider, what is decided for every request.

    `auth` is the provider's own credential as a header field; `defaults` are sent
    unless the operator's headers name them; `allowed` widens the allow-list.
    """

    __slots__ = (
        "_allowed",
        "_passage_dropped",
        "_passage_own",
        "_refused",
        "own",
        "secrets",
    )

    own: tuple[Pair, ...]
    secrets: tuple[str, ...]

    def __init__(
        self,
        settings: Settings,
        auth: Pair | None,
        *,
        defaults: Sequence[Pair] = (),
        allowed: frozenset[str] = frozenset(),
    ) -> None:
        operator = _operator_headers(settings.headers)
        chosen = {name for name, _ in operator}
        ours = [*defaults, auth] if auth is not None else list(defaults)
        own = [pair for pair in ours if pair[0] not in chosen] + operator
        names = {name for name, _ in own}

        private = PRIVATE - CREDENTIALS if settings.forward_auth else PRIVATE
        wished = frozenset(name.lower() for name in settings.forward_headers)
        if settings.forward_auth:
            wished |= CREDENTIALS
        # The bytes of a reply are read for usage and cut at event boundaries, so
        # nobody may ask for them compressed, the operator included.
        self._refused = private | FRAMING | names | {"accept-encoding"}
        self._allowed = (ALLOWED | allowed | wished) - self._refused
        self._passage_dropped = private | FRAMING | OVERRIDES | names
        self._passage_own = tuple(own)
        self.own = (*(pair for pair in own if pair[0] != _IDENTITY[0]), _IDENTITY)
        self.secrets = _secrets(settings, operator)

    def for_model(self, headers: Iterable[Pair]) -> tuple[Pair, ...]:
        """Header fields for a model request; the caller's names are lower-case."""
        # Hot: two set look-ups and two C calls a field (bench: adapter prepare).
        allowed, refused = self._allowed, self._refused
        kept = [
            pair
            for pair in headers
            if (name := pair[0]) in allowed
            or (
                (name.endswith(ALLOWED_SUFFIXES) or name.startswith(ALLOWED_PREFIX))
                and name not in refused
            )
        ]
        kept += self.own
        return tuple(kept)

    def for_passage(self, headers: Iterable[Pair]) -> tuple[Pair, ...]:
        """Header fields for pass-through: all that are not ours or the hop's."""
        fields = tuple(headers)
        dropped = self._passage_dropped | _nominated(fields)
        kept = [pair for pair in fields if pair[0] not in dropped]
        return (*kept, *self._passage_own)


def auth_pair(header: str, key: str | None) -> Pair | None:
    """The credential as a header field; None without a key."""
    secret = key.strip() if key else ""
    if not secret:
        return None
    return (header, f"Bearer {secret}" if header == "authorization" else secret)


def _operator_headers(headers: Iterable[Pair]) -> list[Pair]:
    lowered = ((name.lower(), value) for name, value in headers)
    return [pair for pair in lowered if pair[0] not in FRAMING]


def _nominated(headers: Iterable[Pair]) -> frozenset[str]:
    """Names that the Connection field declares to be of this hop (RFC 9110 7.6.1)."""
    return frozenset(
        token.strip().lower()
        for name, value in headers
        if name == "connection"
        for token in value.split(",")
    )


def _secrets(settings: Settings, operator: Iterable[Pair]) -> tuple[str, ...]:
    """What must not come back to a caller in an upstream's message."""
    found = {settings.key.strip()} if settings.key else set()
    for name, value in operator:
        if any(word in name for word in _SECRET_WORDS):
            found.add(value)
            found.add(value.rpartition(" ")[2])
    # Shorter ones are placeholders: blotting out "x" would only garble messages.
    return tuple(sorted((s for s in found if len(s) >= 4), key=len, reverse=True))
