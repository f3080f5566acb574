"""Admin routes: from this machine, through nobody, with the token; each of them."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping
from types import SimpleNamespace
from typing import cast

import pytest
import uvloop
from aiohttp import web

from proxy.api.owner import check_owner
from proxy.core.errors import CallerFault, GatewayFault
from proxy.routes import ROUTES, Route
from tests.fakes.site import TOKEN, context
from tests.parts import inside
from tests.parts.inside import Site, run_site
from tests.parts.scripts import ask, error_of

ROWS = [row for row in ROUTES if row.path.startswith("/admin/")]
BEARER = f"authorization: Bearer {inside.TOKEN}"


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


def name(row: Route) -> str:
    return f"{row.method} {row.path}"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with run_site() as opened:
        yield opened


def test_all_of_them_are_marked() -> None:
    assert len(ROWS) == 19
    assert {row.access for row in ROWS} == {"owner"}


@pytest.mark.parametrize("row", ROWS, ids=name)
@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ([], 401, "missing_authorization"),
        (["authorization: Bearer wrong"], 401, "invalid_token"),
        ([BEARER, "x-api-key: wrong"], 401, "invalid_token"),
        ([BEARER, "x-forwarded-for: 127.0.0.1"], 403, "forbidden"),
        ([BEARER, "forwarded: for=127.0.0.1"], 403, "forbidden"),
        ([BEARER, "via: 1.1 proxy"], 403, "forbidden"),
        ([BEARER, "host: evil.example"], 403, "forbidden"),
        ([BEARER, "host: box.lan:3500"], 403, "forbidden"),
        ([BEARER, "host: 192.168.1.5:3500"], 403, "forbidden"),
        ([BEARER, "origin: https://evil.example"], 403, "forbidden"),
        ([BEARER, "sec-fetch-site: cross-site"], 403, "forbidden"),
    ],
)
async def test_nobody_else_is_let_in(
    site: Site, row: Route, fields: list[str], status: int, code: str
) -> None:
    [box] = site.runtime.registry.providers
    target = row.path.replace("{id}", "box") + "?model=tiny"
    reply = await site.ask(ask(row.method, target, *fields, body=b"{}"))
    assert (reply.status, error_of(reply)["code"]) == (status, code)
    assert inside.TOKEN.encode() not in reply.raw
    assert (box.held, site.runtime.last_reload) == (None, None)


@pytest.mark.parametrize(
    "field",
    [
        BEARER,
        f"authorization: {inside.TOKEN}",
        f"x-api-key: {inside.TOKEN}",
        f"api-key: {inside.TOKEN}",
        f"x-goog-api-key: {inside.TOKEN}",
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1:3500", "localhost", "[::1]:3500"])
async def test_the_owner_is(site: Site, field: str, host: str) -> None:
    reply = await site.ask(ask("GET", "/admin/providers", field, f"host: {host}"))
    assert reply.status == 200


async def test_the_token_opens_nothing_else_and_does_not_travel(site: Site) -> None:
    await site.ask(ask("POST", inside.CHAT, BEARER, body=b'{"model":"tiny"}'))
    [sent] = site.upstream.requests
    assert inside.TOKEN.encode() not in sent.raw


def request_from(peer: str | None) -> web.BaseRequest:
    headers = ((b"Host", b"127.0.0.1"), (b"Authorization", f"Bearer {TOKEN}".encode()))
    return cast("web.BaseRequest", SimpleNamespace(remote=peer, raw_headers=headers))


@pytest.mark.parametrize("peer", ["192.168.1.7", "fe80::1%eth0", "", None])
def test_another_machine_is_not_let_in_with_the_token(peer: str | None) -> None:
    with pytest.raises(CallerFault) as caught:
        check_owner(request_from(peer), context())
    assert caught.value.code == "forbidden"


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is(peer: str) -> None:
    check_owner(request_from(peer), context())


def test_without_a_token_nobody_is_let_in() -> None:
    with pytest.raises(GatewayFault) as caught:
        check_owner(request_from("127.0.0.1"), context(token=None))
    assert (caught.value.code, caught.value.status) == ("not_configured", 501)
