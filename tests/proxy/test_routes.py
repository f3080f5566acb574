"""Every row of the route table, against what is promised and against a gateway."""

from __future__ import annotations

import json
import re
from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping

import pytest
import uvloop

from providers.base import ASKABLE, NATIVE, OPERATIONS, BodyKind
from providers.registry import KINDS
from providers.wire.dialect import Dialect
from proxy.api import ollama
from proxy.core.errors import CATALOGUE
from proxy.pipeline.passage import FORWARD, PASS_THROUGH, RESPONSE_OBJECT
from proxy.pipeline.unified import UNIFIED
from proxy.routes import RESERVED, ROUTES, Route
from proxy.server.router import ANY, Router
from tests.parts.http_text import post, whole
from tests.parts.inside import TOKEN, OpenSite, open_site
from tests.parts.scripts import answers, ask

__all__ = ["open_site"]

# What the API promises in this version, by hand: a row that goes missing is noticed.
PROMISED = {
    "POST /v1/chat/completions", "POST /v1/completions", "POST /v1/responses",
    "POST /v1/responses/compact", "POST /v1/responses/input_tokens",
    "GET /v1/responses/{id}", "DELETE /v1/responses/{id}",
    "POST /v1/responses/{id}/cancel", "GET /v1/responses/{id}/input_items",
    "POST /v1/embeddings", "POST /v1/rerank", "POST /v1/moderations",
    "POST /v1/audio/transcriptions", "POST /v1/audio/translations",
    "POST /v1/audio/speech", "POST /v1/images/generations", "POST /v1/images/edits",
    "GET /v1/models", "GET /v1/models/{id:*}", "GET /v1/info", "* /v1/{rest:*}",
    "POST /v1/messages", "POST /v1/messages/count_tokens",
    "POST /anthropic/v1/messages", "POST /anthropic/v1/messages/count_tokens",
    "GET /anthropic/v1/models", "GET /anthropic/v1/models/{id:*}",
    "POST /api/chat", "POST /api/generate", "POST /api/embed", "POST /api/embeddings",
    "POST /llm", "GET /api/tags", "GET /api/ps", "POST /api/show", "GET /api/version",
    "POST /api/pull", "POST /api/push", "POST /api/create", "POST /api/copy",
    "DELETE /api/delete", "* /api/blobs/{rest:*}",
    "* /ollama/{rest:*}", "* /lmstudio/{rest:*}", "* /providers/{provider}/{rest:*}",
    "POST /execute",
    "GET /", "GET /health", "GET /healthz", "GET /readyz", "GET /metrics", "GET /errors",
    "GET /admin/providers", "POST /admin/providers/{id}/enable",
    "POST /admin/providers/{id}/disable", "POST /admin/providers/{id}/drain",
    "POST /admin/providers/{id}/probe", "GET /admin/route", "POST /admin/route",
    "GET /admin/config", "POST /admin/reload",
    "GET /admin/requests", "GET /admin/requests/{id}", "GET /admin/requests/stream",
    "GET /admin/usage", "GET /admin/usage/daily",
    "GET /admin/keys", "POST /admin/keys", "PATCH /admin/keys/{id}",
    "DELETE /admin/keys/{id}", "POST /admin/keys/{id}/rotate",
}  # fmt: skip
LATER = (
    "/v1/tools/x", "/v1/memory/x", "/v1/system-prompts/x", "/v1/tenant/config",
    "/v1/images/upload", "/v1/images/store/x", "/c1/x", "/a1/x", "/mcp", "/docs",
    "/playground", "/dashboard", "/openapi", "/openapi.json", "/redoc",
)  # fmt: skip
HERE = Router(ROUTES, RESERVED)
OWNERS = f"authorization: Bearer {TOKEN}"


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


def name(row: Route) -> str:
    return f"{row.method} {row.path}"


def test_the_table_is_what_is_promised() -> None:
    names = [name(row) for row in ROUTES]
    assert len(names) == len(set(names))
    assert set(names) == PROMISED


@pytest.mark.parametrize("row", ROUTES, ids=name)
def test_a_row_is_reached_by_its_own_path(row: Route) -> None:
    method = "PUT" if row.method == ANY else row.method
    assert HERE.match(method, example(row)).row is row


@pytest.mark.parametrize("row", ROUTES, ids=name)
def test_a_row_leads_to_the_pipeline_or_to_a_handler(row: Route) -> None:
    assert (row.operation is None) != (row.handler is None)
    if row.operation is not None:
        known = {*ASKABLE, UNIFIED, FORWARD, PASS_THROUGH, RESPONSE_OBJECT}
        assert row.operation in known
    assert row.access in {"public", "inference", "reach", "local", "owner", "execute"}
    assert row.tag in {
        "openai", "anthropic", "unified", "ollama", "pass-through", "execution", "operations", "admin",
    }  # fmt: skip


