"""What only asking tells: the port, the providers, their clocks, the models.

Every question asked of a provider is one that loads nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Final

import orjson

from proxy.config import Loaded
from proxy.core import clock
from proxy.core.call import Fetched, FetchFailed
from proxy.doctor.finding import Finding, Grade, reason
from proxy.observability.text import printable
from proxy.relay.origin import Tls
from proxy.relay.origins import origin_of
from proxy.routing.discovery import GATEWAY_NAME
from proxy.routing.model import Model
from proxy.routing.registry import WELL, Provider, Status
from proxy.runtime import Runtime, describe
from proxy.server.port import holder_of

LOOK_S: Final = 10.0
MOST_SKEW_S: Final = 60.0
_JAIL_ADVICE: Final = (
    "install bubblewrap (Debian: apt install bubblewrap) and let this user, or this "
    "container, make user namespaces"
)


async def listed_models(loaded: Loaded) -> tuple[Model, ...]:
    """Look around once; answers the models that callers may name."""
    async with Runtime(loaded) as runtime:
        await runtime.discovery.first_look(LOOK_S)
        return runtime.catalog().models


async def examine_surroundings(loaded: Loaded) -> list[Finding]:
    """Examine what is not this process: the port, providers, clocks, models."""
    async with Runtime(loaded) as runtime:
        findings = [await _port(runtime)]
        await runtime.discovery.first_look(LOOK_S)
        providers = runtime.registry.providers
        findings += [_provider(provider) for provider in providers]
        well = [provider for provider in providers if provider.status in WELL]
        skews = await asyncio.gather(*(_skew(runtime, one) for one in well))
        findings.append(_clock([skew for skew in skews if skew is not None]))
        findings.append(_servable(runtime))
        findings += _execute(runtime)
        return findings


async def _port(runtime: Runtime) -> Finding:
    server = runtime.config.server
    address = describe(runtime.config)
    if server.port == 0:
        return Finding(Grade.FINE, "port", "any free one")
    try:
        family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
        with socket.create_server((server.host, server.port), family=family):
            return Finding(Grade.FINE, "port", f"{address} is free")
    except OSError as error:
        if await _is_gateway(runtime, address):
            return Finding(Grade.FINE, "port", f"a gateway is running on {address}")
        who = holder_of(server.port)
        held = f", held by {who}" if who else ""
        advice = "stop what is there, or choose another with --port"
        text = f"{address}: {reason(error)}{held}"
        return Finding(Grade.WRONG, "port", text, advice)


async def _is_gateway(runtime: Runtime, address: str) -> bool:
    # Our own certificate names us by another name than the address asked here.
    fetch = runtime.client.fetch_for(Tls(verify=False))
    accept = (("accept", "application/json"),)
    try:
        answer = await fetch("GET", f"{address}/", headers=accept, timeout_s=2.0)
        document = orjson.loads(answer.body)
    except (FetchFailed, ValueError):
        return False
    return isinstance(document, dict) and document.get("name") == GATEWAY_NAME


def _provider(provider: Provider) -> Finding:
    subject = f"provider {provider.id}"
    url = provider.config.base_url
    status = provider.status
    if status is Status.DISABLED:
        return Finding(Grade.FINE, subject, "disabled")
    if status in WELL and provider.last_error is None:
        count = len(provider.models)
        text = f"{url} is {status.value}, {count} model{'s' * (count != 1)}"
        if count:
            return Finding(Grade.FINE, subject, text)
        return Finding(Grade.ODD, subject, text, "load or download a model there")
    if status is Status.LOADING:
        return Finding(Grade.ODD, subject, f"{url} is loading", "ask again in a while")
    why = printable(provider.last_error or "no answer", 200)
    return Finding(
        Grade.WRONG, subject, f"{url} is {status.value}: {why}", _cure(provider, why)
    )


def _cure(provider: Provider, why: str) -> str:
    if "key" in why:
        return "correct authSecret or the variable that holds its key"
    if provider.local:
        return (
            "start the server, and check endpoint, firewall and address it listens on"
        )
    return "check endpoint, name resolution and HTTPS_PROXY"


async def _skew(runtime: Runtime, provider: Provider) -> tuple[float, str] | None:
    """How far a server's clock is ahead of ours, in seconds, and whose."""
    if provider.adapter.default_url == provider.config.endpoint and provider.local:
        return None  # built in
    origin = origin_of(provider.config)
    fetch = runtime.client.fetch_for(origin.tls, origin.proxy)
    probe = provider.adapter.liveness
    try:
        answer = await fetch(
            probe.method,
            provider.config.base_url + probe.path,
            headers=provider.adapter.probe_headers(),
            timeout_s=provider.config.health_check_timeout,
        )
    except FetchFailed:
        return None
    ahead_s = _ahead_s(answer)
    return None if ahead_s is None else (ahead_s, provider.id)


def _ahead_s(answer: Fetched) -> float | None:
    try:
        theirs = parsedate_to_datetime(answer.headers.get("date") or "")
    except ValueError:
        return None
    return theirs.timestamp() - clock.wall()


def _clock(skews: list[tuple[float, str]]) -> Finding:
    if not skews:
        return Finding(Grade.FINE, "clock", "nothing to compare with")
    ahead_s, whose = min(skews, key=lambda skew: abs(skew[0]))
    text = f"{abs(ahead_s):.0f} s {'behind' if ahead_s > 0 else 'ahead of'} {whose}"
    if abs(ahead_s) <= MOST_SKEW_S:
        return Finding(Grade.FINE, "clock", text)
    advice = "set this machine's clock: certificates and tokens depend on it"
    return Finding(Grade.WRONG, "clock", text, advice)


def _servable(runtime: Runtime) -> Finding:
    count = sum(bool(model.live) for model in runtime.catalog().models)
    if count:
        return Finding(Grade.FINE, "models", f"{count} can be served")
    advice = "start a model server, set a cloud's key, or try --demo"
    return Finding(Grade.WRONG, "models", "none can be served", advice)


def _execute(runtime: Runtime) -> Iterator[Finding]:
    """Which walls stand around code that nobody trusts, as found by trying them."""
    sandbox = runtime.sandbox
    if not sandbox.config.enabled:
        yield Finding(Grade.FINE, "execute", "off")
    for engine, walls in sandbox.isolation.items():
        text = f"walls in force: {', '.join(walls)}"
        if "jail" in walls:
            yield Finding(Grade.FINE, f"execute {engine}", text)
        else:
            yield Finding(Grade.ODD, f"execute {engine}", text, _JAIL_ADVICE)
    for engine, why in sandbox.missing.items():
        grade = Grade.ODD if sandbox.isolation else Grade.WRONG
        advice = _JAIL_ADVICE if "jail" in why else "install it, or use bin/run"
        yield Finding(grade, f"execute {engine}", f"not available: {why}", advice)
