"""Opening connections, over real sockets of this machine alone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from proxy.core.call import FetchFailed
from proxy.relay.client import Client
from proxy.relay.dial import dial
from proxy.relay.errors import ConnectFailed, Phase, TimedOut
from proxy.relay.origin import Origin, Tls
from tests.fakes.hand_clock import HandClock
from tests.parts.certificates import Authority, authority
from tests.parts.http_text import Message, whole
from tests.parts.listening import Serve, answering, hang, listening
from tests.parts.outbound_proxy import OutboundProxy
from tests.parts.ports import HOST

__all__ = ["authority"]

HELLO = whole(b"hello")


class Quiet(asyncio.Protocol):
    """A protocol that notes its transport and its end."""

    def __init__(self) -> None:
        self.transport: asyncio.BaseTransport | None = None
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


@pytest.fixture
async def client(hands: HandClock) -> AsyncIterator[Client]:
    async with Client(hands.ticker) as opened:
        yield opened


async def ask(
    client: Client, url: str, tls: Tls | None = None, proxy: str | None = None
) -> bytes:
    fetched = await client.fetch_for(tls or Tls(), proxy)("GET", url, timeout_s=20)
    return fetched.body


async def failure(origin: Origin) -> ConnectFailed:
    """How dialling fails; its message must be fit for callers."""
    with pytest.raises(ConnectFailed) as caught:
        async with asyncio.timeout(20):
            await dial(origin, Quiet)
    error = caught.value
    assert error.phase is Phase.CONNECT
    for secret in (origin.host, str(origin.port), "Errno", "[SSL", "/", "secret"):
        assert secret not in error.message
    return error


# -- addresses ----------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_both_families_are_spoken(client: Client, host: str) -> None:
    need_address(host)
    seen: list[Message] = []
    async with listening(answering(HELLO, seen), host=host) as port:
        place = f"[{host}]" if ":" in host else host
        assert await ask(client, f"http://{place}:{port}/") == b"hello"
    assert seen[0].header("host") == f"{place}:{port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("order", [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
async def test_a_name_leads_to_whichever_address_answers(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    order: tuple[str, ...],
) -> None:
    """Some servers listen on one family, and `localhost` names both."""
    need_address(host)
    name_addresses(monkeypatch, {"both.lan": order})
    async with listening(answering(HELLO, []), host=host) as port:
        assert await ask(client, f"http://both.lan:{port}/") == b"hello"


async def test_a_name_is_looked_up_for_each_connection(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that comes back under another address is found."""
    need_address("::1")
    names = {"moves.lan": ("127.0.0.1",)}
    name_addresses(monkeypatch, names)
    async with listening(answering(HELLO, []), host="::1") as port:
        with pytest.raises(FetchFailed):
            await ask(client, f"http://moves.lan:{port}/")
        names["moves.lan"] = ("::1",)
        assert await ask(client, f"http://moves.lan:{port}/") == b"hello"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_address_is_not_looked_up(
    client: Client, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    need_address(host)
    name_addresses(monkeypatch, {host: ()})
    async with listening(answering(HELLO, []), host=host) as port:
        place = f"[{host}]" if ":" in host else host
        assert await ask(client, f"http://{place}:{port}/") == b"hello"


def name_addresses(
    monkeypatch: pytest.MonkeyPatch, names: dict[str, tuple[str, ...]]
) -> None:
    """Let the loop know names of our own, without asking anybody."""

    async def look_up(host: str, port: int, **_: object) -> list[object]:
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, port, 0, 0) if ":" in address else (address, port),
            )
            for address in names.get(host, (host,))
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)


