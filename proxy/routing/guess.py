"""Where providers may be that nobody configured: pure, asks nobody.

Local servers on their usual loopback ports or where the operator's hint says,
clouds whose key is in the environment, and the built-in provider of --demo.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from providers.base import Adapter
from proxy.config import Config, ProviderConfig, found_provider

Address = tuple[str, int]

DEMO: Final = "demo"
_LOOPBACK: Final = "127.0.0.1"
_PORTS: Final = {"http": 80, "https": 443}
_PROBE_TIMEOUT_S: Final = 2.0


def certain(
    config: Config, kinds: Mapping[str, type[Adapter]]
) -> tuple[ProviderConfig, ...]:
    """Providers that need no looking for: the demo, and clouds with a key.

    A cloud of a kind that the file configures is the file's affair alone.
    """
    found = [_provider(config, kinds[DEMO])] if config.demo else []
    if not config.discovery.enabled:
        return tuple(found)
    configured = {provider.kind for provider in config.providers}
    clouds = [kind for kind in config.environment_keys if kind not in configured]
    found += [
        _provider(config, kinds[kind])
        for kind in clouds
        if kind in kinds and kinds[kind].default_url
    ]
    return tuple(found)


def local_guesses(
    config: Config, kinds: Mapping[str, type[Adapter]], own: Address
) -> Mapping[Address, tuple[ProviderConfig, ...]]:
    """Addresses where a local server may be, and as what; never our own.

    A hint for a kind replaces its usual ports, and holds without discovery too.
    """
    guesses: dict[Address, list[ProviderConfig]] = {}
    for kind, url in _places(config, kinds):
        address = address_of(url)
        if not is_own(address, own):
            guess = replace(
                _provider(config, kinds[kind], url),
                health_check_timeout=_PROBE_TIMEOUT_S,
            )
            guesses.setdefault(address, []).append(guess)
    return {address: tuple(found) for address, found in guesses.items()}


def address_of(url: str) -> Address:
    """Host and port of a URL; all names of this machine's loopback are one host."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").lower()
    port = parts.port or _PORTS.get(parts.scheme, 0)
    return (_LOOPBACK if _means_here(host) else host, port)


def is_own(address: Address, own: Address) -> bool:
    """Tell whether an address, as `address_of` makes it, is where we listen."""
    host, port = own
    host = host.strip("[]").lower()
    return address == (_LOOPBACK if _means_here(host) else host, port)


def _places(
    config: Config, kinds: Mapping[str, type[Adapter]]
) -> Iterator[tuple[str, str]]:
    yield from ((k, url) for k, url in config.local_hints.items() if k in kinds)
    if config.discovery.enabled:
        for kind, adapter in kinds.items():
            if kind not in config.local_hints:
                for port in adapter.usual_ports:
                    yield kind, f"http://{_LOOPBACK}:{port}"


def _provider(
    config: Config, adapter: type[Adapter], url: str | None = None
) -> ProviderConfig:
    found = found_provider(config, adapter.kind, url)
    return replace(found, name=adapter.title)


def _means_here(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # Who listens on every address is reached by loopback, and is meant by it.
    return address.is_loopback or address.is_unspecified
