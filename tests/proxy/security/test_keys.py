"""Authentication on: who gets where with which key, by either door."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from proxy.auth.api_keys import revoke_key
from proxy.core import clock
from proxy.routes import ROUTES, Route
from tests.parts.faulty import Faulty, Script
from tests.parts.http_text import Message, post, whole
from tests.parts.inside import CHAT, Site
from tests.parts.keys import admin_key, bearer, guarded_site, issue, keyring
from tests.parts.scripts import BODY, answers, ask, error_of
from tests.parts.tokens import SECRET, Issuer, hs256
from tests.parts.until import until
from tests.proxy.test_routes import example

REPLY = whole(b'{"id":"resp_1","object":"response"}')
NEEDS_KEY = [row for row in ROUTES if row.access not in ("public", "local")]
OpenUpstream = Callable[[Script], Awaitable[Faulty]]
PUBLIC = [row for row in ROUTES if row.access == "public"]


@pytest.fixture(params=[True, False], ids=["fast door", "ordinary door"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with guarded_site(script(), fast=request.param, **TWO_MODELS) as opened:
        yield opened


@pytest.fixture
async def open_upstream() -> AsyncIterator[OpenUpstream]:
    async with AsyncExitStack() as stack:
        yield lambda play: stack.enter_async_context(Faulty(play))


@pytest.fixture
async def plain_site() -> AsyncIterator[Site]:
    async with guarded_site(script(), **TWO_MODELS) as opened:
        yield opened


TWO_MODELS = {
    "models": [
        {"id": "tiny", "providerId": "box", "fallbacks": ["large"]},
        {"id": "large", "providerId": "box"},
    ]
}


def script() -> Script:
    return answers(REPLY)


def name(row: Route) -> str:
    return f"{row.method} {row.path}"


async def call(site: Site, row: Route, *fields: str) -> Message:
    method = "GET" if row.method == "*" else row.method
    body = b"{}" if method == "POST" else b""
    caller = await site.caller()
    caller.send(ask(method, example(row), *fields, body=body))
    # Of a reply without an end the head is enough.
    return await caller.reply(to_head=row.path.endswith("/stream"))


def code(reply: Message) -> str | None:
    """The error's code, whichever dialect it is told in."""
    found = json.loads(reply.body or b"{}")
    error = found.get("error") if isinstance(found, dict) else None
    return error.get("code") if isinstance(error, dict) else None


# -- routes and roles ------------------------------------------------------------------


@pytest.mark.parametrize("row", NEEDS_KEY, ids=name)
async def test_nobody_gets_in_without_a_key_or_with_a_wrong_one(
    plain_site: Site, row: Route
) -> None:
    disabled = await issue(plain_site, enabled=False)
    for fields in (
        [],
        [bearer("lai_" + "0" * 32)],
        [bearer("")],
        ["x-api-key: wrong"],
        [bearer(hs256({"exp": clock.wall() + 60}))],
        [bearer(admin_key(plain_site)), "x-api-key: another"],
        [bearer(disabled.secret)],
        ["authorization: Bearer the-token-of-this-machine-and-of-no-other"],
    ):
        reply = await call(plain_site, row, *fields)
        assert reply.status == 401, (fields, reply)
    assert not plain_site.upstream.requests


@pytest.mark.parametrize("row", NEEDS_KEY, ids=name)
async def test_a_key_opens_what_its_scopes_say(plain_site: Site, row: Route) -> None:
    inference = bearer((await issue(plain_site)).secret)
    agents = bearer((await issue(plain_site, "b", scopes=("agents",))).secret)
    others = bearer((await issue(plain_site, "c", tenant="other")).secret)
    admin = bearer(admin_key(plain_site))
    # A path below a provider that its adapter does not know is its owner's.
    is_admins = row.access in ("owner", "reach")
    reply = await call(plain_site, row, inference)
    if "kind" in row.fixed:
        assert reply.status == 501, "no provider of that kind"
    elif is_admins or row.access == "execute":
        assert reply.status == 403, reply
        assert not plain_site.upstream.requests
    else:
        assert reply.status not in (401, 403), reply
    assert (await call(plain_site, row, others)).status == reply.status
    assert (await call(plain_site, row, agents)).status == 403
    assert (await call(plain_site, row, admin)).status not in (401, 403)


