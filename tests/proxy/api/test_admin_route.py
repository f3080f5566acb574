"""How a model is routed is told, and nothing is sent."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from providers.base import OPERATIONS
from proxy.routing.breaker import THRESHOLD
from proxy.routing.registry import Finding, Status
from tests.parts.faulty import Faulty
from tests.parts.http_text import post, whole
from tests.parts.inside import CHAT, COMPLETION, OpenSite, Site, open_site, run_site
from tests.parts.owner import steer, told
from tests.parts.scripts import answers, error_of

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


async def test_what_the_request_needs_counts_when_it_is_posted(
    open_site: OpenSite,
) -> None:
    blind = {"capabilities": {"functionCalling": False}, "fallbacks": ["able"]}
    models = [{"id": "tiny", "providerId": "box", **blind},
              {"id": "able", "providerId": "box"}]  # fmt: skip
    site = await open_site(models=models)
    body = b'{"model":"tiny","messages":[],"tools":[{"type":"function"}]}'
    found = await told(site, "POST", "/route", body)
    [row] = found["candidates"]
    assert (row["reason"], row["detail"]) == ("lacking", "no tools")
    assert [one["upstream_model"] for one in found["fallbacks"]] == ["able"]
    assert found["error"] is None
    found = await told(site, "GET", "/route?model=tiny")
    assert found["candidates"][0]["kept"]
    assert [one["upstream_model"] for one in found["fallbacks"]] == ["able"]


@pytest.mark.parametrize("name", ["ollama_chat", "ollama_generate"])
async def test_ollamas_dialect_asks_for_a_stream_unless_told(
    open_site: OpenSite, name: str
) -> None:
    whole_only = {"capabilities": {"streaming": False}}
    site = await open_site(models=[{"id": "tiny", "providerId": "box", **whole_only}])
    place = f"/route?model=tiny&operation={name}"
    for members, reason in (("", "lacking"), (',"stream":false', "kept")):
        body = b'{"model":"tiny","prompt":"Hi","messages":[%b]%b}'
        body %= (b'{"role":"user","content":"Hi"}', members.encode())
        [row] = (await told(site, "POST", place, body))["candidates"]
        assert row["reason"] == reason
        reply = await site.ask(post("/api/" + name.removeprefix("ollama_"), body))
        assert (reply.status == 400) == (reason == "lacking")


async def test_where_a_conversation_was_served_counts_too(open_site: OpenSite) -> None:
    async with Faulty(answers(whole(COMPLETION))) as twin:
        others = [{"id": "twin", "kind": "vllm", "endpoint": twin.url}]
        models = [{"id": "tiny", "providers": [{"id": "box"}, {"id": "twin"}]}]
        site = await open_site(others=others, models=models)
        served: set[str] = set()
        for number in range(8):
            body = b'{"model":"tiny","messages":[],"session_id":"s%d"}' % number
            reply = await site.ask(post(CHAT, body))
            found = await told(site, "POST", "/route", body)
            assert found["candidates"][0]["provider"] == reply.header(
                "x-proxy-provider"
            )
            served.add(found["candidates"][0]["provider"])
        assert served == {"box", "twin"}


async def test_who_is_left_alone_is_said(open_site: OpenSite) -> None:
    site = await open_site(**TWO)
    resolution = site.runtime.catalog().resolve("tiny", OPERATIONS["chat"])
    box, spare = resolution.candidates
    for _ in range(THRESHOLD):
        site.runtime.dispatch.breaker.failed(box.where)
    site.runtime.state.cooldowns.start(spare.where, 60)
    found = await told(site, "GET", "/route?model=tiny")
    reasons = {row["provider"]: row["reason"] for row in found["candidates"]}
    assert reasons == {"box": "broken", "spare": "cooling"}
    assert found["error"]["code"] == "upstream_rate_limited"


async def test_who_would_be_woken_is_said(open_site: OpenSite) -> None:
    wake = {"mac": "aa:bb:cc:dd:ee:ff", "broadcast": "127.0.0.1"}
    site = await open_site(provider={"wake": wake})
    [box] = site.runtime.registry.providers
    assert (await told(site, "GET", "/route?model=tiny"))["wakes"] is None
    site.runtime.registry.report(box, Finding(Status.OFFLINE, "refused"))
    assert (await told(site, "GET", "/route?model=tiny"))["wakes"] == "box"


async def test_who_cannot_do_it_is_said(site: Site) -> None:
    found = await told(site, "GET", "/route?model=tiny&operation=speech")
    assert [row["detail"] for row in found["candidates"]] == ["vllm cannot do speech"]
    assert found["error"]["code"] == "unsupported_operation"


@pytest.mark.parametrize("name", ["ollama_chat", "ollama_generate", "messages"])
async def test_what_would_be_translated_is_explained(site: Site, name: str) -> None:
    found = await told(site, "GET", f"/route?model=tiny&operation={name}")
    assert found["operation"] == name
    assert [row["kept"] for row in found["candidates"]] == [True]
    assert found["error"] is None


async def test_a_model_that_nobody_has_is_said(site: Site) -> None:
    found = await told(site, "GET", "/route?model=tinny")
    assert found["candidates"] == []
    assert found["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/route", b"", "missing_field"),
        ("GET", "/route?model=tiny&operation=dance", b"", "invalid_field"),
        ("GET", "/route?model=tiny&operation=gemini_embed", b"", "invalid_field"),
        ("POST", "/route", b"{}", "missing_field"),
        ("POST", "/route", b'{"model":3}', "invalid_field"),
        ("POST", "/route", b'{"model":"tiny","stream":3}', "invalid_field"),
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
