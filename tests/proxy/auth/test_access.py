from __future__ import annotations

import pytest

from proxy.auth.access import Access, OpenAccess, host_name
from proxy.core.errors import CallerFault
from proxy.core.types import Headers

ALLOWED_HOSTS = ("chat.example", "With-Port.example:8443")
ALLOWED_ORIGINS = ("https://app.example", "http://desk.example:3000")


@pytest.fixture
def access() -> Access:
    return Access(ALLOWED_HOSTS, ALLOWED_ORIGINS, names=("Tower",))


def headers(**fields: str) -> Headers:
    return Headers((name.replace("_", "-"), value) for name, value in fields.items())


def admits(access: Access, **fields: str) -> bool:
    try:
        access.admit(headers(**fields))
    except CallerFault:
        return False
    return True


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.1:3500", "192.168.1.7:3500", "8.8.8.8", "[::1]",
        "[::1]:3500", "[fe80::1]:80", "localhost", "LOCALHOST:3500", "localhost.",
        "tower", "TOWER:3500", "tower.local", "gw.internal:80", "a.b.lan", "x.localhost",
        "chat.example", "chat.example:99", "Chat.Example.", "with-port.example:8443",
    ],
)  # fmt: skip
def test_hosts_that_may_be_named(access: Access, host: str) -> None:
    assert admits(access, host=host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:3500", "", "lan", "local", "chat.example.evil.example",
        "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil.example",
        "user:pw@127.0.0.1", "127.0.0.1:3500:1", "127.0.0.1:port", "a b", "tower, evil",
        "http://127.0.0.1", "127.0.0.1/", "[127.0.0.1", "::1]", "with-port.example:1",
        "notlan", "xlocal",
    ],
)  # fmt: skip
def test_hosts_that_may_not(access: Access, host: str) -> None:
    assert not admits(access, host=host)


def test_a_refusal_is_forbidden(access: Access) -> None:
    with pytest.raises(CallerFault) as refused:
        access.admit(headers(host="evil.example"))
    assert (refused.value.code, refused.value.status) == ("forbidden", 403)
    assert "server.allowedHosts" in refused.value.message
    with pytest.raises(CallerFault) as refused:
        access.admit(headers(host="localhost", origin="https://evil.example"))
    assert (refused.value.code, refused.value.status) == ("forbidden", 403)
    assert "server.cors.allowedOrigins" in refused.value.message


def test_a_request_without_a_host_is_no_browsers(access: Access) -> None:
    assert admits(access)


def test_two_hosts_are_refused_though_each_may_be_named(access: Access) -> None:
    with pytest.raises(CallerFault):
        access.admit(Headers([("host", "localhost"), ("host", "localhost")]))


def test_this_machines_name_is_known_by_itself() -> None:
    access = Access((), ())
    assert admits(access, host="localhost")
    assert not admits(access, host="tower.evil.example")


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:3500", "127.0.0.1:3500"),
        ("http://gw.lan:3500", "gw.lan:3500"),
        ("https://GW.lan", "gw.LAN"),
        ("http://localhost:5173", "gw.lan:3500"),
        ("http://127.0.0.1:8080", "gw.lan:3500"),
        ("https://[::1]:8080", "gw.lan:3500"),
        ("app://obsidian.md", "127.0.0.1:3500"),
        ("file://", "127.0.0.1:3500"),
        ("tauri://localhost", "127.0.0.1:3500"),
        ("vscode-webview://1abc", "127.0.0.1:3500"),
        ("https://app.example", "127.0.0.1:3500"),
        ("HTTPS://APP.EXAMPLE", "127.0.0.1:3500"),
        ("http://desk.example:3000", "127.0.0.1:3500"),
    ],
)
def test_origins_that_may_call(access: Access, origin: str, host: str) -> None:
    assert admits(access, origin=origin, host=host)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "null", "", "http://127.0.0.1.evil.example",
        "http://localhost.evil.example", "https://app.example.evil.example",
        "https://app.example:444", "http://app.example", "http://desk.example",
        "http://192.168.1.9", "chrome-extension://abc", "javascript:alert(1)", "http://[",
        "http://gw.lan:3501", "ftp://127.0.0.1", "http://user@127.0.0.1:3500",
    ],
)  # fmt: skip
def test_origins_that_may_not(access: Access, origin: str) -> None:
    assert not admits(access, origin=origin, host="gw.lan:3500")


