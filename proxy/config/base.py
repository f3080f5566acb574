"""What all sections of the schema share: camelCase keys, units, number types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)


def camel(name: str) -> str:
    """The key of an attribute: `max_body_bytes` → `maxBodyBytes`."""
    first, *rest = name.strip("_").split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


class Section(BaseModel):
    """A mapping of the file. Frozen; unknown keys are errors.

    Code may fill it by attribute name; reading a file allows only the keys.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=camel,
        populate_by_name=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_keeps_default(cls, data: Any) -> Any:
        # `providers:` with everything below it commented out reads as null.
        if not isinstance(data, dict):
            return data
        containers = {
            name
            for attribute, field in cls.model_fields.items()
            if field.default_factory is not None or isinstance(field.default, tuple)
            for name in (attribute, field.alias)
        }
        return {
            key: value
            for key, value in data.items()
            if value is not None or key not in containers
        }


def option(
    default: Any = ...,
    meaning: str = "",
    *,
    unit: str | None = None,
    key: str | None = None,
    secret: bool = False,
    shown_default: str | None = None,
) -> Any:
    """Declare a key: its default (`...` for none), its meaning and its unit.

    A callable default makes a fresh value; `shown_default` replaces it in the
    documentation where it depends on something else.
    """
    notes: dict[str, Any] = {}
    if unit is not None:
        notes["unit"] = unit
    if shown_default is not None:
        notes["shownDefault"] = shown_default
    if secret:
        notes["secret"] = True
    filled = {"default_factory": default} if callable(default) else {"default": default}
    return Field(
        **filled,
        description=meaning,
        alias=key,
        repr=not secret,
        json_schema_extra=notes or None,
    )


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        # pydantic reads a ValueError as a finding, a TypeError as a defect
        raise ValueError("should be a number, not true or false")  # noqa: TRY004
    return value


_NUMBER = BeforeValidator(_no_boolean, json_schema_input_type=float)
_WHOLE = BeforeValidator(_no_boolean, json_schema_input_type=int)

Count = Annotated[int, _WHOLE, Field(ge=0)]
Positive = Annotated[int, _WHOLE, Field(ge=1)]
Port = Annotated[int, _WHOLE, Field(ge=0, le=65535)]
Seconds = Annotated[float, _NUMBER, Field(gt=0, le=31_536_000)]
SecondsOrZero = Annotated[float, _NUMBER, Field(ge=0, le=31_536_000)]
Amount = Annotated[float, _NUMBER, Field(ge=0)]
Ratio = Annotated[float, _NUMBER, Field(ge=0, le=1)]

Value = TypeVar("Value")
_FROZEN: Callable[[Mapping[str, Any]], Mapping[str, Any]] = MappingProxyType
Map = Annotated[
    Mapping[str, Value],
    AfterValidator(_FROZEN),
    PlainSerializer(dict),
]


def empty_map() -> Mapping[str, Any]:
    return MappingProxyType({})
