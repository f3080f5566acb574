"""Where an upstream is, and on what terms a connection to it is made."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from msgspec import Struct, structs

_PORTS: Final = {"http": 80, "https": 443, "demo": 0}


class Tls(Struct, frozen=True):
    """Files are paths in PEM form; `verify` False accepts any certificate. `stamps` tell
    what the files held apart from what they held before.
    """

    verify: bool = True
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    stamps: tuple[tuple[int, int, int], ...] = ()

    def stamped(self) -> Tls:
        """The same with the files as they are now: others make other connections."""
        files = (self.ca_file, self.cert_file, self.key_file)
        return structs.replace(
            self, stamps=tuple(_stamp(file) for file in files if file)
        )


_PLAIN_TLS: Final = Tls()


@dataclass(frozen=True, slots=True)
class Origin:
    """A scheme, host and port with its connection options: the key of a pool.

    `proxy` is an outbound HTTP proxy's URL; https goes through it by CONNECT,
    http as a request for the absolute URL, unless it is to be a `tunnel`.
    """

    scheme: str
    host: str
    port: int
    tls: Tls = _PLAIN_TLS
    proxy: str | None = field(default=None, repr=False)
    tunnel: bool = False
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Looked up on every request: counted once.
        key = (self.scheme, self.host, self.port, self.tls, self.proxy, self.tunnel)
        object.__setattr__(self, "_hash", hash(key))

    def __hash__(self) -> int:
        return self._hash

    @property
    def authority(self) -> str:
        """The Host field's value."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def is_read_by_proxy(self) -> bool:
        """True where an outbound proxy takes the requests; else it sees none, or bytes."""
        return self.proxy is not None and self.scheme == "http" and not self.tunnel

    def tunnelled(self) -> Origin:
        """The same for what a proxy must not read: it is asked for a connection."""
        return self if self.proxy is None else replace(self, tunnel=True)

    def target(self, url_path: str) -> str:
        """The request line's target for an origin-form path."""
        if self.is_read_by_proxy:
            return f"http://{self.authority}{url_path}"
        return url_path

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """What each request says to a proxy that reads it; tunnels are asked once."""
        if self.proxy is None or not self.is_read_by_proxy:
            return ()
        authorization = read_proxy(self.proxy).authorization
        return (("proxy-authorization", authorization),) if authorization else ()


def read_origin(url: str, tls: Tls = _PLAIN_TLS, proxy: str | None = None) -> Origin:
    """Read scheme, host and port of a URL. Raises ValueError if it has no such."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("an upstream's URL begins with http:// or https:// and a host")
    port = parts.port or _PORTS[parts.scheme]
    return Origin(parts.scheme, parts.hostname, port, tls, proxy)


class OutboundProxy(Struct, frozen=True):
    host: str
    port: int
    authorization: str | None

    def __repr__(self) -> str:
        return f"OutboundProxy({self.host}:{self.port})"


def read_proxy(url: str) -> OutboundProxy:
    """Read an outbound proxy's URL, credentials included."""
    parts = urlsplit(url if "//" in url else f"http://{url}")
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
    return OutboundProxy(parts.hostname or "", parts.port or 3128, authorization)


def _stamp(file: str) -> tuple[int, int, int]:
    try:
        found = Path(file).stat()
    except OSError:
        return (0, 0, 0)  # who connects is told that it cannot be read
    return found.st_mtime_ns, found.st_ino, found.st_size


@lru_cache(maxsize=64)
def tls_context(tls: Tls) -> ssl.SSLContext:
    """Build the context once per set of options; reading CA files takes 10 ms.

    Raises OSError or ssl.SSLError when a file cannot be read.
    """
    context = ssl.create_default_context(cafile=tls.ca_file)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    context.set_alpn_protocols(["http/1.1"])
    return context
