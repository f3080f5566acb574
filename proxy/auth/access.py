"""From where a call may come (http-api §1, Who may call).

A page in the owner's browser can send requests here, even under a name of its
own that resolves to this machine; so Host and Origin decide, not only the peer.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from proxy.core.errors import CallerFault
from proxy.core.types import Headers, Pair

_LOCAL_SUFFIXES: Final = (".local", ".internal", ".lan", ".localhost")
_APP_SCHEMES: Final = frozenset({"app", "file", "tauri", "vscode-webview"})
# Set by whoever stands between: the caller is then elsewhere, whatever the peer is.
_FORWARDING_SUFFIXES: Final = ("client-ip", "connecting-ip", "real-ip")
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]@/\s%]*)(?::([0-9]{1,5}))?")
_ALLOWED_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


class Access:
    """Decides by Host, Origin and peer. `names` are this machine's own."""

    def __init__(
        self,
        allowed_hosts: Iterable[str],
        allowed_origins: Iterable[str],
        names: Iterable[str] | None = None,
    ) -> None:
        own = (socket.gethostname(),) if names is None else names
        self._hosts = frozenset(
            host.lower().rstrip(".") for host in (*allowed_hosts, *own, "localhost")
        )
        self._origins = frozenset(origin.lower() for origin in allowed_origins)
        # The same client sends the same Host each time.
        self._check_host = lru_cache(maxsize=256)(self._host_is_known)

    def admit(self, headers: Headers) -> None:
        """Raise `forbidden` for a request that a foreign page may have sent."""
        hosts = headers.all("host")
        host = hosts[0] if hosts else ""
        # Browsers always send Host; a request without one is no page's.
        if len(hosts) > 1 or (hosts and not self._check_host(host)):
            raise CallerFault(
                "forbidden",
                "The Host header names no host of this gateway. Add it to "
                "server.allowedHosts if it is one.",
            )
        origin = headers.get("origin")
        if origin is not None and not self._origin_is_known(origin, host):
            raise CallerFault(
                "forbidden",
                "Pages of this origin may not use the gateway. Add it to "
                "server.cors.allowedOrigins if they should.",
            )

    def cors(self, headers: Headers) -> list[Pair]:
        """Answer the fields that a page needs to read the reply, if it may."""
        origin = headers.get("origin")
        if origin is None or not self._origin_is_known(
            origin, headers.get("host") or ""
        ):
            return []
        return [
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", "*"),
            ("vary", "Origin"),
        ]

    def preflight(self, headers: Headers) -> list[Pair]:
        """Answer the fields of a preflight's 204."""
        asked = headers.get("access-control-request-headers")
        pairs = [
            *self.cors(headers),
            ("access-control-allow-methods", _ALLOWED_METHODS),
            ("access-control-allow-headers", asked or "*"),
            ("access-control-max-age", "600"),
        ]
        if headers.get("access-control-request-private-network") == "true":
            pairs.append(("access-control-allow-private-network", "true"))
        return pairs

    def is_owner(self, headers: Headers, peer: str) -> bool:
        """Tell whether the request comes from this machine, through nobody."""
        if not _is_loopback(peer) or not is_direct(name for name, _ in headers):
            return False
        # A foreign page's links and images come without an Origin.
        if "origin" not in headers and headers.get("sec-fetch-site") == "cross-site":
            return False
        return _is_loopback_name(host_name(headers.get("host") or ""))

    def _host_is_known(self, host: str) -> bool:
        name = host_name(host)
        if name is None:
            return False
        if name in self._hosts or _is_address(name) or name.endswith(_LOCAL_SUFFIXES):
            return True
        return host.lower() in self._hosts

    def _origin_is_known(self, origin: str, host: str) -> bool:
        if origin.lower() in self._origins or "*" in self._origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        if parts.scheme in _APP_SCHEMES:
            return True
        if parts.scheme not in ("http", "https"):
            return False
        if parts.netloc.lower() == host.lower():
            return True
        return _is_loopback_name(host_name(parts.netloc))


class OpenAccess(Access):
    """Access while authentication is on: the credential decides, not the place.

    Any host and any origin may ask. Browsers send no credential of their own along,
    for they are never told that they may.
    """

    def admit(self, headers: Headers) -> None:
        """Let everybody come as far as the credential."""

    def is_owner(self, headers: Headers, peer: str) -> bool:
        """As while authentication is off, but never a page: all of them may ask."""
        return "origin" not in headers and super().is_owner(headers, peer)

    def _origin_is_known(self, origin: str, host: str) -> bool:
        return True


def is_direct(names: Iterable[str]) -> bool:
    """Tell whether no header of these (lower-case) names says that somebody forwarded."""
    return not any(
        name == "via" or "forwarded" in name or name.endswith(_FORWARDING_SUFFIXES)
        for name in names
    )


def host_name(host: str) -> str | None:
    """The name in a Host value, lower-case, without port; None if it is malformed."""
    match = _HOST.fullmatch(host)
    if match is None or not match[1]:
        return None
    return match[1].strip("[]").lower().rstrip(".")


def _is_loopback(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _is_loopback_name(name: str | None) -> bool:
    if name is None:
        return False
    return name == "localhost" or (_is_address(name) and _is_loopback(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
