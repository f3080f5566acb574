"""What a token claims: whether it holds now, and whom it names.

The signature has been checked before; nothing here is read of a token that nobody
signed. Times are Unix seconds, and clocks may differ by LEEWAY_S.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from proxy.auth.key_table import Known
from proxy.auth.permission import SCOPES
from proxy.config.schema_policy import JwtConfig
from proxy.core.errors import CallerFault
from proxy.core.types import ANYONE, Principal

LEEWAY_S: Final = 30.0
_LONGEST_NAME: Final = 256


def read_claims(claims: Mapping[str, Any], config: JwtConfig, now: float) -> Known:
    """Answer whom the claims name, and until when.

    Raises CallerFault `expired_token`, `invalid_token`.
    """
    expires_at = _moment(claims, "exp")
    if expires_at is None:
        raise invalid("The token has no exp claim.")
    if now >= expires_at + LEEWAY_S:
        raise CallerFault("expired_token", "The token has expired.")
    for name in ("nbf", "iat"):
        at = _moment(claims, name)
        if at is not None and now + LEEWAY_S < at:
            raise invalid("The token is not valid yet.")
    if config.issuer is not None and claims.get("iss") != config.issuer:
        raise invalid("The token is of another issuer.")
    if config.audience is not None and not _is_for(claims.get("aud"), config.audience):
        raise invalid("The token is for another audience.")
    principal = Principal(
        tenant=_name(claims, config.tenant_claim) or ANYONE.tenant,
        scopes=_scopes(claims.get(config.scopes_claim)),
        user=_name(claims, "sub"),
    )
    return Known(principal, expires_at + LEEWAY_S)


def invalid(message: str) -> CallerFault:
    return CallerFault("invalid_token", message)


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    found = claims.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise invalid(f"The token's {name} claim is no number.")
    try:
        moment = float(found)
    except OverflowError:
        moment = math.inf
    if not math.isfinite(moment):
        raise invalid(f"The token's {name} claim is no moment.")
    return moment


def _is_for(found: object, audience: str) -> bool:
    return audience in found if isinstance(found, list) else found == audience


def _name(claims: Mapping[str, Any], claim: str) -> str | None:
    found = claims.get(claim)
    if found is None:
        return None
    if (
        not isinstance(found, str)
        or not 0 < len(found) <= _LONGEST_NAME
        or not found.isprintable()
    ):
        raise invalid(f"The token's {claim} claim is no name.")
    return found


def _scopes(found: object) -> frozenset[str]:
    """The scopes that mean something here; a token without the claim may infer."""
    if found is None:
        return ANYONE.scopes
    if isinstance(found, str):
        return SCOPES.intersection(found.split())
    if isinstance(found, list):
        return SCOPES.intersection(word for word in found if isinstance(word, str))
    raise invalid("The token's scopes are neither text nor a list.")
