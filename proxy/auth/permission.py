"""What a principal may do: scopes, models, providers' paths, tenants' objects.

Pure decisions: each raises CallerFault or does nothing. Where from a request may
come while authentication is off is the affair of proxy.auth.access.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from providers.base import Reach
from proxy.core.errors import CallerFault
from proxy.core.patterns import matcher
from proxy.core.types import Principal

INFERENCE: Final = "inference"
EXECUTE: Final = "execute"
AGENTS: Final = "agents"
METRICS_READ: Final = "metrics:read"
TENANT_CONFIG_READ: Final = "tenant_config:read"
TENANT_CONFIG_WRITE: Final = "tenant_config:write"
ADMIN: Final = "admin"

MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        INFERENCE: "model calls, lists of models, pass-through of what is inference "
        "there or only tells",
        EXECUTE: "`POST /execute`",
        AGENTS: "nothing yet: no route asks for it",
        METRICS_READ: "`/metrics` from elsewhere; on this machine it needs no scope, nor "
        "with `metrics.public`",
        TENANT_CONFIG_READ: "nothing yet: no route asks for it",
        TENANT_CONFIG_WRITE: "nothing yet; it includes `tenant_config:read`",
        ADMIN: "all of that, `/admin`, owner's paths of providers, unknown `/v1` paths "
        "of clouds",
    }
)
"""What each scope opens, as docs/routes.md tells it."""

SCOPES: Final = frozenset(MEANINGS)

# No model is called more than this; longer names are not held against patterns.
_LONGEST_NAME: Final = 512
_LATEST: Final = ":latest"


def has_scope(principal: Principal, scope: str) -> bool:
    """Tell whether a principal has a scope; `admin` has all, writing includes reading."""
    scopes = principal.scopes
    if scope in scopes or ADMIN in scopes:
        return True
    return scope == TENANT_CONFIG_READ and TENANT_CONFIG_WRITE in scopes


def check_scope(principal: Principal, scope: str) -> None:
    """Raise CallerFault `forbidden` unless the principal has the route's scope."""
    if not has_scope(principal, scope):
        raise CallerFault("forbidden", f"This key or token lacks the scope {scope}.")


def may_use(principal: Principal, *names: str | None) -> bool:
    """Tell whether one of a model's names is on the principal's list.

    They are what the caller asked for and the id it stands for, so that a list may
    hold aliases as well as ids; Ollama's `:latest` is the same as nothing.
    """
    patterns = principal.models
    if not patterns:
        return True
    matches = _matcher(patterns)
    return any(
        matches(name.removesuffix(_LATEST))
        for name in names
        if name is not None and len(name) <= _LONGEST_NAME
    )


def check_model(principal: Principal, *names: str | None) -> None:
    """Raise CallerFault `model_not_allowed` unless `may_use`."""
    if not may_use(principal, *names):
        raise CallerFault(
            "model_not_allowed", "This key may not use this model.", param="model"
        )


def check_reach(
    principal: Principal, reach: Reach, models: Iterable[str | None] | None
) -> None:
    """Decide on a pass-through path as its adapter files it (http-api §5).

    `models` are the names of the one model that the adapter reads in the request,
    None where it cannot read any. Raises CallerFault `forbidden`,
    `model_not_allowed`.
    """
    check_scope(principal, ADMIN if reach is Reach.OWNER else INFERENCE)
    if principal.models:
        check_model(principal, *(models or ()))


def check_forward(principal: Principal, *, is_cloud: bool) -> None:
    """Decide on a /v1 path that is not known here: files, fine-tuning and the like.

    At a cloud they act on the account that the gateway's key opens, and nobody can
    tell which model they are about. Raises CallerFault `forbidden`,
    `model_not_allowed`.
    """
    check_scope(principal, ADMIN if is_cloud else INFERENCE)
    check_model(principal)


def check_tenant(principal: Principal, tenant: str, what: str) -> None:
    """Raise CallerFault `not_found` for another tenant's object, as for one unknown."""
    if principal.tenant != tenant:
        raise CallerFault("not_found", f"There is no such {what}.")


@lru_cache(maxsize=1024)
def _matcher(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    return matcher(pattern.removesuffix(_LATEST) for pattern in patterns)
