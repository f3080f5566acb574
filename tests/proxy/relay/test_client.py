from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.core.call import FetchFailed
from proxy.relay.client import Client, Outgoing, pump
from proxy.relay.errors import ConnectFailed, Phase, TimedOut
from proxy.relay.origin import Origin, Tls
from tests.fakes.hand_clock import HandClock
from tests.fakes.sink import KeptSink
from tests.fakes.transport import FakeDial
from tests.parts.http_text import Message, chunk, event_stream_head, whole
from tests.parts.listening import answering, hang, listening, read_request
from tests.parts.ports import HOST
from tests.proxy.relay.rig import ORIGIN, settle

SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def written(
    client: Client, dial: FakeDial, out: Outgoing, origin: Origin = ORIGIN
) -> bytes:
    """What goes over the wire for a request."""
    connection = await client.connect(origin, 1.0)
    if client.send(connection, origin, out, KeptSink()):
        await pump(connection, out)
    return bytes(dial.made[-1].written)


# -- what is sent -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        ("POST", b"{}", b"content-length: 2\r\n"),
        ("POST", b"", b"content-length: 0\r\n"),
        ("PUT", b"", b"content-length: 0\r\n"),
        ("PATCH", b"", b"content-length: 0\r\n"),
        ("GET", b"", b""),
        ("HEAD", b"", b""),
        ("DELETE", b"", b""),
        ("DELETE", b"x", b"content-length: 1\r\n"),
        ("GET", b"x", b"content-length: 1\r\n"),
        ("POST", b"x" * 100_000, b"content-length: 100000\r\n"),
    ],
)
async def test_a_whole_request_has_host_fields_length_and_body(
    client: Client, dial: FakeDial, method: str, body: bytes, framing: bytes
) -> None:
    out = Outgoing(method, "/v1/x?y=z", [("accept", "*/*")], body)
    assert await written(client, dial, out) == (
        method.encode() + b" /v1/x?y=z HTTP/1.1\r\nhost: box.lan:8000\r\n"
        b"accept: */*\r\n" + framing + b"\r\n" + body
    )


async def test_a_streamed_body_of_known_length_goes_as_it_is(
    client: Client, dial: FakeDial
) -> None:
    out = Outgoing("POST", "/", [], pieces(b"ab", b"", b"c"), 3)
    assert (await written(client, dial, out)).endswith(b"content-length: 3\r\n\r\nabc")


async def test_a_streamed_body_of_unknown_length_goes_in_chunks(
    client: Client, dial: FakeDial
) -> None:
    """An empty piece must not end the body."""
    out = Outgoing("POST", "/", [], pieces(b"ab", b"", b"c" * 17))
    assert (await written(client, dial, out)).endswith(
        b"transfer-encoding: chunked\r\n\r\n"
        b"2\r\nab\r\n11\r\n" + b"c" * 17 + b"\r\n0\r\n\r\n"
    )


async def test_a_remembered_head_is_not_written_anew(
    client: Client, dial: FakeDial
) -> None:
    memo: dict[Origin, bytes] = {}
    out = Outgoing("POST", "/", [("x", "1")], b"a", memo=memo)
    first = await written(client, dial, out)
    again = Outgoing("POST", "/", [("x", "2")], b"a", memo=memo)
    assert await written(client, dial, again) == first
    other = Origin("http", "other.lan", 80)
    assert b"host: other.lan\r\nx: 2" in await written(client, dial, again, other)


@pytest.mark.parametrize("value", ["a\r\nx: y", "\N{EURO SIGN}"])
async def test_a_head_that_cannot_be_written_closes_the_connection(
    client: Client, dial: FakeDial, value: str
) -> None:
    connection = await client.connect(ORIGIN, 1.0)
    out = Outgoing("POST", "/", [("x", value)], b"{}")
    with pytest.raises(ValueError):
        client.send(connection, ORIGIN, out, KeptSink())
    assert dial.made[0].aborted
    assert not dial.made[0].written
    await settle()
    assert client.counts(ORIGIN) == (0, 0)


async def test_a_proxy_for_plain_http_is_asked_for_the_whole_url(
    client: Client, dial: FakeDial
) -> None:
    origin = Origin("http", "box.lan", 8000, proxy="http://me:p%40ss@proxy.lan:3128")
    sent = await written(client, dial, Outgoing("GET", "/v1/models", []), origin)
    assert sent == (
        b"GET http://box.lan:8000/v1/models HTTP/1.1\r\nhost: box.lan:8000\r\n"
        b"proxy-authorization: Basic bWU6cEBzcw==\r\n\r\n"
    )


async def test_a_tunnelled_request_says_nothing_to_the_proxy(
    client: Client, dial: FakeDial
) -> None:
    origin = Origin("https", "box.lan", 443, proxy="http://me:x@proxy.lan:3128")
    sent = await written(client, dial, Outgoing("GET", "/v1/models", []), origin)
    assert sent == b"GET /v1/models HTTP/1.1\r\nhost: box.lan\r\n\r\n"


# -- connections ------------------------------------------------------------------


async def test_connecting_has_a_deadline(client: Client, dial: FakeDial) -> None:
    dial.hangs = True
    with pytest.raises(TimedOut) as caught:
        await client.connect(ORIGIN, 0.0)
    assert caught.value.phase is Phase.CONNECT
    assert client.counts(ORIGIN) == (0, 0)


async def test_what_dialling_raises_is_raised(client: Client, dial: FakeDial) -> None:
    dial.failure = ConnectFailed("it refused the connection")
    with pytest.raises(ConnectFailed):
        await client.connect(ORIGIN, 1.0)