@pytest.mark.parametrize("row", ROUTES, ids=name)
def test_a_row_of_an_operation_fits_it(row: Route) -> None:
    operation = ASKABLE.get(row.operation or "")
    if operation is None:
        assert not row.hot or row.operation == PASS_THROUGH
        return
    assert row.method == operation.method
    root = "" if operation.name in NATIVE else "/v1"
    assert row.path.removeprefix("/anthropic") == f"{root}{operation.path}"
    assert row.dialect is operation.dialect
    assert not row.hot or operation.body is BodyKind.JSON


def test_every_operation_has_a_route() -> None:
    assert {row.operation for row in ROUTES} >= OPERATIONS.keys()


def test_what_is_asked_all_the_time_is_hot() -> None:
    hot = {row.operation for row in ROUTES if row.hot}
    assert {"chat", "completions", "responses", "messages", "embeddings"} <= hot


@pytest.mark.parametrize("row", [row for row in ROUTES if row.hot], ids=name)
def test_a_hot_target_leads_to_its_row_by_either_door(row: Route) -> None:
    for target in row.hot:
        assert HERE.match("POST", target.partition("?")[0]).row is row


def test_anthropics_routes_speak_its_dialect() -> None:
    for row in ROUTES:
        is_anthropics = row.path.startswith("/anthropic/") or "messages" in row.path
        assert (row.dialect is Dialect.MESSAGES) == is_anthropics, name(row)


def test_pass_through_knows_its_own_segments() -> None:
    for row in ROUTES:
        if row.operation == PASS_THROUGH:
            ours = row.path.removesuffix("/{rest:*}")
            assert row.prefix_segments == ours.count("/")
            assert ("{provider}" in ours) != ("kind" in row.fixed)
        else:
            assert row.prefix_segments == 0


# A record that is not there, an answer that has no end; keys need authentication.
ELSEWHERE = ("/admin/requests/{id}", "/admin/requests/stream", "/admin/keys")
ANSWERING = [row for row in ROUTES if not row.path.startswith(ELSEWHERE)]


@pytest.mark.parametrize("row", ANSWERING, ids=name)
async def test_each_row_answers(open_site: OpenSite, row: Route) -> None:
    able = [
        kind
        for kind in ("vllm", "openai", "ollama")
        if row.operation in KINDS[kind].capabilities.operations
    ]
    kind = row.fixed.get("kind") or (able or ["vllm"])[0]
    site = await open_site(
        answers(whole(b'{"id":"resp_1","object":"response"}')),
        provider={"kind": kind, "type": "local"},
        records=row.path.startswith(("/admin/requests", "/admin/usage")),
    )
    if row.operation == RESPONSE_OBJECT:
        await site.ask(post("/v1/responses", b'{"model":"tiny"}'))
    reply = await site.ask(request_for(row))
    is_off = row.access == "execute"  # unless configured
    is_refused = row.handler is ollama.refuse
    assert reply.status == (501 if is_off else 400 if is_refused else 200), reply
    assert reply.header("x-request-id")
    asked = [sent.target for sent in site.upstream.requests]
    assert bool(asked) == (row.operation is not None)


@pytest.mark.parametrize("path", LATER)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_comes_later_is_not_there_yet(
    open_site: OpenSite, path: str, method: str
) -> None:
    site = await open_site()
    reply = await site.ask(ask(method, path, body=b"{}"))
    assert reply.status == 404
    assert json.loads(reply.body)["error"]["code"] == "not_found"
    assert not site.upstream.requests


async def test_the_catalogue_is_served(open_site: OpenSite) -> None:
    site = await open_site()
    listed = json.loads((await site.ask(ask("GET", "/errors"))).body)
    entries = listed if isinstance(listed, list) else next(iter(listed.values()))
    assert {entry["code"] for entry in entries} == CATALOGUE.keys()
    for entry in entries:
        assert set(entry) == {
            "code", "type", "http_status", "title", "description", "remediation",
            "typical_param",
        }  # fmt: skip


def example(row: Route) -> str:
    """A path that only this row matches."""
    values = {
        "id": "box" if row.access == "owner" else "resp_1",
        "id:*": "tiny",
        "provider": "box",
        "rest:*": "brand-new/x",
    }
    return re.sub(r"\{([^}]*)\}", lambda found: values[found[1]], row.path)


def request_for(row: Route) -> bytes:
    operation = ASKABLE.get(row.operation or "")
    if operation is not None and operation.body is BodyKind.FORM:
        form = b'--X\r\ncontent-disposition: form-data; name="model"\r\n\r\ntiny\r\n--X--\r\n'
        return post(row.path, form).replace(
            b"application/json", b"multipart/form-data; boundary=X"
        )
    if operation is not None:
        return post(row.path, b'{"model":"tiny"}')
    if row.path == "/llm":
        turns = b'[{"role":"user","content":"hi"}]'
        return post(row.path, b'{"model":"tiny","messages":%b}' % turns)
    if row.path == "/api/show":
        return post(row.path, b'{"model":"tiny"}')
    if row.path == "/admin/route":
        target = f"{row.path}?model=tiny"
        return ask(row.method, target, OWNERS, body=b'{"model":"tiny"}')
    return ask("GET" if row.method == ANY else row.method, example(row), OWNERS)
