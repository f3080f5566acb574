"""How a model is routed is told, and nothing is sent."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from proxy.routing.registry import Finding, Status
from tests.parts.inside import OpenSite, Site, open_site, run_site
from tests.parts.owner import steer, told
from tests.parts.scripts import error_of

__all__ = ["open_site"]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with run_site() as opened:
        yield opened


TWO = {
    "others": [{"id": "spare", "kind": "vllm", "endpoint": "http://127.0.0.1:9"}],
    "models": [{"id": "tiny", "providers": [{"id": "box"}, {"id": "spare"}]}],
}


async def test_a_decision_is_explained_and_nothing_is_sent(open_site: OpenSite) -> None:
    site = await open_site(**TWO)
    spare = site.runtime.registry.get("spare")
    assert spare is not None
    site.runtime.registry.report(spare, Finding(Status.OFFLINE, "connection refused"))
    found = await told(site, "GET", "/route?model=tiny")
    assert found["error"] is None
    kept, dropped = found["candidates"]
    assert (kept["provider"], kept["order"], kept["kept"]) == ("box", 1, True)
    assert (dropped["provider"], dropped["kept"]) == ("spare", False)
    assert (dropped["reason"], dropped["order"]) == ("out_of_use", None)
    assert dropped["detail"] == "offline: connection refused"
    assert await told(site, "POST", "/route", b'{"model":"tiny"}') == found
    assert site.upstream.requests == []


async def test_who_cannot_do_it_is_said(site: Site) -> None:
    found = await told(site, "GET", "/route?model=tiny&operation=speech")
    assert [row["detail"] for row in found["candidates"]] == ["vllm cannot do speech"]
    assert found["error"]["code"] == "unsupported_operation"


async def test_a_model_that_nobody_has_is_said(site: Site) -> None:
    found = await told(site, "GET", "/route?model=tinny")
    assert found["candidates"] == []
    assert found["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/route", b"", "missing_field"),
        ("GET", "/route?model=tiny&operation=dance", b"", "invalid_field"),
        ("POST", "/route", b"{}", "missing_field"),
        ("POST", "/route", b'{"model":3}', "missing_field"),
        ("POST", "/route", b"[]", "invalid_json"),
        ("POST", "/route", b"{", "invalid_json"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    site: Site, method: str, path: str, body: bytes, code: str
) -> None:
    reply = await steer(site, method, path, body)
    assert (reply.status, error_of(reply)["code"]) == (400, code)


async def test_a_body_beyond_the_limit_is_refused(open_site: OpenSite) -> None:
    site = await open_site(server={"maxBodyBytes": 1000})
    reply = await steer(site, "POST", "/route", b'{"model":"%b"}' % (b"x" * 2000))
    assert (reply.status, error_of(reply)["code"]) == (413, "body_too_large")
