"""Whose address a request comes from, behind reverse proxies or not.

A pure function of the peer and X-Forwarded-For. Only a trusted proxy is believed, and
only about who spoke to it: each address further left counts if the one to its right
is trusted too. What a caller writes into the field itself is thus never reached.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_MOST_HOPS: Final = 32
_SUBNET_BITS: Final = 64


class TrustedProxies:
    """The networks of server.trustedProxies."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(
            ipaddress.ip_network(network, strict=False) for network in networks
        )

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """Answer the address of the client; `forwarded` are the field's values."""
        if not self._networks or not forwarded:
            return peer
        nearest = _address(peer)
        if nearest is None or not self._holds(nearest):
            return peer
        hops = [hop for value in forwarded for hop in value.split(",")]
        for hop in reversed(hops[-_MOST_HOPS:]):
            address = _address(hop)
            if address is None:
                break  # `unknown`, or no address at all: the last one known counts
            nearest = address
            if not self._holds(address):
                break
        return str(nearest)

    def trusts(self, peer: str) -> bool:
        """Tell whether what a connection's other end says is believed."""
        if not self._networks:
            return False
        address = _address(peer)
        return address is not None and self._holds(address)

    def _holds(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def group_of(address: str) -> str:
    """Answer what counts as one caller: an IPv4 address, or an IPv6 /64.

    Whoever has one address of IPv6 has 2⁶⁴ of them.
    """
    found = _address(address)
    if found is None or found.version == 4:
        return address if found is None else str(found)
    return str(ipaddress.ip_network((int(found), _SUBNET_BITS), strict=False))


def _address(text: str) -> Address | None:
    """Read an address as proxies write it: in brackets, with a port, with a zone."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
