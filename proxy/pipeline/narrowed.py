"""A model's candidates, less those that the caller's list of models leaves out."""

from __future__ import annotations

from dataclasses import replace

from proxy.auth.permission import check_model, may_use
from proxy.core.types import Principal
from proxy.routing.catalog import Missing, Resolution
from proxy.routing.model import Candidate


def narrowed(resolution: Resolution, principal: Principal) -> Resolution:
    """Answer who may serve a principal that has a list.

    The list may hold the name that was asked for, or the model's own; of one that
    stands for several models those on the list remain. Fallbacks are other models,
    and are left out. Raises CallerFault `model_not_allowed`, for names that nobody
    knows too.
    """
    config = resolution.config
    if may_use(principal, resolution.name, None if config is None else config.id):
        return replace(resolution, config=None)
    everyone = tuple(c for c in resolution.everyone if _may_serve(c, principal))
    if not everyone:
        check_model(principal)
    usable = tuple(c for c in resolution.candidates if c in everyone)
    return replace(
        resolution,
        candidates=usable,
        everyone=everyone,
        missing=None if usable else resolution.missing or Missing.UNAVAILABLE,
        kept_out=tuple(c.provider for c in everyone),
        config=None,
    )


def _may_serve(candidate: Candidate, principal: Principal) -> bool:
    model = candidate.model
    return may_use(
        principal, candidate.upstream_model, None if model is None else model.id
    )
