"""WebSocket pass-through: /lmstudio/… to an upstream that speaks WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from tests.e2e.conftest import local_provider, only
from tests.parts.gateway import Gateway, serving

Talk = Callable[[web.WebSocketResponse], Awaitable[None]]
pytestmark = pytest.mark.asyncio(loop_scope="module")

BIG = bytes(range(256)) * (4 << 12)  # 4 MiB
MODELS = {
    "models": [
        {
            "type": "llm",
            "key": "tiny",
            "display_name": "Tiny",
            "loaded_instances": [],
            "max_context_length": 4096,
        }
    ]
}


class Upstream:
    """LM Studio's doors: a model list, and a WebSocket whose `talk` may be swapped."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Be as if nobody had asked yet."""
        self.talk: Talk = echo
        self.asked: list[web.Request] = []
        self.close_codes: list[int | None] = []
        self.closed = asyncio.Event()

    async def list_models(self, request: web.Request) -> web.Response:
        return web.json_response(MODELS)

    async def refuse(self, request: web.Request) -> web.Response:
        return web.json_response({"error": "not you"}, status=403)

    async def open(self, request: web.Request) -> web.WebSocketResponse:
        closed, close_codes = (
            self.closed,
            self.close_codes,
        )  # of this test, not the next
        self.asked.append(request)
        socket = web.WebSocketResponse(
            protocols=("lms.v1",), max_msg_size=0, autoping=False
        )
        await socket.prepare(request)
        try:
            await self.talk(socket)
        finally:
            close_codes.append(socket.close_code)
            closed.set()
        return socket


async def echo(socket: web.WebSocketResponse) -> None:
    """Send back what comes, a ping as a pong with the same payload."""
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        elif message.type is WSMsgType.PING:
            await socket.pong(message.data)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def studio() -> Upstream:
    return Upstream()


@pytest.fixture
def upstream(studio: Upstream) -> Upstream:
    """The upstream, as if nobody had asked it yet."""
    studio.begin()
    return studio


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    studio: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    app = web.Application()
    app.router.add_get("/api/v1/models", studio.list_models)
    app.router.add_get("/llm", studio.open)
    app.router.add_get("/refused", studio.refuse)
    async with TestServer(app) as server:
        config = only(local_provider("studio", "lmstudio", str(server.make_url("/"))))
        async with serving(tmp_path_factory.mktemp("gateway"), config) as gateway:
            yield gateway


@pytest_asyncio.fixture(loop_scope="module")
async def session(upstream: Upstream) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield session


@pytest_asyncio.fixture(loop_scope="module")
async def socket(
    running: Gateway, session: aiohttp.ClientSession
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with session.ws_connect(
        f"{running.url}/lmstudio/llm?a=1", autoping=False, max_msg_size=0
    ) as socket:
        yield socket


async def test_text_and_binary_come_back(
    socket: aiohttp.ClientWebSocketResponse,
) -> None:
    await socket.send_str("grüß dich")
    assert await socket.receive_str() == "grüß dich"
    await socket.send_bytes(b"\x00\xff")
    assert await socket.receive_bytes() == b"\x00\xff"


async def test_the_upstream_gets_the_path_and_query(
    socket: aiohttp.ClientWebSocketResponse, upstream: Upstream
) -> None:
    await socket.send_str("x")
    await socket.receive_str()
    assert upstream.asked[0].raw_path == "/llm?a=1"


async def test_a_big_message_arrives_whole(
    socket: aiohttp.ClientWebSocketResponse,
) -> None:
    await socket.send_bytes(BIG)
    assert await socket.receive_bytes() == BIG


async def test_a_ping_reaches_the_upstream(
    socket: aiohttp.ClientWebSocketResponse,
) -> None:
    await socket.ping(b"are you there")
    message = await socket.receive()
    assert (message.type, message.data) == (WSMsgType.PONG, b"are you there")


async def test_a_ping_of_the_upstream_reaches_the_caller(
    running: Gateway, session: aiohttp.ClientSession, upstream: Upstream
) -> None:
    pongs: list[bytes] = []

    async def ping(socket: web.WebSocketResponse) -> None:
        await socket.ping(b"and you")
        pongs.append((await socket.receive()).data)
        await socket.close()

    upstream.talk = ping
    async with session.ws_connect(
        f"{running.url}/lmstudio/llm", autoping=False
    ) as socket:
        message = await socket.receive()
        assert (message.type, message.data) == (WSMsgType.PING, b"and you")
        await socket.pong(message.data)
        await socket.receive()
    assert pongs == [b"and you"]


async def test_the_callers_close_code_reaches_the_upstream(
    socket: aiohttp.ClientWebSocketResponse, upstream: Upstream
) -> None:
    await socket.close(code=4001, message=b"enough")
    async with asyncio.timeout(5):
        await upstream.closed.wait()
    assert upstream.close_codes == [4001]


async def test_the_upstreams_close_code_reaches_the_caller(
    running: Gateway, session: aiohttp.ClientSession, upstream: Upstream
) -> None:
    async def leave(socket: web.WebSocketResponse) -> None:
        await socket.close(code=4002, message=b"no more")

    upstream.talk = leave
    async with session.ws_connect(f"{running.url}/lmstudio/llm") as socket:
        message = await socket.receive()
        assert message.type is WSMsgType.CLOSE
        assert (message.data, message.extra) == (4002, "no more")


async def test_the_subprotocol_is_agreed_with_the_upstream(
    running: Gateway, session: aiohttp.ClientSession
) -> None:
    async with session.ws_connect(
        f"{running.url}/lmstudio/llm", protocols=("other", "lms.v1")
    ) as socket:
        assert socket.protocol == "lms.v1"


async def test_a_caller_who_vanishes_closes_the_upstreams_side(
    socket: aiohttp.ClientWebSocketResponse, upstream: Upstream
) -> None:
    await socket.send_str("x")
    await socket.receive_str()
    link = socket.get_extra_info("socket")
    assert link is not None
    socket._response.connection.transport.abort()  # type: ignore[union-attr]
    async with asyncio.timeout(5):
        await upstream.closed.wait()


async def test_an_upstream_that_vanishes_closes_the_callers_side(
    running: Gateway, session: aiohttp.ClientSession, upstream: Upstream
) -> None:
    async def vanish(socket: web.WebSocketResponse) -> None:
        await socket.send_str("x")
        transport = upstream.asked[0].transport
        assert transport is not None
        transport.abort()

    upstream.talk = vanish
    async with session.ws_connect(f"{running.url}/lmstudio/llm") as socket:
        assert await socket.receive_str() == "x"
        message = await socket.receive()
        assert message.type in {WSMsgType.CLOSED, WSMsgType.ERROR}
        assert socket.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE


async def test_a_refused_upgrade_comes_back_as_it_is(
    running: Gateway, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await session.ws_connect(f"{running.url}/lmstudio/refused")
    assert caught.value.status == 403