@pytest.mark.parametrize("row", PUBLIC, ids=name)
async def test_public_routes_stay_public(plain_site: Site, row: Route) -> None:
    for fields in ([], [bearer("wrong")]):
        reply = await call(plain_site, row, *fields)
        assert reply.status in (200, 503), reply
        assert plain_site.upstream.url.encode() not in reply.body


async def test_metrics_are_for_this_machine_and_for_their_scope(
    plain_site: Site,
) -> None:
    reader = bearer((await issue(plain_site, scopes=("metrics:read",))).secret)
    other = bearer((await issue(plain_site, "b")).secret)
    page, far = "origin: https://evil.example", "x-forwarded-for: 203.0.113.7"
    metrics = [row for row in ROUTES if row.access == "local"]
    assert [row.path for row in metrics] == ["/metrics"]
    for fields, status in (
        ([], 200), ([page], 401), ([far], 401), (["host: evil.example"], 401),
        ([far, other], 403), ([far, reader], 200), ([page, reader], 200),
    ):  # fmt: skip
        assert (await call(plain_site, metrics[0], *fields)).status == status, fields


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions", "//v1/chat/completions", "/v1//chat/completions",
        "/v1/%63hat/completions", "/v1/chat/completions/", "/%761/models",
        "/health/../v1/models", "/health/..%2fadmin/config", "/admin/%63onfig",
        "/providers/box/api/%64elete", "/providers/box//v1/models",
    ],
)  # fmt: skip
async def test_no_way_of_writing_a_path_opens_it(plain_site: Site, path: str) -> None:
    for method in ("GET", "POST", "HEAD", "PUT"):
        caller = await plain_site.caller()
        caller.send(ask(method, path))
        reply = await caller.reply(to_head=method == "HEAD")
        assert reply.status in (400, 401, 404, 405), reply
    assert not plain_site.upstream.requests


# -- model calls ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field", ["authorization: Bearer {}", "authorization: {}", "x-api-key: {}",
              "api-key: {}", "x-goog-api-key: {}"],
)  # fmt: skip
async def test_the_record_names_key_and_tenant_and_the_key_stays_here(
    site: Site, field: str
) -> None:
    key = await issue(site, tenant="team-a")
    for _ in range(2):
        reply = await site.ask(post(CHAT, BODY, field.format(key.secret)))
        assert reply.status == 200
    for record in site.records:
        assert (record.tenant, record.key) == ("team-a", key.row.id)
    for sent in site.upstream.requests:
        assert key.secret.encode() not in sent.raw
    assert key.secret not in site.log.read_text()


async def test_a_known_head_is_refused_once_its_key_is_revoked(site: Site) -> None:
    key = await issue(site)
    request = post(CHAT, BODY, bearer(key.secret))
    caller = await site.caller()
    caller.send(request)
    assert (await caller.reply()).status == 200
    await revoke_key(keyring(site).store, key.row.id, now=clock.wall())
    # Nobody is told: another process may have done it.
    table = keyring(site)._table
    revision = table.revision
    await until(lambda: table.revision > revision, "it is heard of")
    caller.send(request)
    reply = await caller.reply()
    assert (reply.status, error_of(reply)["code"]) == (401, "invalid_api_key")


async def test_an_expired_key_is_refused(site: Site) -> None:
    key = await issue(site, expires_at=clock.wall() + 0.05)
    await until(lambda: clock.wall() >= (key.row.expires_at or 0), "it expires")
    reply = await site.ask(post(CHAT, BODY, bearer(key.secret)))
    assert (reply.status, error_of(reply)["code"]) == (401, "expired_api_key")


