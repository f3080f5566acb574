from __future__ import annotations

import base64

import pytest

from proxy.relay.client import Outgoing
from proxy.relay.origin import Origin, Tls, read_origin, read_proxy


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "authority"),
    [
        ("http://box.lan", "http", "box.lan", 80, "box.lan"),
        ("http://box.lan:80/v1", "http", "box.lan", 80, "box.lan"),
        ("https://box.lan", "https", "box.lan", 443, "box.lan"),
        ("https://BOX.lan:8443/x?y", "https", "box.lan", 8443, "box.lan:8443"),
        ("http://[::1]:1234", "http", "::1", 1234, "[::1]:1234"),
        ("http://[fe80::1]", "http", "fe80::1", 80, "[fe80::1]"),
        ("http://user:pass@box.lan:1", "http", "box.lan", 1, "box.lan:1"),
        ("demo://local", "demo", "local", 0, "local"),
    ],
)
def test_a_url_is_read(
    url: str, scheme: str, host: str, port: int, authority: str
) -> None:
    origin = read_origin(url)
    assert (origin.scheme, origin.host, origin.port) == (scheme, host, port)
    assert origin.authority == authority


@pytest.mark.parametrize(
    "url", ["box.lan", "ftp://box.lan", "http://", "/path", "", "http://box.lan:x"]
)
def test_what_is_no_upstreams_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        read_origin(url)


def test_origins_are_equal_when_their_options_are() -> None:
    plain = read_origin("https://box.lan")
    assert plain == read_origin("https://box.lan:443/v1")
    assert hash(plain) == hash(read_origin("https://box.lan:443/v1"))
    others = [
        read_origin("https://box.lan", Tls(verify=False)),
        read_origin("https://box.lan", Tls(ca_file="ca.pem")),
        read_origin("https://box.lan", Tls(), "http://proxy.lan"),
        read_origin("http://box.lan:443"),
    ]
    assert len({plain, *others}) == 5


def test_the_target_is_absolute_only_for_a_proxy_of_plain_http() -> None:
    proxy = "http://proxy.lan:3128"
    assert Origin("http", "box.lan", 80).target("/v1?a=b") == "/v1?a=b"
    assert Origin("https", "box.lan", 443, proxy=proxy).target("/v1") == "/v1"
    through = Origin("http", "::1", 8000, proxy=proxy)
    assert through.target("/v1?a=b") == "http://[::1]:8000/v1?a=b"


@pytest.mark.parametrize(
    ("url", "host", "port", "credentials"),
    [
        ("http://proxy.lan:8080", "proxy.lan", 8080, None),
        ("proxy.lan:8080", "proxy.lan", 8080, None),
        ("http://proxy.lan", "proxy.lan", 3128, None),
        ("http://[::1]:8080", "::1", 8080, None),
        ("http://me:secret@proxy.lan:8080", "proxy.lan", 8080, "me:secret"),
        ("http://me@proxy.lan:8080", "proxy.lan", 8080, "me:"),
        ("http://m%40e:p%3Ass%2F@proxy.lan:1", "proxy.lan", 1, "m@e:p:ss/"),
    ],
)
def test_a_proxys_url_is_read(
    url: str, host: str, port: int, credentials: str | None
) -> None:
    proxy = read_proxy(url)
    assert (proxy.host, proxy.port) == (host, port)
    if credentials is None:
        assert proxy.authorization is None
    else:
        assert proxy.authorization is not None
        kind, _, coded = proxy.authorization.partition(" ")
        assert (kind, base64.b64decode(coded).decode()) == ("Basic", credentials)


def test_only_a_proxy_that_reads_requests_is_told_who_asks_in_each() -> None:
    named = "http://me:secret@proxy.lan"
    assert [name for name, _ in Origin("http", "a", 80, proxy=named).fields] == [
        "proxy-authorization"
    ]
    assert Origin("https", "a", 443, proxy=named).fields == ()
    assert Origin("http", "a", 80, proxy="http://proxy.lan").fields == ()
    assert Origin("http", "a", 80).fields == ()


def test_no_secret_is_shown() -> None:
    url = "http://me:a-secret@proxy.lan"
    proxy = read_proxy(url)
    out = Outgoing("POST", "/v1", [("authorization", "Bearer a-secret")], b"a-secret")
    assert proxy.authorization is not None
    assert proxy.authorization not in repr(proxy)
    assert "a-secret" not in repr(Origin("https", "a", 443, proxy=url))
    assert "a-secret" not in repr(out)
