"""A caller who leaves while the gateway itself waits: noticed, recorded, nothing held."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.routing.registry import Finding, Status
from tests.parts.faulty import Faulty, Peer, Script
from tests.parts.http_text import Message, post, whole
from tests.parts.inside import CHAT, OpenSite, Site
from tests.parts.ports import free_port
from tests.parts.scripts import BODY, STREAM, answers
from tests.parts.until import until

AT_ONCE_S = 1.0
PATIENT = {"retry": {"backoffSeconds": 30}, "queue": {"maxWaitSeconds": 30}}
WAKE = {"mac": "aa:bb:cc:dd:ee:ff", "broadcast": "127.0.0.1", "waitSeconds": 30}
LOADING = whole(b'{"error":{"message":"Loading model"}}', status=503)
LIMITED = b"HTTP/1.1 429 Slow\r\nretry-after: 20\r\ncontent-length: 0\r\n\r\n"


async def never(peer: Peer, request: Message) -> None:
    await peer.wait(asyncio.Event())


@pytest.fixture(params=["fast door", "ordinary door"])
def fast(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "fast door")


@pytest.fixture
def sleeping() -> str:
    """The address of a machine where nobody listens."""
    return f"http://127.0.0.1:{free_port()}"


async def test_in_the_queue(open_site: OpenSite, fast: bool) -> None:
    site = await open_site(
        never, fast=fast, provider={"maxConcurrent": 1}, routing=PATIENT
    )
    busy = await site.caller()
    busy.send(post(CHAT, BODY))
    await site.busy_peer()
    queue = site.runtime.dispatch.queue
    await _leaves(site, BODY, lambda: len(queue) == 1)
    assert len(site.upstream.requests) == 1
    busy.leave()
    await _comes_to_rest(site)


@pytest.mark.parametrize("body", [BODY, STREAM])
@pytest.mark.parametrize(
    "reply",
    [whole(b"", status=502), LOADING, LIMITED],
    ids=["before it is asked again", "while it loads", "while its rate is limited"],
)
async def test_between_two_attempts(
    open_site: OpenSite, fast: bool, reply: bytes, body: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("proxy.routing.failover._LOADING_PAUSES_S", (30.0,))
    site = await open_site(answers(reply), fast=fast, routing=PATIENT)
    await _leaves(site, body, lambda: _has_answered(site))
    await _comes_to_rest(site)
    assert len(site.upstream.requests) == 1
    assert [len(record.attempts) for record in site.records] == [1]


async def test_until_a_rate_limit_is_over(open_site: OpenSite, fast: bool) -> None:
    site = await open_site(answers(LIMITED), fast=fast, routing=PATIENT)
    await _leaves(site, BODY, lambda: _has_answered(site))
    await _leaves(site, BODY, lambda: site.runtime.active == 1)
    await _comes_to_rest(site)
    assert len(site.upstream.requests) == 1
    assert [len(record.attempts) for record in site.records] == [1, 0]


@pytest.mark.parametrize("body", [BODY, STREAM])
@pytest.mark.parametrize("known", [True, False])
async def test_while_a_machine_wakes(
    open_site: OpenSite, fast: bool, sleeping: str, known: bool, body: bytes
) -> None:
    wake = WAKE | {"port": free_port()}
    site = await open_site(
        fast=fast, provider={"endpoint": sleeping, "wake": wake}, routing=PATIENT
    )
    [box] = site.runtime.registry.providers
    if known:
        site.runtime.registry.report(box, Finding(Status.OFFLINE, "refused"))
    waker: Any = site.runtime.dispatch.waker
    await _leaves(site, body, lambda: waker._waits)
    await _comes_to_rest(site)
    assert [len(record.attempts) for record in site.records] == [0 if known else 1]


async def test_before_the_head_at_the_second_provider(
    open_site: OpenSite, fast: bool
) -> None:
    async with Faulty(never) as spare:
        models = [{"id": "tiny", "providers": [{"id": "box"}, {"id": "spare"}]}]
        others = [{"id": "spare", "kind": "vllm", "endpoint": spare.url, "priority": 9}]
        fails: Script = answers(whole(b"", status=502))
        site = await open_site(
            fails, fast=fast, others=others, models=models, routing=PATIENT
        )
        await _leaves(site, BODY, lambda: spare.busy_peers)
        await until(
            lambda: not spare.busy_peers, "its connection closed", timeout_s=AT_ONCE_S
        )
        await _comes_to_rest(site)
        assert [len(record.attempts) for record in site.records] == [2]


def _has_answered(site: Site) -> bool:
    """Tell whether the first attempt is over."""
    [box] = site.runtime.registry.providers
    return (
        bool(site.upstream.requests) and not site.upstream.busy_peers and not box.active
    )


async def _leaves(site: Site, body: bytes, when: Any) -> None:
    """Ask, and leave as soon as `when` holds; it is recorded within a second."""
    recorded = len(site.records)
    caller = await site.caller()
    caller.send(post(CHAT, body))
    await until(when, "the moment to leave")
    assert len(site.records) == recorded
    caller.leave()
    await until(lambda: len(site.records) > recorded, "its record", timeout_s=AT_ONCE_S)
    record = site.records[-1]
    assert (record.status, record.code) == (499, "client_closed_request")


async def _comes_to_rest(site: Site) -> None:
    runtime = site.runtime
    await until(lambda: runtime.active == 0, "no request", timeout_s=AT_ONCE_S)
    assert len(runtime.dispatch.queue) == 0
    await until(
        lambda: len(runtime.state.slots) == 0, "no slot held", timeout_s=AT_ONCE_S
    )
    assert [p.active for p in runtime.registry.providers] == [
        0 for _ in runtime.registry.providers
    ]
