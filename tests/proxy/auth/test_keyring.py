"""The keyring over a real database: opened, kept up with, away, closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.auth.api_keys import FIRST_ID, create_key, hash_of, revoke_key
from proxy.auth.key_fields import KeyFields
from proxy.auth.keyring import Keyring
from proxy.auth.open_keys import NoKeys, make_keyring
from proxy.config import Config
from proxy.config.schema_policy import AuthConfig, DatabaseConfig, JwtConfig
from proxy.core import clock
from proxy.core.errors import CallerFault
from proxy.core.tasks import Tasks
from proxy.core.types import Headers
from proxy.storage.errors import DatabaseAway
from tests.parts.tokens import SECRET
from tests.parts.until import until


def config_in(folder: Path, *, enabled: bool = True, secret: str = "") -> Config:
    auth = AuthConfig(enabled=enabled, jwt=JwtConfig(secret=secret or None))
    return Config(auth=auth, data_dir=folder)


def ring(config: Config) -> Keyring:
    return make_keyring(config, _no_fetch)


async def _no_fetch(*_: Any, **__: Any) -> Any:
    raise AssertionError("nobody is asked")


def shown(secret: str) -> Headers:
    return Headers([("x-api-key", secret)])


async def test_the_first_key_is_made_once(tmp_path: Path) -> None:
    async with ring(config_in(tmp_path)) as first:
        made = first.first
        assert made is not None
        assert made.row.id == FIRST_ID
        principal = first.authenticator.try_authenticate(shown(made.secret))
        assert principal is not None
        assert "admin" in principal.scopes
    async with ring(config_in(tmp_path)) as again:
        assert again.first is None
        assert again.authenticator.try_authenticate(shown(made.secret)) == principal


@pytest.mark.parametrize("kind", [{"enabled": False}, {"secret": SECRET}])
async def test_none_is_made_where_somebody_comes_in_anyway(
    tmp_path: Path, kind: dict[str, Any]
) -> None:
    async with ring(config_in(tmp_path, **kind)) as opened:
        assert opened.first is None
        assert await opened.store.all() == ()


async def test_it_keeps_up_with_other_processes(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    async with ring(config) as here, ring(config) as there, Tasks(_fail) as tasks:
        tasks.start(here.follow(), "follow")
        key = await create_key(there.store, KeyFields(name="a"), now=clock.wall())
        await until(lambda: knows(here, key.secret), "the key is there")
        await revoke_key(there.store, key.row.id, now=clock.wall())
        await until(lambda: not knows(here, key.secret), "it is revoked")


@pytest.mark.parametrize("error", [DatabaseAway("gone"), RuntimeError("a defect")])
async def test_known_keys_hold_while_the_database_is_away(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    asked = 0

    async def away() -> int:
        nonlocal asked
        asked += 1
        raise error

    monkeypatch.setattr("proxy.auth.keyring.LOOK_S", 0)
    async with ring(config_in(tmp_path)) as opened, Tasks(_fail) as tasks:
        assert opened.first is not None
        monkeypatch.setattr(opened.store, "revision", away)
        tasks.start(opened.follow(), "follow")
        await until(lambda: asked > 3, "it goes on asking")
        assert knows(opened, opened.first.secret)
        with pytest.raises(type(error)):
            await opened.refresh()
    assert caplog.text.count("those known hold") == 1


async def test_when_a_key_was_used_is_written_at_the_end(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    async with ring(config) as opened:
        assert opened.first is not None
        assert knows(opened, opened.first.secret)
    async with ring(config) as again:
        row = await again.store.get(FIRST_ID)
        assert row is not None
        assert row.last_used_at is not None
        assert row.hash == hash_of(opened.first.secret)


@pytest.mark.parametrize("url", ["mysql://x", "postgresql://u:hunter2@127.0.0.1:1/x"])
async def test_a_database_that_cannot_be_used_is_told_without_its_password(
    tmp_path: Path, url: str
) -> None:
    auth = AuthConfig(enabled=True)
    config = Config(auth=auth, database=DatabaseConfig(url=url), data_dir=tmp_path)
    with pytest.raises(NoKeys) as told:
        async with ring(config):
            pass
    assert "hunter2" not in str(told.value)


def knows(opened: Keyring, secret: str) -> bool:
    try:
        return opened.authenticator.try_authenticate(shown(secret)) is not None
    except CallerFault:
        return False


def _fail(error: BaseException) -> None:
    raise AssertionError(error)