async def test_a_list_of_models_holds(site: Site) -> None:
    key = bearer((await issue(site, models=("tin*",))).secret)
    allowed = await site.ask(post(CHAT, BODY, key))
    assert allowed.status == 200
    count = len(site.upstream.requests)
    for path, body in (
        (CHAT, b'{"model":"large","messages":[]}'),
        (CHAT, b'{"model":"box/large","messages":[]}'),
        (CHAT, b'{"model":"nobody-knows","messages":[]}'),
        ("/llm", b'{"model":"large","messages":[{"role":"user","content":"x"}]}'),
        ("/llm", b'{"provider":"box","model":"new","messages":[{"role":"user"}]}'),
        ("/providers/box/v1/chat/completions", b'{"model":"large","messages":[]}'),
        ("/v1/brand-new", b'{"model":"large"}'),
    ):  # fmt: skip
        reply = await site.ask(post(path, body, key))
        assert (reply.status, code(reply)) == (403, "model_not_allowed"), path
    assert len(site.upstream.requests) == count


@pytest.mark.parametrize("models", [("tiny", "large"), ("tiny",), ("t*",)])
async def test_a_list_holds_for_fallbacks(models: tuple[str, ...]) -> None:
    async with guarded_site(
        script(),
        routing={"retry": {"budgetRatio": 1}},
        others=[{"id": "gone", "kind": "vllm", "endpoint": "http://127.0.0.1:9"}],
        models=[
            {"id": "tiny", "providerId": "gone", "fallbacks": ["large"]},
            {"id": "large", "providerId": "box"},
        ],
    ) as site:
        key = bearer((await issue(site, models=models)).secret)
        reply = await site.ask(post(CHAT, BODY, key))
        asked = [one.provider for one in (await site.record()).attempts]
        if "large" in models:
            assert (reply.status, asked) == (200, ["gone", "box"])
        else:
            assert (reply.status, asked) == (502, ["gone"])


async def test_a_list_shows_no_other_models(plain_site: Site) -> None:
    key = bearer((await issue(plain_site, models=("tiny",))).secret)
    listed = await plain_site.ask(ask("GET", "/v1/models", key))
    assert [model["id"] for model in json.loads(listed.body)["data"]] == ["tiny"]
    for path in ("/api/tags", "/v1/info", "/anthropic/v1/models"):
        listed = await plain_site.ask(ask("GET", path, key))
        assert (b'"tiny"' in listed.body, b"large" in listed.body) == (True, False)
    reply = await plain_site.ask(post("/api/show", b'{"model":"large"}', key))
    assert reply.status == 403
    reply = await plain_site.ask(ask("GET", "/v1/models/large", key))
    assert (reply.status, code(reply)) == (403, "model_not_allowed")
    asked = post("/llm", b'{"type":"models"}', key)
    listed = await plain_site.ask(asked)
    assert [model["id"] for model in json.loads(listed.body)["data"]] == ["tiny"]


async def test_a_response_is_its_tenants(plain_site: Site) -> None:
    mine = bearer((await issue(plain_site, tenant="a")).secret)
    others = bearer((await issue(plain_site, "b", tenant="b")).secret)
    made = await plain_site.ask(post("/v1/responses", b'{"model":"tiny"}', mine))
    assert json.loads(made.body)["id"] == "resp_1"
    for method in ("GET", "DELETE"):
        reply = await plain_site.ask(ask(method, "/v1/responses/resp_1", others))
        assert (reply.status, code(reply)) == (404, "not_found")
    going_on = b'{"model":"tiny","previous_response_id":"resp_1"}'
    reply = await plain_site.ask(post("/v1/responses", going_on, others))
    assert reply.status == 404
    reply = await plain_site.ask(ask("GET", "/v1/responses/resp_1", mine))
    assert reply.status == 200


