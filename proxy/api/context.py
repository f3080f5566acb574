"""What handlers may ask: the parts of the running gateway that can be shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from msgspec import Struct

from proxy.accounting.live import Shown
from proxy.accounting.records import Records
from proxy.auth.access import Access
from proxy.auth.authenticate import Authenticator
from proxy.auth.key_admin import KeyAdmin
from proxy.auth.local_token import LocalToken
from proxy.config import Config, Loaded
from proxy.config.reload import Reload
from proxy.observability.metrics import Metrics
from proxy.pipeline.metering import Metering
from proxy.routing.catalog import Catalog
from proxy.routing.dispatch import Dispatch
from proxy.routing.registry import Provider, Registry
from proxy.sandbox.sandbox import Sandbox


async def nobody(*_: object) -> list[dict[str, Any]]:
    """There are no other workers."""
    return []


async def silence(_pause_s: float) -> AsyncGenerator[Shown]:
    """Nothing ever finishes."""
    none: tuple[Shown, ...] = ()
    for one in none:
        yield one


class Context(Struct, frozen=True):
    """The gateway as handlers see it, by the configuration in force.

    `catalog` answers the snapshot of now, `active` the requests being served.
    `check` looks at a provider, `reload` takes the reason. `token` is None where
    none could be kept. `started_at` is seconds since the epoch, `shared_state`
    answers ok, away, or None where no other process shares it. `exposition`
    answers metrics, of all workers where there are several; `tell_others` has them do
    what was done here, and answers which of them did. `busy_elsewhere` answers how busy
    each of them keeps providers, `watch` what finishes in any. `authenticator` and
    `keys` are None while authentication is off, `records` where none are kept. `metering`
    holds handlers to limits and records what they did.
    """

    loaded: Loaded
    access: Access
    token: LocalToken | None
    registry: Registry
    catalog: Callable[[], Catalog]
    dispatch: Dispatch
    sandbox: Sandbox
    metrics: Metrics
    version: str
    active: Callable[[], int]
    draining: Callable[[], bool]
    check: Callable[[Provider], asyncio.Task[None]]
    reload: Callable[[str], Awaitable[Reload]]
    last_reload: Callable[[], Reload | None]
    started_at: float
    shared_state: Callable[[], str | None] = lambda: None
    exposition: Callable[[str | None], Awaitable[tuple[bytes, str]]] | None = None
    tell_others: Callable[..., Awaitable[list[dict[str, Any]]]] = nobody
    busy_elsewhere: Callable[[], Awaitable[list[dict[str, Any]]]] = nobody
    authenticator: Authenticator | None = None
    keys: KeyAdmin | None = None
    records: Records | None = None
    watch: Callable[[float], AsyncGenerator[Shown]] = silence
    metering: Metering | None = None

    @property
    def config(self) -> Config:
        return self.loaded.config
