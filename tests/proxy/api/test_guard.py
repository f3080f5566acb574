"""The scope that each kind of row needs; tests/proxy/security holds routes to it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import web

from proxy.api.guard import PRINCIPAL, SCOPES, check_caller, check_usable
from proxy.auth.permission import MEANINGS
from proxy.auth.permission import SCOPES as KNOWN
from proxy.core.errors import CallerFault
from proxy.core.types import ANYONE, Principal
from proxy.routes import ROUTES
from tests.fakes.site import context


class FakeRequest(dict[object, object]):
    remote = "127.0.0.1"
    raw_headers = ()


def request_of(principal: Principal | None = None) -> web.BaseRequest:
    known = {} if principal is None else {PRINCIPAL: principal}
    return cast("web.BaseRequest", FakeRequest(known))


def gate(principal: Principal) -> SimpleNamespace:
    async def authenticate(_: object) -> Principal:
        return principal

    return SimpleNamespace(authenticate=authenticate)


def test_every_handlers_access_has_its_scope() -> None:
    needed = {row.access for row in ROUTES if row.handler} - {"public"}
    assert needed <= SCOPES.keys()
    assert set(SCOPES.values()) <= KNOWN


async def test_while_authentication_is_off_everybody_is_the_same() -> None:
    request = request_of()
    await check_caller("owner", request, context())
    assert request[PRINCIPAL] is ANYONE


def test_a_scope_that_no_route_asks_for_says_so() -> None:
    idle = {scope for scope, opens in MEANINGS.items() if opens.startswith("nothing")}
    assert idle == KNOWN - set(SCOPES.values())


@pytest.mark.parametrize("access", SCOPES)
async def test_a_scope_is_needed_and_is_enough(access: str) -> None:
    able = Principal(scopes=frozenset({SCOPES[access]}))
    request = request_of()
    # Without a Host nothing is known to come from this machine.
    await check_caller(access, request, context(authenticator=gate(able)))
    assert request[PRINCIPAL] is able
    unable = gate(Principal(scopes=frozenset({"agents"})))
    with pytest.raises(CallerFault) as refused:
        await check_caller(access, request_of(), context(authenticator=unable))
    assert refused.value.code == "forbidden"


async def test_what_no_row_may_say_opens_nothing() -> None:
    admin = gate(Principal(scopes=KNOWN))
    with pytest.raises(KeyError):
        await check_caller("new", request_of(), context(authenticator=admin))


def test_a_model_may_be_on_the_list_by_any_of_its_names() -> None:
    request = request_of(Principal(models=("fast",)))
    check_usable(request, "fast", "tiny")
    with pytest.raises(CallerFault):
        check_usable(request, "tiny")
    check_usable(request_of(), "tiny")
