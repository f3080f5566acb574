"""What does not fit together in `auth`: secrets, algorithms, where keys are published."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from proxy.config.outbound import is_loopback
from proxy.config.problems import Path, Report
from proxy.config.schema_policy import AuthConfig

LEAST_SECRET_BYTES: Final = 32
_JWT: Final[Path] = ("auth", "jwt")
_BY_SECRET: Final = "HS256"  # noqa: S105


def check_auth(auth: AuthConfig, report: Report) -> None:
    """Check what decides whose tokens are believed; nothing, while nobody is asked."""
    if not auth.enabled:
        return
    jwt = auth.jwt
    published = [name for name in jwt.algorithms if name != _BY_SECRET]
    if jwt.secret and len(jwt.secret.encode()) < LEAST_SECRET_BYTES:
        report.error(
            (*_JWT, "secret"),
            f"should have {LEAST_SECRET_BYTES} bytes or more, or it can be guessed; "
            "`openssl rand -hex 32` makes one",
        )
    if jwt.secret and _BY_SECRET not in jwt.algorithms:
        report.warn((*_JWT, "algorithms"), "without HS256 the secret is not used")
    if published and jwt.jwks_url is None:
        named = ", ".join(published)
        report.error((*_JWT, "algorithms"), f"{named} need jwksUrl beside them")
    if jwt.jwks_url is not None:
        _check_url(jwt.jwks_url, report)
        if not published:
            message = "should name what jwksUrl is for: RS256, ES256, EdDSA"
            report.error((*_JWT, "algorithms"), message)


def _check_url(url: str, report: Report) -> None:
    path = (*_JWT, "jwksUrl")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        report.error(path, "should be an http or https URL")
    elif parts.scheme == "http" and not is_loopback(parts.hostname):
        report.warn(
            path, "is not encrypted: who answers in its place makes tokens for anybody"
        )
