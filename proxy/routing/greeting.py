"""What a start says: what was found, the address, and what to do next."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from providers.base import OPERATIONS, Adapter
from providers.registry import KINDS
from proxy.config import Config
from proxy.observability.text import printable
from proxy.routing.catalog import AUTO, Catalog
from proxy.routing.guess import DEMO
from proxy.routing.registry import WELL, Provider, Status

_SHOWN_MODELS: Final = 5


def greeting(config: Config, providers: Sequence[Provider], url: str) -> str:
    """Say what was found and what to do with it; several lines, the last not ended.

    `url` is the address callers use, without a closing slash.
    """
    lines = [_line(provider) for provider in providers] or _nothing(config)
    model = _model(config, providers)
    lines += ["", f"Address for clients: {url}/v1    Page to open: {url}/"]
    if model is not None:
        lines += ["Try it:", _curl(model, url)]
    elif providers:
        lines += ["No model can be served yet. Start a server named above, or load a"]
        lines += ["model there: it will be found without a restart."]
    return "\n".join(lines)


def _line(provider: Provider) -> str:
    name = printable(provider.config.name or provider.id, 60)
    title = f"{name} {_place(provider)}".rstrip()
    status = provider.status
    if status in WELL and provider.last_error is None:
        return f"{title}: {_models(provider)}"
    why = f" ({printable(provider.last_error, 120)})" if provider.last_error else ""
    word = "not answered yet" if status is Status.UNKNOWN else status.value
    return f"{title}: {word}{why}"


def _place(provider: Provider) -> str:
    parts = urlsplit(provider.config.base_url)
    if provider.kind == DEMO:
        return ""
    if provider.config.discovered and provider.local and parts.port is not None:
        return f"on {parts.port}"
    return f"at {parts.hostname}" + (f":{parts.port}" if parts.port else "")


def _models(provider: Provider) -> str:
    ids = [printable(model.id, 60) for model in provider.models]
    if not ids:
        return "no models"
    shown = ", ".join(ids[:_SHOWN_MODELS])
    more = len(ids) - _SHOWN_MODELS
    count = "1 model" if len(ids) == 1 else f"{len(ids)} models"
    return f"{count} ({shown}{f', and {more} more' if more > 0 else ''})"


def _model(config: Config, providers: Sequence[Provider]) -> str | None:
    """The name that a first request should use: one that resolves to what is up."""
    catalog = Catalog(config, providers)
    chosen = catalog.resolve(AUTO, OPERATIONS["chat"]).candidates
    if not chosen or chosen[0].provider.status not in WELL:
        return None
    best = (chosen[0].provider.id, chosen[0].upstream_model)
    for model in catalog.models:
        if any((c.provider.id, c.upstream_model) == best for c in model.live):
            return model.id
    return None


def _curl(model: str, url: str) -> str:
    # ASCII JSON, quoted for a shell: works as pasted whatever the model is called.
    body = json.dumps(
        {
            "model": model,
            "stream": True,
            "messages": [{"role": "user", "content": "Say hello."}],
        }
    )
    return (
        f"  curl -N {shlex.quote(url + '/v1/chat/completions')} "
        f"-H 'content-type: application/json' -d {shlex.quote(body)}"
    )


def _nothing(config: Config) -> list[str]:
    lines = ["No model server was found."]
    if config.discovery.enabled:
        lines += _looked_for(config)
    else:
        lines += ["None was looked for: discovery is off."]
    seconds = f"{config.discovery.refresh_seconds:g} s"
    return [
        *lines,
        "What to do:",
        f"  start one of these servers; it will be found within {seconds},",
        "  or name yours under `providers` in config.yaml,",
        "  or try the built-in one: --demo",
    ]


def _looked_for(config: Config) -> list[str]:
    local = [
        f"{adapter.title} ({_where(config, adapter)})"
        for adapter in KINDS.values()
        if adapter.usual_ports or adapter.kind in config.local_hints
    ]
    keys = [
        adapter.key_variables[0]
        for adapter in KINDS.values()
        if adapter.default_url and adapter.key_variables
    ]
    return [
        f"Looked on this machine for {', '.join(local)};",
        f"in the environment for {', '.join(keys)}.",
    ]


def _where(config: Config, adapter: type[Adapter]) -> str:
    hint = config.local_hints.get(adapter.kind)
    return hint or "port " + " or ".join(str(port) for port in adapter.usual_ports)