async def test_origins_do_not_share_connections(client: Client, dial: FakeDial) -> None:
    connection = await client.connect(ORIGIN, 1.0)
    client.send(connection, ORIGIN, Outgoing("GET", "/", []), KeptSink())
    dial.made[0].feed(SHORT)
    assert client.counts(ORIGIN) == (0, 1)
    for other in (
        Origin("https", "box.lan", 8000),
        Origin("http", "box.lan", 8001),
        Origin("http", "box.lan", 8000, proxy="http://proxy.lan"),
        Origin("http", "box.lan", 8000, tls=Tls(verify=False)),
    ):
        assert client.take(other) is None
        assert client.counts(other) == (0, 0)
    assert client.take(Origin("http", "box.lan", 8000)) is connection


async def test_idle_connections_are_closed_by_the_ticker(
    client: Client, dial: FakeDial, hands: HandClock
) -> None:
    connection = await client.connect(ORIGIN, 1.0)
    client.send(connection, ORIGIN, Outgoing("GET", "/", []), KeptSink())
    dial.made[0].feed(SHORT)
    hands.pass_by(3600)
    assert dial.made[0].aborted
    await settle()
    assert client.counts(ORIGIN) == (0, 0)


async def test_closing_the_client_closes_its_connections(
    hands: HandClock, dial: FakeDial
) -> None:
    async with Client(hands.ticker, hands) as client:
        await client.connect(ORIGIN, 1.0)
        assert len(hands.ticker) == 1
    assert dial.made[0].aborted
    assert len(hands.ticker) == 0


# -- fetch, over real sockets -----------------------------------------------------


@pytest.fixture
async def real(hands: HandClock) -> AsyncIterator[Client]:
    async with Client(hands.ticker) as opened:
        yield opened


async def test_a_small_answer_is_fetched_whole(real: Client) -> None:
    seen: list[Message] = []
    async with listening(answering(whole(b'{"a":1}', status=404), seen)) as port:
        fetch = real.fetch_for(Tls())
        url = f"http://{HOST}:{port}/v1/models?x=y"
        fetched = await fetch("POST", url, headers=[("x", "y")], body=b"?")
    assert (fetched.status, fetched.body) == (404, b'{"a":1}')
    assert fetched.headers.get("content-type") == "application/json"
    assert fetched.elapsed_s > 0
    assert (seen[0].method, seen[0].target) == ("POST", "/v1/models?x=y")
    assert (seen[0].header("x"), seen[0].body) == ("y", b"?")


async def test_a_url_without_a_path_asks_for_the_root(real: Client) -> None:
    seen: list[Message] = []
    async with listening(answering(whole(b""), seen)) as port:
        await real.fetch_for(Tls())("GET", f"http://{HOST}:{port}")
    assert seen[0].target == "/"


async def test_a_fetch_never_uses_a_kept_connection(real: Client) -> None:
    """It tells whether a new caller would get through."""
    served: list[int] = []
    seen: list[Message] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(len(served))
        await answering(whole(b"{}"), seen)(reader, writer)

    async with listening(serve) as port:
        for _ in range(3):
            await real.fetch_for(Tls())("GET", f"http://{HOST}:{port}/")
    assert len(served) == 3


async def test_redirects_are_not_followed(real: Client) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"
    seen: list[Message] = []
    async with listening(answering(moved, seen)) as port:
        fetched = await real.fetch_for(Tls())("GET", f"http://{HOST}:{port}/")
    assert fetched.status == 302
    assert len(seen) == 1


async def failure(real: Client, url: str, **options: float) -> FetchFailed:
    with pytest.raises(FetchFailed) as caught:
        await real.fetch_for(Tls())("GET", url, **options)  # type: ignore[arg-type]
    await settle()
    return caught.value


async def test_a_fetch_has_a_deadline(real: Client) -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hang(reader, writer)
        gone.set()

    async with listening(serve) as port:
        origin = Origin("http", HOST, port)
        failed = await failure(real, f"http://{HOST}:{port}/", timeout_s=0.05)
        assert failed.reason == "timeout"
        async with asyncio.timeout(10):
            await gone.wait()
        assert real.counts(origin) == (0, 0)


async def test_a_fetch_from_nobody_is_refused(real: Client) -> None:
    async with listening(hang) as port:
        pass
    failed = await failure(real, f"http://{HOST}:{port}/")
    assert failed.reason == "refused"
    assert str(port) not in str(failed)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000,
        event_stream_head() + chunk(b"x" * 1000),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000,
    ],
)
async def test_an_answer_past_the_limit_is_not_read(real: Client, reply: bytes) -> None:
    async with listening(answering(reply, [])) as port:
        failed = await failure(real, f"http://{HOST}:{port}/", limit_bytes=999)
        assert failed.reason == "too_large"
        assert real.counts(Origin("http", HOST, port)) == (0, 0)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    ],
)
async def test_half_an_answer_or_none_is_broken(real: Client, reply: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(reply)

    async with listening(serve) as port:
        failed = await failure(real, f"http://{HOST}:{port}/")
        assert failed.reason == "broken"
        assert real.counts(Origin("http", HOST, port)) == (0, 0)


async def test_an_answer_that_ends_with_its_connection_is_whole(real: Client) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nOllama is running")

    async with listening(serve) as port:
        fetched = await real.fetch_for(Tls())("GET", f"http://{HOST}:{port}/")
    assert fetched.body == b"Ollama is running"


async def test_a_cancelled_fetch_leaves_no_connection(real: Client) -> None:
    asked = asyncio.Event()
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        asked.set()
        await hang(reader, writer)
        gone.set()

    async with listening(serve) as port:
        url = f"http://{HOST}:{port}/"
        fetching = asyncio.ensure_future(real.fetch_for(Tls())("GET", url))
        await asked.wait()
        fetching.cancel()
        await gone.wait()
        assert fetching.cancelled()
