"""What is refused of a request's body, whatever its form."""

from __future__ import annotations

from providers.wire.members import Members, WrongType
from proxy.auth.permission import check_model
from proxy.core.errors import CallerFault
from proxy.core.types import Principal


def check_size(size: int, limit_bytes: int) -> None:
    """Raise CallerFault `body_too_large` past the limit."""
    if size > limit_bytes:
        raise CallerFault(
            "body_too_large", f"The body is larger than {limit_bytes} bytes."
        )


def named(model: str | None) -> str:
    """Answer the name; raises CallerFault `missing_field` where there is none."""
    if model is None or not model:
        raise missing_model()
    return model


def missing_model() -> CallerFault:
    """The error of a request that names no model."""
    return CallerFault(
        "missing_field", "The request names no model: set `model`.", param="model"
    )


def wrong_type(error: WrongType) -> CallerFault:
    """The error of a member of another type than it must have."""
    return CallerFault("invalid_field", f"{error}.", param=error.name)


def check_one_model(members: Members, principal: Principal) -> None:
    """Refuse a body that names models in a second way, past the caller's list of them.

    Servers written in Go take `Model` for `model`, the last one counts there; OpenRouter
    goes on to those in `models`. Raises CallerFault `invalid_field`,
    `model_not_allowed`.
    """
    for name in members.names:
        if name != "model" and name.casefold() == "model":
            message = f"{name} may be taken for model: leave it out."
            raise CallerFault("invalid_field", message, param=name)
    try:
        others = members.value("models")
    except WrongType as error:
        raise wrong_type(error) from error
    for other in others if isinstance(others, list) else ():
        check_model(principal, other if isinstance(other, str) else None)
