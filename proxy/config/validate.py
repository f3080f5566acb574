"""Values → models of the schema; pydantic's errors → problems in plain words.

Each section, provider and model is checked by itself, and again without what is
wrong in it, so that one slip does not hide another.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar, get_args

from msgspec import Struct
from pydantic import BaseModel, ValidationError

from proxy.config.base import Section
from proxy.config.problems import Path, Report, did_you_mean
from proxy.config.schema import File
from proxy.config.schema_models import ModelConfig
from proxy.config.schema_providers import ProviderEntry

SectionType = TypeVar("SectionType", bound=Section)

_PLAIN: Final = {
    "missing": "is missing; it has no default",
    "string_type": "should be text; put it in quotes",
    "dict_type": "should be a mapping of keys",
    "mapping_type": "should be a mapping of keys",
    "model_type": "should be a mapping of keys",
    "model_attributes_type": "should be a mapping of keys",
    "tuple_type": "should be a list",
    "string_pattern_mismatch": "does not have the right form",
}


# What other tools call it, without case and underscores.
_OTHER_WORDS: Final[Mapping[str, str]] = MappingProxyType({
    **dict.fromkeys(("apikey", "apikeyenv", "key", "secret", "token"), "authSecret"),
    **dict.fromkeys(("address", "apibase", "baseurl", "host", "url"), "endpoint"),
    **dict.fromkeys(("concurrency", "parallel", "slots"), "maxConcurrent"),
    "model": "upstreamModel",
    "modellist": "models",
    "provider": "providerId",
})  # fmt: skip


class Validated(Struct, frozen=True):
    """A file whose valid parts are in `file`; providers and models with the place
    they have in the text, since invalid ones are left out.
    """

    file: File
    providers: tuple[tuple[int, ProviderEntry], ...]
    models: tuple[tuple[int, ModelConfig], ...]


def validate(tree: dict[str, Any], report: Report) -> Validated:
    """Check everything; what is wrong goes into `report` and gets its default."""
    sections: dict[str, Any] = {}
    keys = {field.alias: name for name, field in File.model_fields.items()}
    for key in tree:
        if key not in keys:
            report.error((key,), f"unknown key{_hint_at_top(key, _names(keys))}")
    providers = _items(ProviderEntry, tree, "providers", report)
    models = _items(ModelConfig, tree, "models", report)
    rest = {
        key: value
        for key, value in tree.items()
        if key in keys and key not in ("providers", "models")
    }
    whole = _section(File, rest, (), report) or File()
    for name in File.model_fields:
        sections[name] = getattr(whole, name)
    sections["providers"] = tuple(entry for _, entry in providers)
    sections["models"] = tuple(entry for _, entry in models)
    return Validated(File(**sections), providers, models)


def _items(
    model: type[SectionType], tree: dict[str, Any], key: str, report: Report
) -> tuple[tuple[int, SectionType], ...]:
    values = tree.get(key)
    if values is None:
        return ()
    if not isinstance(values, list):
        report.error((key,), "should be a list")
        return ()
    read = ((at, _section(model, raw, (key, at), report)) for at, raw in
            enumerate(values))  # fmt: skip
    return tuple((at, value) for at, value in read if value is not None)


def _section(
    model: type[SectionType], raw: Any, path: Path, report: Report
) -> SectionType | None:
    try:
        return _read(model, raw)
    except ValidationError as error:
        faults = error.errors(include_url=False)
    places = []
    for fault in faults:
        place = tuple(part for part in fault["loc"] if part != "[key]")
        places.append(place)
        here = (*path, *place)
        report.error(here, _wording(model, fault, place, here in report.expanded))
    try:
        return _read(model, _without(raw, places))
    except ValidationError:
        return None


def _read(model: type[SectionType], raw: Any) -> SectionType:
    return model.model_validate(raw, by_alias=True, by_name=False)


def _wording(model: type[BaseModel], fault: Any, place: Path, is_expanded: bool) -> str:
    known = known_keys(model, place[:-1])
    if fault["type"] == "extra_forbidden":
        return f"unknown key{_hint(str(place[-1]), known)}"
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    if fault["type"] == "literal_error":
        return _not_one_of(fault, is_expanded)
    plain = _PLAIN.get(fault["type"])
    if fault["input"] is None and fault["type"] != "missing":
        plain = "has no value; leave the key out for its default"
    message: str = plain or fault["msg"]
    return message.removeprefix("Input ")


def _not_one_of(fault: Any, is_expanded: bool) -> str:
    expected = str(fault["ctx"]["expected"])
    given = fault["input"]
    if is_expanded or not isinstance(given, str):
        return f"should be {expected}"
    near = did_you_mean(given, re.findall(r"'([^']*)'", expected))
    return f"should be {expected}, not {given!r}{near}"


def _hint(key: str, known: Collection[str]) -> str:
    """The key that is meant: by other tools' word for it, or by a slip of the pen."""
    meant = _OTHER_WORDS.get(key.lower().replace("_", "").replace("-", ""))
    return did_you_mean(key if meant not in known else str(meant), known)


def _hint_at_top(key: str, known: Collection[str]) -> str:
    if key in known_keys(File, ("server",)):
        return f" (did you mean 'server.{key}'?)"
    return _hint(key, known)


def known_keys(model: type[BaseModel], place: Path) -> tuple[str, ...]:
    """The keys a mapping at `place` below `model` may have."""
    for part in place:
        by_key = {field.alias: field for field in model.model_fields.values()}
        if part in by_key:
            model = inner_model(by_key[str(part)].annotation) or model
    return _names(field.alias for field in model.model_fields.values())


def inner_model(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation such as `tuple[Model, ...] | None` holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (inner_model(argument) for argument in get_args(annotation))
    return next((model for model in inner if model is not None), None)


def _names(keys: Any) -> tuple[str, ...]:
    return tuple(str(key) for key in keys)


def _without(raw: Any, places: list[Path]) -> Any:
    pruned = copy.deepcopy(raw)
    # from the back, so that a list's earlier places stay where they are
    for place in sorted(places, key=repr, reverse=True):
        target = pruned
        try:
            for part in place[:-1]:
                target = target[part]
            del target[place[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # a missing key, or gone with something around it
    return pruned