def need_address(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")


async def test_connections_send_at_once_and_notice_a_dead_peer() -> None:
    async with listening(hang) as port:
        protocol = await dial(Origin("http", HOST, port), Quiet)
        assert protocol.transport is not None
        sock = protocol.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        protocol.transport.close()


@pytest.mark.parametrize("host", [HOST, "both.lan"])
async def test_where_nobody_listens_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    name_addresses(monkeypatch, {"both.lan": ("::1", HOST)})
    async with listening(hang) as port:
        pass
    error = await failure(Origin("http", host, port))
    assert error.message == "it refused the connection"
    assert error.reason == "refused"


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..lan", "x" * 64 + ".lan"])
async def test_a_name_that_is_none_is_not_known(host: str) -> None:
    error = await failure(Origin("http", host, 80))
    assert error.message == "its host name is not known"


# -- TLS ------------------------------------------------------------------------------


async def test_a_certificate_of_a_trusted_authority_is_taken(
    client: Client, authority: Authority
) -> None:
    tls = Tls(ca_file=str(authority.file))
    server = authority.server(HOST)
    async with listening(answering(HELLO, []), tls=server) as port:
        assert await ask(client, f"https://{HOST}:{port}/", tls) == b"hello"


async def test_http_1_1_is_what_is_agreed_on(authority: Authority) -> None:
    server = authority.server(HOST)
    server.set_alpn_protocols(["h2", "http/1.1"])
    tls = Tls(ca_file=str(authority.file))
    async with listening(hang, tls=server) as port:
        protocol = await dial(Origin("https", HOST, port, tls), Quiet)
        assert protocol.transport is not None
        session = protocol.transport.get_extra_info("ssl_object")
        assert session.selected_alpn_protocol() == "http/1.1"
        protocol.transport.abort()
        await protocol.lost.wait()


def untrusted(authority: Authority) -> tuple[str, bool, Tls]:
    return HOST, False, Tls()


def expired(authority: Authority) -> tuple[str, bool, Tls]:
    return HOST, True, Tls(ca_file=str(authority.file))


def of_another_name(authority: Authority) -> tuple[str, bool, Tls]:
    return "other.lan", False, Tls(ca_file=str(authority.file))


def of_another_address(authority: Authority) -> tuple[str, bool, Tls]:
    return "::1", False, Tls(ca_file=str(authority.file))


@pytest.mark.parametrize(
    "flaw", [untrusted, expired, of_another_name, of_another_address]
)
async def test_a_bad_certificate_is_refused_unless_nobody_cares(
    client: Client,
    authority: Authority,
    flaw: Callable[[Authority], tuple[str, bool, Tls]],
) -> None:
    name, is_expired, tls = flaw(authority)
    server = authority.server(name, expired=is_expired)
    async with listening(answering(HELLO, []), tls=server) as port:
        error = await failure(Origin("https", HOST, port, tls))
        assert error.reason == "tls"
        assert error.message.startswith("TLS failed: ")
        careless = Tls(verify=False)
        assert await ask(client, f"https://{HOST}:{port}/", careless) == b"hello"


async def test_a_server_may_ask_who_we_are(
    client: Client, authority: Authority
) -> None:
    ours = authority.issue("gateway")
    known = Tls(
        ca_file=str(authority.file), cert_file=str(ours.cert), key_file=str(ours.key)
    )
    server = authority.server(HOST, asks=True)
    async with listening(answering(HELLO, []), tls=server) as port:
        url = f"https://{HOST}:{port}/"
        assert await ask(client, url, known) == b"hello"
        with pytest.raises(FetchFailed) as caught:
            await ask(client, url, Tls(ca_file=str(authority.file)))
    assert caught.value.reason in ("tls", "broken")
    assert HOST not in str(caught.value)


async def test_a_server_that_speaks_no_tls_is_said_to_fail_at_it(
    authority: Authority,
) -> None:
    tls = Tls(ca_file=str(authority.file))
    async with listening(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        assert (await failure(Origin("https", HOST, port, tls))).reason == "tls"


async def test_a_server_that_hangs_up_in_the_handshake_cannot_be_reached(
    authority: Authority,
) -> None:
    async with listening(says(b"")) as port:
        await failure(Origin("https", HOST, port, Tls(ca_file=str(authority.file))))


async def test_a_tls_file_that_is_missing_is_said_to_be(
    authority: Authority, tmp_path: Path
) -> None:
    missing = str(tmp_path / "secret.pem")
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    async with listening(hang, tls=authority.server(HOST)) as port:
        for tls in (Tls(ca_file=missing), Tls(cert_file=missing)):
            error = await failure(Origin("https", HOST, port, tls))
            assert "file of its configuration" in error.message
        await failure(Origin("https", HOST, port, Tls(ca_file=str(junk))))


def says(reply: bytes) -> Serve:
    """Say it to whatever comes first, and hang up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(reply)

    return serve


# -- deadlines and cancellation --------------------------------------------------------


@pytest.mark.parametrize("kind", ["tls", "proxy"])
async def test_a_handshake_that_hangs_has_a_deadline(
    client: Client, authority: Authority, kind: str
) -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hang(reader, writer)
        gone.set()

    async with listening(serve) as port:
        tls = Tls(ca_file=str(authority.file))
        proxy = f"http://{HOST}:{port}" if kind == "proxy" else None
        origin = Origin("https", HOST, port, tls, proxy)
        with pytest.raises(TimedOut) as caught:
            await client.connect(origin, 0.1)
        assert caught.value.phase is Phase.CONNECT
        await gone.wait()
        assert client.counts(origin) == (0, 0)


@pytest.mark.parametrize("kind", ["tls", "proxy"])
async def test_cancelled_half_open_it_closes_what_is_open(
    authority: Authority, kind: str
) -> None:
    here, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        here.set()
        await hang(reader, writer)
        gone.set()

    async with listening(serve) as port:
        tls = Tls(ca_file=str(authority.file))
        proxy = f"http://{HOST}:{port}" if kind == "proxy" else None
        dialling = asyncio.ensure_future(
            dial(Origin("https", HOST, port, tls, proxy), Quiet)
        )
        await here.wait()
        dialling.cancel()
        await gone.wait()
        assert dialling.cancelled()


# -- outbound proxies ---------------------------------------------------------------------


async def test_https_goes_through_a_proxy_by_connect(
    client: Client, authority: Authority
) -> None:
    proxy, seen = OutboundProxy(), []
    async with (
        listening(proxy) as proxy_port,
        listening(answering(HELLO, seen), tls=authority.server(HOST)) as port,
    ):
        body = await ask(
            client,
            f"https://{HOST}:{port}/x",
            Tls(ca_file=str(authority.file)),
            f"http://me:p%40ss@{HOST}:{proxy_port}",
        )
        assert body == b"hello"
    asked = proxy.seen[0]
    assert (asked.method, asked.target) == ("CONNECT", f"{HOST}:{port}")
    assert asked.header("host") == f"{HOST}:{port}"
    assert asked.header("proxy-authorization") == "Basic bWU6cEBzcw=="
    assert seen[0].target == "/x"
    assert seen[0].header("proxy-authorization") is None


async def test_an_ipv6_address_is_bracketed_for_the_proxy(
    client: Client, authority: Authority
) -> None:
    need_address("::1")
    proxy = OutboundProxy()
    server = authority.server("::1")
    async with (
        listening(proxy) as proxy_port,
        listening(answering(HELLO, []), host="::1", tls=server) as port,
    ):
        tls = Tls(ca_file=str(authority.file))
        url = f"https://[::1]:{port}/"
        assert await ask(client, url, tls, f"http://{HOST}:{proxy_port}") == b"hello"
    assert proxy.seen[0].target == f"[::1]:{port}"
    assert proxy.seen[0].header("proxy-authorization") is None


async def test_http_goes_through_a_proxy_as_the_whole_url(client: Client) -> None:
    proxy, seen = OutboundProxy(), []
    async with (
        listening(proxy) as proxy_port,
        listening(answering(HELLO, seen)) as port,
    ):
        url = f"http://{HOST}:{port}/v1/models?a=b"
        through = f"http://me:secret@{HOST}:{proxy_port}"
        assert await ask(client, url, None, through) == b"hello"
    assert proxy.seen[0].target == url
    assert proxy.seen[0].header("host") == f"{HOST}:{port}"
    assert proxy.seen[0].header("proxy-authorization") is not None
    assert seen[0].target == "/v1/models?a=b"


async def test_the_certificate_is_the_upstreams_not_the_proxys(
    authority: Authority,
) -> None:
    server = authority.server("other.lan")
    async with (
        listening(OutboundProxy()) as proxy_port,
        listening(hang, tls=server) as port,
    ):
        tls = Tls(ca_file=str(authority.file))
        proxy = f"http://{HOST}:{proxy_port}"
        assert (await failure(Origin("https", HOST, port, tls, proxy))).reason == "tls"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic\r\n\r\n",
         "the outbound proxy answered 407"),
        (b"HTTP/1.0 403 No\r\n\r\n", "the outbound proxy answered 403"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\nno route to secret.lan",
         "the outbound proxy answered 502"),
        (b"", "the outbound proxy gave no proper answer"),
        (b"HTTP/1.1 200 Est", "the outbound proxy gave no proper answer"),
        (b"SOCKS secret\r\n\r\n", "the outbound proxy gave no proper answer"),
        (b"HTTP/1.1 407 X\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
         "the outbound proxy gave no proper answer"),
    ],
)  # fmt: skip
async def test_a_proxy_that_refuses_is_named(
    authority: Authority, answer: bytes, message: str
) -> None:
    async with listening(OutboundProxy(answer)) as proxy_port:
        proxy = f"http://me:secret@{HOST}:{proxy_port}"
        tls = Tls(ca_file=str(authority.file))
        error = await failure(Origin("https", "box.lan", 443, tls, proxy))
        assert error.message == message
        assert error.reason == "proxy"
        assert str(proxy_port) not in error.message


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_not_there_is_refused(scheme: str) -> None:
    async with listening(hang) as port:
        pass
    proxy = f"http://{HOST}:{port}"
    error = await failure(Origin(scheme, "box.lan", 443, proxy=proxy))
    assert error.message == "it refused the connection"