async def test_forward_auth_takes_the_callers_credential_along() -> None:
    async with guarded_site(script(), provider={"forwardAuth": True}) as site:
        key = await issue(site)
        await site.ask(post(CHAT, BODY, bearer(key.secret)))
        [sent] = site.upstream.requests
        assert key.secret.encode() in sent.raw


# -- tokens and first keys -----------------------------------------------------------------


async def test_tokens_are_taken_and_make_the_first_key_needless() -> None:
    jwt = {"secret": SECRET, "issuer": "idp"}
    async with guarded_site(script(), auth={"jwt": jwt}) as site:
        assert keyring(site).first is None
        claims = {"exp": clock.wall() + 60, "iss": "idp", "sub": "ann", "tenant": "t"}
        reply = await site.ask(post(CHAT, BODY, bearer(hs256(claims))))
        assert reply.status == 200
        assert ((await site.record()).tenant, site.records[0].key) == ("t", None)
        expired = hs256({**claims, "exp": clock.wall() - 60})
        reply = await site.ask(post(CHAT, BODY, bearer(expired)))
        assert (reply.status, code(reply)) == (401, "expired_token")


@pytest.mark.parametrize("fast", [True, False])
async def test_tokens_of_an_issuer_are_checked_with_its_keys(
    open_upstream: OpenUpstream, fast: bool
) -> None:
    issuer, stranger = Issuer("ES256"), Issuer("ES256")
    published = json.dumps({"keys": [issuer.jwk]}).encode()
    upstream = await open_upstream(answers(whole(published)))
    jwt = {"jwksUrl": f"{upstream.url}/keys", "algorithms": ["ES256"]}
    async with guarded_site(script(), auth={"jwt": jwt}, fast=fast) as site:
        claims = {"exp": clock.wall() + 60, "scope": "inference"}
        for token, status in (
            (issuer.sign(claims), 200), (issuer.sign(claims), 200),
            (stranger.sign(claims), 401), (issuer.sign({}), 401),
        ):  # fmt: skip
            reply = await site.ask(post(CHAT, BODY, bearer(token)))
            assert reply.status == status
        listed = await site.ask(ask("GET", "/v1/models", bearer(issuer.sign(claims))))
        assert listed.status == 200
    [asked] = upstream.requests
    assert asked.target == "/keys"


@pytest.mark.parametrize("fast", [True, False])
async def test_an_issuer_that_is_away_is_no_fault_of_the_caller(
    open_upstream: OpenUpstream, fast: bool
) -> None:
    upstream = await open_upstream(answers(whole(b"no keys")))
    jwt = {"jwksUrl": f"{upstream.url}/keys", "algorithms": ["ES256"]}
    async with guarded_site(script(), auth={"jwt": jwt}, fast=fast) as site:
        token = Issuer("ES256").sign({"exp": clock.wall() + 60})
        reply = await site.ask(post(CHAT, BODY, bearer(token)))
        assert (reply.status, code(reply)) == (502, "upstream_error")


async def test_pages_of_any_origin_may_ask_but_with_no_cookie(site: Site) -> None:
    page = "origin: https://page.example"
    key = bearer((await issue(site)).secret)
    for fields, status in (([page], 401), ([page, key], 200)):
        reply = await site.ask(post(CHAT, BODY, *fields))
        assert reply.status == status
        assert reply.header("access-control-allow-origin") == "https://page.example"
        assert reply.header("access-control-allow-credentials") is None


async def test_a_reload_keeps_keys_in_force(site: Site) -> None:
    key = bearer((await issue(site)).secret)
    site.rewrite({**site.content, "auth": {}, "database": {}})
    outcome = await site.runtime.reload("a test")
    assert "auth" in outcome.needs_restart
    assert (await site.ask(post(CHAT, BODY, key))).status == 200
    assert (await site.ask(post(CHAT, BODY))).status == 401