def test_any_origin_may_be_allowed() -> None:
    assert admits(Access((), ("*",)), origin="https://any.example", host="localhost")


def test_a_permitted_page_may_read_the_reply(access: Access) -> None:
    pairs = dict(access.cors(headers(origin="https://app.example", host="localhost")))
    assert pairs["access-control-allow-origin"] == "https://app.example"
    assert pairs["access-control-expose-headers"] == "*"
    assert pairs["vary"] == "Origin"
    assert "access-control-allow-credentials" not in pairs


def test_others_may_not_read_it(access: Access) -> None:
    assert access.cors(headers(host="localhost")) == []
    assert access.cors(headers(origin="https://evil.example", host="localhost")) == []


def test_a_preflight_is_told_what_it_may(access: Access) -> None:
    asked = headers(
        origin="https://app.example",
        host="localhost",
        access_control_request_method="POST",
        access_control_request_headers="content-type, x-api-key",
    )
    pairs = dict(access.preflight(asked))
    assert pairs["access-control-allow-origin"] == "https://app.example"
    assert "POST" in pairs["access-control-allow-methods"]
    assert "DELETE" in pairs["access-control-allow-methods"]
    assert pairs["access-control-allow-headers"] == "content-type, x-api-key"
    assert "access-control-allow-private-network" not in pairs


def test_a_private_network_preflight_is_answered(access: Access) -> None:
    asked = headers(
        origin="https://app.example",
        host="localhost",
        access_control_request_private_network="true",
    )
    pairs = dict(access.preflight(asked))
    assert pairs["access-control-allow-private-network"] == "true"


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("127.0.0.1", "127.0.0.1:3500"),
        ("127.8.9.1", "localhost:3500"),
        ("::1", "[::1]:3500"),
        ("::ffff:127.0.0.1", "localhost"),
    ],
)
def test_the_owner_is_on_this_machine(access: Access, peer: str, host: str) -> None:
    assert access.is_owner(headers(host=host), peer)


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("192.168.1.7", "127.0.0.1:3500"),
        ("::ffff:192.168.1.7", "localhost"),
        ("fe80::1%eth0", "localhost"),
        ("127.0.0.1", "tower:3500"),
        ("127.0.0.1", "192.168.1.2:3500"),
        ("127.0.0.1", "gw.lan"),
        ("127.0.0.1", ""),
        ("", "localhost"),
        ("somebody", "localhost"),
    ],
)
def test_anybody_else_is_not(access: Access, peer: str, host: str) -> None:
    assert not access.is_owner(headers(host=host), peer)


def test_without_a_host_nobody_is_the_owner(access: Access) -> None:
    assert not access.is_owner(Headers(), "127.0.0.1")


@pytest.mark.parametrize(
    "field",
    [
        "forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
        "x-forwarded-prefix", "x-forwarded-client-cert", "x-real-ip",
    ],
)  # fmt: skip
def test_what_came_through_somebody_is_not_the_owners(
    access: Access, field: str
) -> None:
    came = Headers([("host", "localhost"), (field, "")])
    assert not access.is_owner(came, "127.0.0.1")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Gw.Lan:3500", "gw.lan"),
        ("gw.lan.", "gw.lan"),
        ("[::1]:80", "::1"),
        ("[::1]", "::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("", None),
        ("a:b", None),
        ("::1", None),
        ("a@b", None),
    ],
)
def test_a_host_without_its_port(host: str, name: str | None) -> None:
    assert host_name(host) == name


def test_with_authentication_any_page_may_ask_but_without_credentials() -> None:
    open_to_all = OpenAccess((), (), names=())
    foreign = headers(host="evil.example", origin="https://evil.example")
    open_to_all.admit(foreign)
    open_to_all.admit(Headers([("host", "a"), ("host", "b")]))
    for fields in (open_to_all.cors(foreign), open_to_all.preflight(foreign)):
        told = dict(fields)
        assert told["access-control-allow-origin"] == "https://evil.example"
        assert "access-control-allow-credentials" not in told
    assert open_to_all.cors(headers(host="a")) == []


def test_with_authentication_the_owner_still_is_who_comes_from_here() -> None:
    open_to_all = OpenAccess((), (), names=())
    assert open_to_all.is_owner(headers(host="localhost"), "127.0.0.1")
    assert not open_to_all.is_owner(headers(host="localhost"), "10.0.0.1")
    assert not open_to_all.is_owner(headers(host="evil.example"), "127.0.0.1")
