"""Values that are allowed but rarely meant: told as warnings."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from proxy.config.outbound import is_loopback
from proxy.config.problems import Path, Report
from proxy.config.schema import File
from proxy.config.validate import Validated
from proxy.config.value import ProviderConfig, Timeouts

MAX_USUAL_PRIORITY: Final = 100


class Usual(Struct, frozen=True):
    """The usual range of a number, by attribute path; a bound of None is open."""

    path: tuple[str, str]
    low: float | None
    high: float | None
    reason: str


_USUAL: Final = (
    Usual(("server", "max_body_bytes"), 1 << 20, 1 << 30,
          "images alone take megabytes, and every body is held in memory"),
    Usual(("server", "drain_seconds"), None, 600, "a restart may wait that long"),
    Usual(("server", "head_timeout_seconds"), 2, 120, "slow callers are cut off or "
          "connections held for nothing"),
    Usual(("server", "body_idle_seconds"), 2, 600, "slow callers are cut off or "
          "connections held for nothing"),
    Usual(("stream", "keep_alive_seconds"), 1, 120,
          "proxies on the way cut silent streams after a minute or so"),
    Usual(("stream", "max_event_bytes"), 64 << 10, 1 << 30,
          "one event may hold a whole image or tool call"),
    Usual(("discovery", "refresh_seconds"), 5, 3600,
          "servers are asked that often, or noticed that late"),
)  # fmt: skip

_OPERATION_PATHS: Final = (
    "/chat/completions", "/completions", "/embeddings", "/messages", "/models",
    "/responses", "/api/chat", "/api/generate",
)  # fmt: skip
_SHORTEST_LOCAL: Final = Timeouts(connect=0.5, write=5, first_byte=10, idle=5, whole=30)
_SHORTEST_CLOUD: Final = Timeouts(connect=1, write=5, first_byte=5, idle=5, whole=10)


def warn_of_unusual(
    read: Validated, providers: dict[int, ProviderConfig], report: Report
) -> None:
    """Warn of odd numbers and of listening openly. `providers` by place in the file."""
    for usual in _USUAL:
        section, name = usual.path
        owner = getattr(read.file, section)
        key = type(owner).model_fields[name].alias
        value = getattr(owner, name)
        if (usual.low is not None and value < usual.low) or (
            usual.high is not None and value > usual.high
        ):
            message = f"{value:g} is unusual: {usual.reason}"
            report.warn((section, str(key)), message)
    for at, provider in providers.items():
        _warn_of_provider(("providers", at), provider, report)
    _warn_of_open_door(read.file, report)


def _warn_of_provider(path: Path, provider: ProviderConfig, report: Report) -> None:
    if provider.priority > MAX_USUAL_PRIORITY:
        report.warn(
            (*path, "priority"),
            f"{provider.priority} is unusual: lower is tried first, from 0",
        )
    if provider.health_check_timeout >= provider.health_check_interval:
        report.warn(
            (*path, "healthCheckTimeout"), "is not shorter than healthCheckInterval"
        )
    if provider.health_check_interval < 5:
        message = f"{provider.health_check_interval:g} s between probes is unusual"
        report.warn((*path, "healthCheckInterval"), message)
    if provider.base_url.rstrip("/").endswith(_OPERATION_PATHS):
        message = "ends in the path of a request: what stands before /v1 is enough"
        report.warn((*path, "endpoint"), message)
    if not provider.tls.verify:
        report.warn((*path, "tls", "verify"), "is off: anybody on the way can listen")
    _warn_of_timeouts((*path, "timeouts"), provider, report)


def _warn_of_timeouts(path: Path, provider: ProviderConfig, report: Report) -> None:
    shortest = _SHORTEST_LOCAL if provider.type == "local" else _SHORTEST_CLOUD
    given = provider.timeouts
    for key, value, least in (
        ("connect", given.connect, shortest.connect),
        ("write", given.write, shortest.write),
        ("firstByte", given.first_byte, shortest.first_byte),
        ("idle", given.idle, shortest.idle),
        ("whole", given.whole, shortest.whole),
    ):
        if value < least:
            message = f"{value:g} s is unusually short for a {provider.type} model"
            report.warn((*path, key), message)


def _warn_of_open_door(file: File, report: Report) -> None:
    if not is_loopback(file.server.host) and not file.auth.enabled:
        report.warn(
            ("server", "host"),
            f"{file.server.host} is open to the network, authentication is off: "
            "anybody who can reach it can use your models",
        )
