"""The environment: the only reader of os.environ, and the names it knows.

Everything else is handed a mapping, so tests and reloads decide what is in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from proxy.config.kinds import KINDS
from proxy.config.outbound import is_loopback
from proxy.config.problems import Path, Report, Source, did_you_mean

OLLAMA_PORT: Final = 11434


class Variable(Struct, frozen=True):
    """A variable the gateway reads; `path` is the key it sets, if it sets one."""

    name: str
    meaning: str
    path: Path | None = None


VARIABLES: Final = (
    Variable("PROXY_CONFIG", "Configuration file."),
    Variable("PROXY_HOST", "Address to listen on.", ("server", "host")),
    Variable("PROXY_PORT", "Port to listen on.", ("server", "port")),
    Variable("PROXY_WORKERS", "Processes that serve.", ("server", "workers")),
    Variable("PROXY_DATA_DIR", "Directory for data; ./data without it."),
    Variable("LOG_LEVEL", "debug, info, warning or error.", ("logging", "level")),
    Variable("OPENAI_API_KEY", "Key for OpenAI."),
    Variable("ANTHROPIC_API_KEY", "Key for Anthropic."),
    Variable("GOOGLE_API_KEY", "Key for Gemini; wins over GEMINI_API_KEY."),
    Variable("GEMINI_API_KEY", "Key for Gemini."),
    Variable("OPENROUTER_API_KEY", "Key for OpenRouter."),
    Variable("OLLAMA_API_KEY", "Key for Ollama Cloud."),
    Variable("ZAI_API_KEY", "Key for Z.ai."),
    Variable("VLLM_API_KEY", "Key for vLLM servers that have none of their own."),
    Variable("LM_API_TOKEN", "Token for LM Studio servers that have none."),
    Variable("JWT_SECRET", "Secret that signs tokens.", ("auth", "jwt", "secret")),
    Variable("OLLAMA_HOST", "Address of Ollama; 0.0.0.0 means this machine."),
    Variable("HTTPS_PROXY", "Outbound proxy for https providers."),
    Variable("NO_PROXY", "Hosts and networks that are reached without it."),
    Variable("DATABASE_URL", "Database, such as postgresql://…", ("database", "url")),
    Variable("REDIS_URL", "Server of the shared state.", ("state", "url")),
    Variable("OTEL_EXPORTER_OTLP_ENDPOINT", "Collector of traces; local-ai[otel]."),
)

PROVIDER_VARIABLES: Final = {
    "ENDPOINT": "endpoint",
    "ENABLED": "enabled",
    "API_KEY": "authSecret",
}


def snapshot() -> dict[str, str]:
    """Copy the process's environment."""
    return dict(os.environ)


def lookup(environ: Mapping[str, str], name: str) -> str | None:
    """A variable's value without outer blanks; None when unset or empty."""
    return environ.get(name, "").strip() or None


def lookup_any_case(environ: Mapping[str, str], name: str) -> str | None:
    """As `lookup`; HTTPS_PROXY and NO_PROXY are as often written in lower case."""
    return lookup(environ, name.lower()) or lookup(environ, name)


def overlay(tree: dict[str, Any], environ: Mapping[str, str], report: Report) -> None:
    """Put what the environment says over what the file says."""
    for variable in VARIABLES:
        value = lookup(environ, variable.name)
        if variable.path is not None and value is not None:
            source = Source("environment", name=variable.name)
            put(tree, variable.path, value, source, report)
    _overlay_providers(tree, environ, report)


def put(
    tree: dict[str, Any], path: Path, value: Any, source: Source, report: Report
) -> None:
    """Set one value in a tree and note where it came from."""
    target: Any = tree
    for part in path[:-1]:
        if target.get(part) is None:
            target[part] = {}
        target = target[part]
        if not isinstance(target, dict):
            return  # validation will say that a mapping was expected
    target[path[-1]] = value
    report.sources[path] = source
    report.errors.pop(path, None)


def provider_variable(provider_id: str, suffix: str) -> str:
    """The variable for a provider: `gaming-pc` → `PROVIDER_GAMING_PC_ENDPOINT`."""
    return f"PROVIDER_{re.sub('[^A-Z0-9]', '_', provider_id.upper())}_{suffix}"


def keys_of_kinds(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Kind → (variable, key), for kinds whose key the environment holds."""
    found = {}
    for kind in KINDS.values():
        for name in kind.key_variables:
            if (key := lookup(environ, name)) is not None:
                found[str(kind.name)] = (name, key)
                break
    return found


def ollama_address(text: str) -> str | None:
    """OLLAMA_HOST as a base URL: `host`, `host:port`, `:port`, a URL; None if bad.

    Ollama's own variable says where its server listens, hence 0.0.0.0 and ::
    become loopback.
    """
    scheme, found, rest = text.strip().strip("\"'").partition("://")
    if not found:
        scheme, rest = "http", scheme
    port = {"https": 443, "http": 80}.get(scheme, 0) if found else OLLAMA_PORT
    authority, _, prefix = rest.partition("/")
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]*|[0-9A-Fa-f:]*::?[0-9A-Fa-f:]*?)"
                         r"(?::(\d{1,5}))?", authority)  # fmt: skip
    if match is None or not port:
        return None
    host, given = match.groups()
    port = int(given) if given else port
    if not 0 < port < 65536:
        return None
    host = _reachable(host)
    suffix = f"/{prefix.rstrip('/')}" if prefix.rstrip("/") else ""
    return f"{scheme}://{host}:{port}{suffix}"


def _reachable(host: str) -> str:
    bare = host.strip("[]")
    if bare in ("", "0.0.0.0"):  # noqa: S104 - read, not bound
        return "127.0.0.1"
    if bare == "::":
        return "[::1]"
    return f"[{bare}]" if ":" in bare else bare


def is_own_address(url_host: str | None, port: int, host: str, own_port: int) -> bool:
    """Tell whether a server's address is the one this gateway will listen on."""
    if own_port == 0 or port != own_port or url_host is None:
        return False
    return is_loopback(url_host) or url_host == host


def _overlay_providers(
    tree: dict[str, Any], environ: Mapping[str, str], report: Report
) -> None:
    entries = tree.get("providers")
    known: set[str] = set()
    for at, raw in enumerate(entries if isinstance(entries, list) else ()):
        if not isinstance(raw, dict) or not isinstance(raw.get("id"), str):
            continue
        for suffix, key in PROVIDER_VARIABLES.items():
            name = provider_variable(raw["id"], suffix)
            known.add(name)
            if (value := lookup(environ, name)) is not None:
                _override(raw, ("providers", at, key), value, name, report)
    _warn_of_strangers(environ, known, report)


def _override(
    raw: dict[str, Any], path: Path, value: str, name: str, report: Report
) -> None:
    raw[str(path[-1])] = value
    report.sources[path] = Source("environment", name=name)
    report.errors.pop(path, None)
    if path[-1] == "authSecret":
        report.expanded.add(path)  # the key itself, not the name of a variable
        raw.pop("authSecrets", None)


def _warn_of_strangers(
    environ: Mapping[str, str], known: Iterable[str], report: Report
) -> None:
    known = sorted(known)
    pattern = re.compile(rf"PROVIDER_.+_({'|'.join(PROVIDER_VARIABLES)})")
    for name in sorted(environ):
        if pattern.fullmatch(name) and name not in known:
            path: Path = (name,)
            report.sources[path] = Source("environment", name=name)
            hint = did_you_mean(name, known)
            report.warn(path, f"no configured provider has this name{hint}")
