"""Keys for a gateway inside the test's loop: made in its own store, at once in force."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from proxy.auth.api_keys import Issued, create_key
from proxy.auth.key_fields import KeyFields
from proxy.auth.keyring import Keyring
from proxy.core import clock
from tests.parts.faulty import Script
from tests.parts.inside import Site, run_site


@asynccontextmanager
async def guarded_site(
    script: Script | None = None, **sections: Any
) -> AsyncIterator[Site]:
    """As `run_site`, with authentication on and a database of its own."""
    with TemporaryDirectory() as folder:
        auth = {"enabled": True, **sections.pop("auth", {})}
        database = {"url": f"sqlite:///{Path(folder) / 'keys.db'}"}
        more = {"auth": auth, "database": database, **sections}
        async with run_site(script, **more) as site:
            yield site


def keyring(site: Site) -> Keyring:
    assert site.runtime.keyring is not None
    return site.runtime.keyring


def admin_key(site: Site) -> str:
    """The one that was made at the first start."""
    first = keyring(site).first
    assert first is not None
    return first.secret


async def issue(site: Site, name: str = "app", **wanted: Any) -> Issued:
    """Make a key that may be used at once."""
    fields = KeyFields(name=name, **wanted)
    issued = await create_key(keyring(site).store, fields, now=clock.wall())
    await keyring(site).refresh()
    return issued


def bearer(secret: str) -> str:
    return f"authorization: Bearer {secret}"
