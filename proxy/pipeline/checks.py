"""What is refused of a request's body, whatever its form."""

from __future__ import annotations

from providers.wire.members import WrongType
from proxy.core.errors import CallerFault


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
