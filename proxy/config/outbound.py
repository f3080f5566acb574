"""Which outbound proxy leads to an address: HTTPS_PROXY and NO_PROXY, read once."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine's own loopback."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Outbound:
    """The environment's proxy for https and the hosts it is not for."""

    https_proxy: str | None = field(default=None, repr=False)
    no_proxy: tuple[str, ...] = ()

    @classmethod
    def read(cls, https_proxy: str | None, no_proxy: str | None) -> Outbound:
        """Read the variables' texts; a proxy without a scheme is http."""
        proxy = https_proxy or None
        if proxy is not None and "://" not in proxy:
            proxy = "http://" + proxy
        hosts = (part.strip().lower() for part in (no_proxy or "").split(","))
        return cls(proxy, tuple(host for host in hosts if host))

    def proxy_for(self, url: str) -> str | None:
        """The proxy to use for `url`: only for https, never for loopback."""
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        if self.https_proxy is None or parts.scheme != "https" or is_loopback(host):
            return None
        port = parts.port or 443
        if any(_covers(rule, host, port) for rule in self.no_proxy):
            return None
        return self.https_proxy


def _covers(rule: str, host: str, port: int) -> bool:
    if rule == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        pass
    name, _, rule_port = rule.partition(":")
    if rule_port and rule_port != str(port):
        return False
    name = name.removeprefix("*").lstrip(".")
    return bool(name) and (host == name or host.endswith("." + name))
