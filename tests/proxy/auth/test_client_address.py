from __future__ import annotations

import pytest

from proxy.auth.client_address import TrustedProxies, group_of

PROXIES = TrustedProxies(["10.0.0.0/8", "::1/128", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_only_what_a_trusted_proxy_says_is_believed(
    peer: str, forwarded: list[str], client: str
) -> None:
    assert PROXIES.client(peer, forwarded) == client


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert TrustedProxies([]).client("127.0.0.1", ["1.2.3.4"]) == "127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "is_trusted"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("11.1.2.3", False), ("", False)],
)
def test_a_peer_is_trusted_by_its_network(peer: str, is_trusted: bool) -> None:
    assert PROXIES.trusts(peer) is is_trusted
    assert not TrustedProxies([]).trusts(peer)


def test_an_endless_list_is_read_from_its_near_end_only() -> None:
    hops = ", ".join(["10.0.0.2"] * 100_000)
    assert PROXIES.client("10.0.0.1", [f"1.2.3.4, {hops}"]) == "10.0.0.2"


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_subnet_is_one_caller(address: str, group: str) -> None:
    assert group_of(address) == group
