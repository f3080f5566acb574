"""A dump of the configuration in force that may be shown: no secret is in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict
from pydantic import BaseModel

from proxy.config.base import camel
from proxy.config.value import Config

HIDDEN: Final = "***"

_SECRET: Final = frozenset({"keys", "secret", "environment_keys", "local_keys"})
_USER_INFO: Final = re.compile(r"(?<=://)[^/@]*@")


def masked(config: Config) -> dict[str, Any]:
    """Dump as the file would say it, in camelCase and plain JSON values.

    Secrets become `***`: keys, header values, passwords in URLs.
    """
    return {
        camel(item.name): _member(item.name, getattr(config, item.name))
        for item in fields(config)
    }


def _dump(value: Any) -> Any:
    if isinstance(value, BaseModel):
        # aliases, because a few attributes are not their key in snake_case
        return {
            field.alias or name: _member(name, getattr(value, name))
            for name, field in type(value).model_fields.items()
        }
    if isinstance(value, Struct):
        return {camel(name): _member(name, at) for name, at in asdict(value).items()}
    if is_dataclass(value):
        return {
            camel(item.name): _member(item.name, getattr(value, item.name))
            for item in fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): _dump(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_dump(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return _USER_INFO.sub(HIDDEN + "@", value) if isinstance(value, str) else value


def _member(name: str, value: Any) -> Any:
    if name == "headers":
        return {key: HIDDEN for key, _ in value}
    if name not in _SECRET or not value:
        return _dump(value)
    if isinstance(value, Mapping):
        return dict.fromkeys(value, HIDDEN)
    return [HIDDEN] * len(value) if isinstance(value, tuple) else HIDDEN
