"""Open a connection to an origin: names, both address families, proxy, TLS.

Names are resolved off the loop and anew for each connection (a pool makes that
rare), so a machine that comes back under another address is found.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeVar

import aiohappyeyeballs

from proxy.relay import stage
from proxy.relay.errors import BrokenReply, ConnectFailed
from proxy.relay.head import read_reply
from proxy.relay.origin import Origin, OutboundProxy, read_proxy, tls_context

_FALLBACK_DELAY_S: Final = 0.25  # RFC 8305's recommendation
_NO_ANSWER: Final = "the outbound proxy gave no proper answer"

P = TypeVar("P", bound=asyncio.Protocol)


async def dial(origin: Origin, factory: Callable[[], P]) -> P:
    """Connect a protocol made by `factory`. Raises ConnectFailed.

    The caller bounds the time; cancellation closes whatever was half open.
    """
    if origin.scheme == "demo":
        return stage.connect(factory)
    try:
        if origin.proxy is not None and not origin.is_read_by_proxy:
            return await _through(origin, read_proxy(origin.proxy), factory)
        host, port = _address(origin)
        if _is_address(host):
            return await _to_address(host, port, origin, factory)
        return await _attach(origin, await _socket(host, port), factory)
    except (ssl.SSLError, ssl.CertificateError) as error:
        why = getattr(error, "verify_message", "") or getattr(error, "reason", "")
        # "Hostname mismatch, certificate is not valid for …": the rest is an address.
        why = (why or "handshake").partition(",")[0]
        raise ConnectFailed(f"TLS failed: {why}", "tls") from error
    except (socket.gaierror, UnicodeError) as error:  # no name, or none can be such
        raise ConnectFailed("its host name is not known", "unknown_host") from error
    except OSError as error:
        raise ConnectFailed(_reason(error)) from error


def _address(origin: Origin) -> tuple[str, int]:
    if origin.proxy is None:
        return origin.host, origin.port
    proxy = read_proxy(origin.proxy)
    return proxy.host, proxy.port


@lru_cache(maxsize=256)
def _is_address(host: str) -> bool:
    """True where there is nothing to look up, nor to choose from."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):  # ValueError: a NUL in it
            continue
        return True
    return False


async def _to_address(
    host: str, port: int, origin: Origin, factory: Callable[[], P]
) -> P:
    """The loop's own way: without a thread, and without a socket of Python's."""
    context, name = _tls(origin)
    transport, protocol = await asyncio.get_running_loop().create_connection(
        factory, host, port, ssl=context, server_hostname=name
    )
    sock: socket.socket = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return protocol


async def _socket(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    sock = await aiohappyeyeballs.start_connection(
        found, happy_eyeballs_delay=_FALLBACK_DELAY_S, interleave=1
    )
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


async def _attach(origin: Origin, sock: socket.socket, factory: Callable[[], P]) -> P:
    context, name = _tls(origin)
    try:
        _, protocol = await asyncio.get_running_loop().create_connection(
            factory, sock=sock, ssl=context, server_hostname=name
        )
    except BaseException:
        sock.close()
        raise
    return protocol


def _tls(origin: Origin) -> tuple[ssl.SSLContext | None, str | None]:
    if origin.scheme != "https":
        return None, None
    return tls_context(origin.tls), origin.host


async def _through(origin: Origin, proxy: OutboundProxy, factory: Callable[[], P]) -> P:
    """Ask the proxy for a tunnel, then speak inside it, by TLS where it is https."""
    loop = asyncio.get_running_loop()
    sock = await _socket(proxy.host, proxy.port)
    try:
        await _ask_for_tunnel(loop, sock, origin, proxy)
    except BaseException:
        sock.close()
        raise
    return await _attach(origin, sock, factory)


async def _ask_for_tunnel(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    origin: Origin,
    proxy: OutboundProxy,
) -> None:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    target = f"{host}:{origin.port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    sock.setblocking(False)
    await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode("latin-1"))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        # One byte at a time: what follows the head belongs to TLS.
        byte = await loop.sock_recv(sock, 1)
        head += byte
        if not byte or len(head) > 8192:
            raise ConnectFailed(_NO_ANSWER, "proxy")
    try:
        status = read_reply(head, "CONNECT").status
    except BrokenReply as error:
        raise ConnectFailed(_NO_ANSWER, "proxy") from error
    if status != 200:
        raise ConnectFailed(f"the outbound proxy answered {status}", "proxy")


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "it refused the connection"
    if isinstance(error, FileNotFoundError):
        return "a TLS file of its configuration cannot be read"
    return "it could not be reached"
