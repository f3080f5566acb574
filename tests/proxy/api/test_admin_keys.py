"""/admin/keys through a whole gateway: what is made there opens it, at once."""

from __future__ import annotations

import json
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import orjson
import pytest
import uvloop

from proxy.storage.errors import DatabaseAway
from tests.parts.http_text import Message, post
from tests.parts.inside import CHAT, OpenSite, Site, open_site
from tests.parts.keys import admin_key, bearer, guarded_site, keyring
from tests.parts.owner import steer
from tests.parts.scripts import BODY, ask, error_of

__all__ = ["open_site"]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with guarded_site() as opened:
        yield opened


async def steered(site: Site, method: str, path: str, given: Any = None) -> Message:
    body = b"" if given is None else orjson.dumps(given)
    owners = bearer(admin_key(site))
    return await site.ask(ask(method, f"/admin/keys{path}", owners, body=body))


async def told(site: Site, method: str, path: str, given: Any = None) -> Any:
    reply = await steered(site, method, path, given)
    assert reply.status in (200, 201), reply
    return json.loads(reply.body)


async def status_with(site: Site, secret: str) -> int:
    return (await site.ask(post(CHAT, BODY, bearer(secret)))).status


async def test_a_key_that_is_made_may_be_used_at_once(site: Site) -> None:
    reply = await steered(site, "POST", "", {"name": "app", "models": ["tin*"]})
    made = json.loads(reply.body)
    assert reply.status == 201
    assert made["secret"].startswith("lai_")
    assert await status_with(site, made["secret"]) == 200
    listed = (await told(site, "GET", ""))["keys"]
    assert [key["name"] for key in listed] == ["admin", "app"]
    assert made["secret"] not in json.dumps(listed)
    assert "hash" not in json.dumps(listed)


async def test_a_key_stops_in_the_moment_it_is_revoked(site: Site) -> None:
    made = await told(site, "POST", "", {"name": "app"})
    assert (await told(site, "DELETE", f"/{made['id']}"))["state"] == "revoked"
    assert await status_with(site, made["secret"]) == 401
    again = await steered(site, "DELETE", f"/{made['id']}")
    assert (again.status, error_of(again)["code"]) == (404, "not_found")


async def test_a_key_is_rotated_with_and_without_grace(site: Site) -> None:
    made = await told(site, "POST", "", {"name": "app"})
    second = await told(site, "POST", f"/{made['id']}/rotate")
    assert second["id"] == made["id"]
    assert second["former_until"] is not None
    assert await status_with(site, made["secret"]) == 200
    assert await status_with(site, second["secret"]) == 200
    third = await told(site, "POST", f"/{made['id']}/rotate", {"grace_seconds": 0})
    statuses = [await status_with(site, key["secret"]) for key in (made, second, third)]
    assert statuses == [401, 401, 200]


async def test_a_change_holds_at_once(site: Site) -> None:
    made = await told(site, "POST", "", {"name": "app"})
    changed = await told(site, "PATCH", f"/{made['id']}", {"models": ["other"]})
    assert changed["models"] == ["other"]
    assert "secret" not in changed
    assert await status_with(site, made["secret"]) == 403
    await told(site, "PATCH", f"/{made['id']}", {"models": None, "enabled": False})
    assert await status_with(site, made["secret"]) == 401
    await told(site, "PATCH", f"/{made['id']}", {"enabled": True})
    assert await status_with(site, made["secret"]) == 200


@pytest.mark.parametrize(
    ("method", "path", "given", "status", "code"),
    [
        ("POST", "", {}, 400, "missing_field"),
        ("POST", "", {"name": "a", "colour": "red"}, 400, "invalid_field"),
        ("POST", "", {"name": "a", "scopes": ["all"]}, 400, "invalid_field"),
        ("POST", "", {"name": "a", "limits": {"requests": "x"}}, 400, "invalid_field"),
        ("PATCH", "/key_of_nobody", {"name": "a"}, 404, "not_found"),
        ("DELETE", "/key_of_nobody", None, 404, "not_found"),
        ("POST", "/key_of_nobody/rotate", None, 404, "not_found"),
        ("POST", "/key_first/rotate", {"grace": 1}, 400, "invalid_field"),
        ("POST", "/key_first/rotate", {"grace_seconds": -1}, 400, "invalid_field"),
        ("POST", "/key_first/rotate", {"grace_seconds": "1"}, 400, "invalid_field"),
    ],
)
async def test_what_is_wrong_is_said(
    site: Site, method: str, path: str, given: Any, status: int, code: str
) -> None:
    reply = await steered(site, method, path, given)
    assert (reply.status, error_of(reply)["code"]) == (status, code)


async def test_a_database_that_is_away_is_said_and_keys_go_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await told(site, "POST", "", {"name": "app"})

    async def away(*_: object) -> None:
        raise DatabaseAway("gone")

    monkeypatch.setattr(keyring(site).store, "all", away)
    monkeypatch.setattr(keyring(site).store, "get", away)
    for method, path in (("GET", ""), ("DELETE", f"/{made['id']}")):
        reply = await steered(site, method, path)
        assert (reply.status, error_of(reply)["code"]) == (503, "database_unavailable")
    assert await status_with(site, made["secret"]) == 200


async def test_without_authentication_there_are_no_keys_to_steer(
    open_site: OpenSite,
) -> None:
    site = await open_site()
    reply = await steer(site, "GET", "/keys")
    assert (reply.status, error_of(reply)["code"]) == (501, "not_configured")


async def test_only_admins_steer_keys(site: Site) -> None:
    made = await told(site, "POST", "", {"name": "app", "scopes": ["inference"]})
    reply = await site.ask(ask("GET", "/admin/keys", bearer(made["secret"])))
    assert (reply.status, error_of(reply)["code"]) == (403, "forbidden")
    assert (await site.ask(ask("GET", "/admin/keys"))).status == 401
