"""What an operator says of a model or provider that a request must keep to.

`constraints` of the model: the least max_tokens that works, and that it takes no images
by URL; in Ollama's dialect its `params`, as much of that stands in `options`. Of the
provider `cacheSalt`: each tenant has a prefix cache of its own there. Asked only where
one of these is configured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from providers.base import Operation
from providers.wire.dialect import Dialect
from providers.wire.members import Members, WrongType, read_members, with_member
from providers.wire.translate.ollama.mapping import OPTION_OF
from proxy.config import ModelConfig
from proxy.core.errors import CallerFault
from proxy.pipeline.checks import wrong_type
from proxy.routing.affinity import cache_salt
from proxy.routing.registry import Provider

_LIMITS: Final[Mapping[Dialect, tuple[str, ...]]] = MappingProxyType({
    Dialect.CHAT: ("max_tokens", "max_completion_tokens"),
    Dialect.MESSAGES: ("max_tokens",),
    Dialect.RESPONSES: ("max_output_tokens",),
})  # fmt: skip
_TURNS: Final = ("messages", "input")
_NESTED: Final = ("content", "output")
# vLLM reads it in these.
_SALTED: Final = frozenset({"chat", "completions", "responses"})
_SALT: Final = "cache_salt"


def is_constrained(model: ModelConfig | None) -> bool:
    """Tell whether a request must be looked at before this model gets it."""
    if model is None:
        return False
    constraints = model.constraints
    return constraints.min_max_tokens > 1 or constraints.accepts_image_url is False


def constrain(
    model: ModelConfig,
    operation: Operation,
    members: Members,
    changes: dict[str, bytes],
) -> list[str]:
    """Add to `changes` what the model's constraints ask; answers what was done.

    What the operator sets himself stays. Raises CallerFault `image_url_not_supported`,
    `invalid_field`.
    """
    try:
        if model.constraints.accepts_image_url is False:
            _check_images(model.id, members)
        return _floor(
            model.constraints.min_max_tokens, operation.dialect, members, changes
        )
    except WrongType as error:
        raise wrong_type(error) from error


def reads_options(model: ModelConfig | None, operation: Operation) -> bool:
    """Tell whether what the operator sets depends on the request's own `options`."""
    if model is None or operation.dialect is not Dialect.OLLAMA:
        return False
    params = model.params
    return bool(params.set_ or params.defaults or params.strip)


def put_in_options(
    model: ModelConfig,
    members: Members,
    changes: dict[str, bytes],
    applied: list[str],
) -> None:
    """Move what Ollama reads in `options` there, and take out what is not to be sent.

    `changes` are what the operator sets, `applied` tells of them. What the caller's
    options say goes before defaults; options that are none are the provider's to refuse.
    """
    params, raw = model.params, changes.get("options") or members.raw("options")
    if raw is None or raw == b"null":
        raw = b"{}"
    elif raw[:1] != b"{":
        return
    given, wanted = read_members(raw), dict[str, bytes]()
    for name in [name for name in changes if name in OPTION_OF]:
        value = changes.pop(name)
        if name in params.set_ or OPTION_OF[name] not in given:
            wanted[OPTION_OF[name]] = value
        else:
            applied.remove(f"set={name}")
    stripped = [name for name in params.strip if OPTION_OF.get(name) in given]
    applied += [f"dropped={name}" for name in stripped]
    if wanted or stripped:
        drops = [OPTION_OF[name] for name in stripped]
        changes["options"] = given.splice(wanted, drops)


def salted(provider: Provider, operation: Operation, tenant: str) -> dict[str, str]:
    """Members that keep a tenant's prefix cache apart; replaces a caller's own."""
    secret = provider.salt_secret
    if not secret or operation.name not in _SALTED:
        return {}
    return {_SALT: cache_salt(tenant, secret)}


def _floor(
    least: int, dialect: Dialect, members: Members, changes: dict[str, bytes]
) -> list[str]:
    applied = []
    for name in _LIMITS.get(dialect, ()):
        if (
            name in members
            and name not in changes
            and _below(members.value(name), least)
        ):
            changes[name] = str(least).encode()
            applied.append(f"{name}_floored={least}")
    if dialect is Dialect.OLLAMA and "options" not in changes:
        options = members.value("options")
        if isinstance(options, dict) and _below(options.get("num_predict"), least):
            raw = members.raw("options")
            assert raw is not None
            changes["options"] = with_member(raw, "num_predict", str(least).encode())
            applied.append(f"num_predict_floored={least}")
    return applied


def _below(value: object, least: int) -> bool:
    """Tell whether a limit is one, and too low: less than 0 stands for none at all."""
    return type(value) is int and 0 <= value < least


def _check_images(model: str, members: Members) -> None:
    for name in _TURNS:
        if b"image" not in (members.raw(name) or b""):
            continue
        for path in _remote_images(members.value(name), name):
            raise CallerFault(
                "image_url_not_supported",
                f"Model {model} takes no images by URL: send the image itself, as "
                "base64 in a data URL.",
                param=path,
            )


def _remote_images(value: Any, path: str) -> Iterator[str]:
    """Find images that somebody would have to fetch; answers where they stand.

    Only where turns have their parts: arguments and results of tools may hold
    anything under the same names.
    """
    if isinstance(value, list):
        for at, each in enumerate(value):
            yield from _remote_images(each, f"{path}[{at}]")
    elif isinstance(value, dict):
        url, where = _image_of(value)
        if isinstance(url, str) and not url[:5].lower().startswith("data:"):
            yield f"{path}.{where}"
        for name in _NESTED:
            if isinstance(value.get(name), list):
                yield from _remote_images(value[name], f"{path}.{name}")


def _image_of(part: dict[str, Any]) -> tuple[object, str]:
    """The URL of a part that is an image by URL, and where it stands in it."""
    image = part.get("image_url")
    match part.get("type"):
        case "image_url" if isinstance(image, dict):
            return image.get("url"), "image_url.url"
        case "image_url" | "input_image":
            return image, "image_url"
        case "image" if isinstance(source := part.get("source"), dict):
            return source.get("url"), "source.url"
    return None, ""
