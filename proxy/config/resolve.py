"""What the file says of a provider → the ProviderConfig in force: keys, deadlines,
proxy and address filled in. The same for providers that are found at run time.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from proxy.config.kinds import KINDS, Kind, ProviderType
from proxy.config.outbound import Outbound, is_loopback
from proxy.config.problems import Path, Report, did_you_mean
from proxy.config.schema_providers import ProviderEntry, TimeoutsEntry
from proxy.config.value import (
    DEFAULT_TIMEOUTS,
    Config,
    ProviderConfig,
    Timeouts,
    base_url,
)

_VARIABLE_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_SECRET_ENDINGS: Final = ("_KEY", "_TOKEN", "_SECRET")
_PROBE_INTERVAL_S: Final[Mapping[ProviderType, float]] = {"local": 30.0, "cloud": 60.0}


@dataclass(frozen=True, slots=True)
class Resolver:
    """Resolves providers against the environment; problems go into `report`.

    `kind_keys` maps a kind to the key the environment holds for it.
    """

    environ: Mapping[str, str] = field(repr=False)
    kind_keys: Mapping[str, str] = field(repr=False)
    outbound: Outbound
    report: Report

    def provider(self, at: int, entry: ProviderEntry) -> ProviderConfig | None:
        """Resolve the entry that is `at` in the list; None when it has no address."""
        path: Path = ("providers", at)
        kind = KINDS[entry.kind]
        endpoint = entry.endpoint or kind.default_url
        keys = self._keys(path, entry)
        if endpoint is None:
            self.report.error(
                (*path, "endpoint"),
                f"is missing: a provider of kind {kind.name} needs its address",
            )
            return None
        type_ = entry.type or _type_of(kind, endpoint)
        return ProviderConfig(
            id=entry.id,
            kind=entry.kind,
            endpoint=endpoint,
            name=entry.name,
            type=type_,
            priority=entry.priority,
            enabled=entry.enabled,
            max_concurrent=entry.max_concurrent,
            max_concurrent_given="max_concurrent" in entry.model_fields_set,
            gpu=entry.gpu,
            location=entry.location,
            health_check_interval=entry.health_check_interval
            or _PROBE_INTERVAL_S[type_],
            health_check_timeout=entry.health_check_timeout,
            health_check_path=entry.health_check_path,
            auth_type=entry.auth_type,
            keys=keys or self._kind_key(entry, kind),
            forward_auth=entry.forward_auth,
            timeouts=_timeouts(entry.timeouts, type_),
            tls=entry.tls,
            proxy=entry.proxy or self.outbound.proxy_for(endpoint),
            wake=entry.wake,
            headers=tuple(
                (name.lower(), value) for name, value in entry.headers.items()
            ),
            forward_headers=tuple(name.lower() for name in entry.forward_headers),
            cache_salt=entry.cache_salt,
            cost_per_1k_tokens=entry.cost_per_1k_tokens,
        )

    def _keys(self, path: Path, entry: ProviderEntry) -> tuple[str, ...]:
        if entry.auth_secret is not None and entry.auth_secrets:
            self.report.error(
                (*path, "authSecrets"), "cannot go with authSecret; write one of them"
            )
        given: list[tuple[Path, str]] = [
            ((*path, "authSecrets", index), text)
            for index, text in enumerate(entry.auth_secrets)
        ]
        if entry.auth_secret is not None:
            given = [((*path, "authSecret"), entry.auth_secret)]
        keys = (self._key(place, text.strip()) for place, text in given)
        return tuple(key for key in keys if key)

    def _key(self, path: Path, text: str) -> str | None:
        if not text:
            return None
        if path in self.report.expanded:
            return self._sendable(path, text)
        if not _VARIABLE_NAME.fullmatch(text):
            self.report.warn(
                path,
                "holds a key in plain text; write the name of a variable or ${file:…}",
            )
            return self._sendable(path, text)
        value = self.environ.get(text, "").strip()
        if value:
            return self._sendable(path, value)
        likely = [name for name in self.environ if name.endswith(_SECRET_ENDINGS)]
        hint = did_you_mean(text, likely)
        self.report.error(path, f"the environment variable {text} is not set{hint}")
        return None

    def _sendable(self, path: Path, key: str) -> str | None:
        if is_sendable(key):
            return key
        self.report.error(path, "the key holds characters that no header may")
        return None

    def _kind_key(self, entry: ProviderEntry, kind: Kind) -> tuple[str, ...]:
        # A cloud's key goes to that cloud only, never to another address that
        # happens to be configured with its kind.
        if entry.auth_secret is not None or entry.auth_secrets:
            return ()
        is_at_home = kind.default_url is None or entry.endpoint is None
        if not is_at_home and _host(entry.endpoint) != _host(kind.default_url):
            return ()
        key = self.kind_keys.get(entry.kind)
        return () if key is None else (key,)


def found_provider(
    config: Config, kind: str, endpoint: str | None = None, *, id_: str | None = None
) -> ProviderConfig:
    """Make the ProviderConfig of a provider that was found, not configured.

    Its id is the kind unless given; keys, deadlines and proxy are as for a
    configured one. A kind without its own address needs `endpoint`.
    """
    known = KINDS[kind]
    address = endpoint or known.default_url
    if address is None:
        raise ValueError(f"a provider of kind {kind} needs an endpoint")
    type_ = _type_of(known, address)
    key = config.environment_keys.get(kind) or config.local_keys.get(kind)
    return ProviderConfig(
        id=id_ or kind,
        name=id_ or kind,
        kind=kind,
        type=type_,
        endpoint=base_url(address),
        health_check_interval=_PROBE_INTERVAL_S[type_],
        keys=(key,) if key else (),
        timeouts=DEFAULT_TIMEOUTS[type_],
        proxy=config.outbound.proxy_for(address),
        discovered=True,
    )


def is_sendable(key: str) -> bool:
    """Tell whether a key can be a header's value: visible ASCII only."""
    return key.isascii() and key.isprintable() and " " not in key


def _timeouts(entry: TimeoutsEntry, type_: ProviderType) -> Timeouts:
    usual = DEFAULT_TIMEOUTS[type_]
    return Timeouts(
        connect=entry.connect or usual.connect,
        write=entry.write or usual.write,
        first_byte=entry.first_byte or usual.first_byte,
        idle=entry.idle or usual.idle,
        whole=entry.whole or usual.whole,
    )


def _type_of(kind: Kind, endpoint: str) -> ProviderType:
    if kind.type is not None:
        return kind.type
    return "local" if _is_near(_host(endpoint) or "") else "cloud"


def _is_near(host: str) -> bool:
    if is_loopback(host) or ("." not in host.rstrip(".") and ":" not in host):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host.endswith((".lan", ".local", ".internal", ".home.arpa"))


def _host(url: str | None) -> str | None:
    return None if url is None else urlsplit(url).hostname
