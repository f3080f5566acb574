"""A model's candidates, less those that may not be asked: by the caller's list of models,
or as its money is gone. Fallbacks are other models, and are held to the same.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from proxy.auth.permission import check_model, may_use
from proxy.core.types import Principal
from proxy.pipeline.tariff import Tariff
from proxy.routing.catalog import Missing, Resolution
from proxy.routing.model import Candidate


def narrowed(
    resolution: Resolution, principal: Principal, tariff: Tariff = Tariff.ANY
) -> Resolution:
    """Answer who may serve a principal.

    A list of models may hold the name that was asked for, or the model's own; of one
    that stands for several models those on the list remain. Raises CallerFault
    `model_not_allowed`, for names that nobody knows too.
    """
    if not _is_named(resolution, principal) and not any(
        _may_serve(candidate, principal) for candidate in resolution.everyone
    ):
        check_model(principal)
    narrow = partial(_less, principal=principal, tariff=tariff)
    return replace(narrow(resolution), narrow=narrow)


def _less(resolution: Resolution, principal: Principal, tariff: Tariff) -> Resolution:
    is_named = _is_named(resolution, principal)
    everyone = tuple(
        candidate
        for candidate in resolution.everyone
        if (is_named or _may_serve(candidate, principal)) and tariff.allows(candidate)
    )
    if len(everyone) == len(resolution.everyone):
        return resolution
    usable = tuple(c for c in resolution.candidates if c in everyone)
    return replace(
        resolution,
        candidates=usable,
        everyone=everyone,
        missing=None if usable else resolution.missing or Missing.UNAVAILABLE,
        kept_out=tuple(c.provider for c in everyone),
    )


def _is_named(resolution: Resolution, principal: Principal) -> bool:
    config = resolution.config
    return may_use(principal, resolution.name, None if config is None else config.id)


def _may_serve(candidate: Candidate, principal: Principal) -> bool:
    model = candidate.model
    return may_use(
        principal, candidate.upstream_model, None if model is None else model.id
    )
