"""Calls that go to one provider as they are: pass-through, other /v1, responses.

Nothing of the body is read; what comes back is relayed as it is, by events
where the path is one whose streams we know.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final
from urllib.parse import parse_qs

from msgspec import Struct

from providers.base import OPERATIONS, Reach
from providers.wire.dialect import Dialect
from providers.wire.members import Members, WrongType
from proxy.auth.access import Access
from proxy.auth.authenticate import Authenticator
from proxy.auth.permission import ADMIN, check_forward, check_reach, check_scope
from proxy.config import Config
from proxy.core.call import Body, Call
from proxy.core.errors import CallerFault
from proxy.core.types import ANYONE, Principal, Record
from proxy.pipeline import heads
from proxy.pipeline.allowance import Allowance
from proxy.pipeline.checks import check_one_model, check_size, wrong_type
from proxy.pipeline.model import members_of
from proxy.pipeline.order import Order, Treatment, limits_of
from proxy.pipeline.passing import PLAIN, WRITES, Passing, pinned_at
from proxy.pipeline.repeats import Repeats
from proxy.pipeline.upgrade import is_upgrade
from proxy.relay.client import Outgoing
from proxy.routing import select
from proxy.routing.catalog import Catalog
from proxy.routing.registry import Provider, Registry
from proxy.routing.responses import ResponseOwners

PASS_THROUGH: Final = "pass_through"  # noqa: S105 -- a route, no password
FORWARD: Final = "forward"
RESPONSE_OBJECT: Final = "response_object"

_DIALECTS: Final = {
    **{f"/v1{row.path}": row.dialect for row in OPERATIONS.values()},
    "/api/chat": Dialect.OLLAMA,
    "/api/generate": Dialect.OLLAMA,
}
_STREAMS: Final = frozenset({
    "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages",
    "/api/chat", "/api/generate",
})  # fmt: skip


def dialect_of(path: str) -> Dialect:
    """The dialect in which a path below a provider's root reports errors."""
    if path.startswith("/api/"):
        return _DIALECTS.get(path, Dialect.OLLAMA)
    return _DIALECTS.get(path, Dialect.CHAT)


class Passages(Struct, frozen=True):
    """Makes orders of calls that name their provider, or leave it to the default.

    `authenticator` is None while authentication is off: what is the owner's is then
    for this machine, else for who has the scope `admin`.
    """

    config: Config
    registry: Registry
    catalog: Callable[[], Catalog]
    owners: ResponseOwners
    access: Access
    allowance: Allowance
    authenticator: Authenticator | None = None
    repeats: Repeats | None = None

    async def asked(
        self, call: Call, record: Record, principal: Principal
    ) -> Passing | None:
        """Answer what limits and lists of models ask of an inference call; None for all
        else. Its body is read where somebody asks for its model.

        Raises CallerFault `invalid_json`, `invalid_field`, `model_not_allowed`,
        `provider_not_found`, `body_too_large`, `request_timeout`, GatewayFault
        `not_configured`.
        """
        if call.operation not in (PASS_THROUGH, FORWARD):
            return None
        provider, path, _ = self._destination(call, record)
        if call.operation == FORWARD:
            is_inference = call.method == "POST" or is_upgrade(call)
        else:
            is_inference = provider.adapter.reach(call.method, path) is Reach.INFERENCE
        if not is_inference:
            return None
        operation = WRITES if path in _STREAMS else PLAIN
        catalog, size_bytes = self.catalog(), call.body.length or 0
        is_json = "multipart/" not in (call.headers.get("content-type") or "").lower()
        if call.method != "POST" or not is_json or not self._reads(principal):
            pinned = pinned_at(provider, "", catalog)
            return Passing("", None, operation, pinned, size_bytes=size_bytes)
        limit = self.config.server.max_body_bytes
        body = await call.body.read(limit)
        members = members_of(call, body, limit)
        if principal.models:
            check_one_model(members, principal)
        model = provider.adapter.model_in(path) or _text(members, "model")
        pinned = pinned_at(provider, model, catalog)
        return Passing(model, members, operation, pinned, body)

    def _reads(self, principal: Principal) -> bool:
        return bool(principal.models) or self.allowance.asks_for_model(principal)

    def order(
        self,
        call: Call,
        record: Record,
        via: str,
        principal: Principal = ANYONE,
        passing: Passing | None = None,
    ) -> tuple[Order, Outgoing]:
        """Choose the provider and say what to send; `passing` is what `asked` has said.

        Raises CallerFault `forbidden`, `model_not_allowed`, `not_found`,
        `provider_not_found`, `body_too_large`, GatewayFault `not_configured`, ProviderFault
        `all_providers_unavailable`.
        """
        provider, path, target = self._destination(call, record)
        limit, prefix = None, None
        if call.operation == PASS_THROUGH:
            names = () if passing is None else passing.names
            limit = self._limit(call, provider, path, principal, names)
            prefix = call.target.removesuffix(target)
        elif call.operation == FORWARD:
            self._check_forward(call, provider, path, principal)
        prepared = provider.adapter.passage(target, call.headers.pairs)
        streams = call.method == "POST" and path in _STREAMS
        found = passing.candidate if passing is not None and passing.model else None
        order = Order(
            provider,
            call.method,
            prepared.url_path,
            tuple(heads.towards_upstream(prepared.headers, call, via)),
            dialect_of(path),
            Treatment.INFERENCE if streams else Treatment.PLAIN,
            limits_of(provider.config.timeouts, is_bounded=False),
            upstream_model=None if found is None else found.upstream_model,
            model=None if found is None else found.model,
            prefix=prefix,
            takes_slot=limit is not None,
        )
        if passing is not None and passing.body is not None:
            return order, order.outgoing(passing.body)
        return order, order.outgoing(_body(call.body, limit), call.body.length)

    def settle(self, call: Call, status: int) -> None:
        """Take note of what a call that went well has changed."""
        deleted = call.operation == RESPONSE_OBJECT and call.method == "DELETE"
        if deleted and 200 <= status < 300:
            self.owners.forget(call.params["id"])

    def _destination(self, call: Call, record: Record) -> tuple[Provider, str, str]:
        """Answer provider, decoded path there, and the target to send."""
        params = call.params
        if call.operation == RESPONSE_OBJECT:
            owner = self.owners.provider_id(params["id"], record.tenant)
            return select.by_id(self.registry, owner), call.path, call.target
        if call.operation == FORWARD:
            return self._default(call), call.path, call.target
        if "provider" in params:
            provider = select.by_id(self.registry, params["provider"])
        else:
            provider = select.by_id_or_kind(self.registry, params["kind"])
        return provider, "/" + params["rest"], params["raw_rest"]

    def _default(self, call: Call) -> Provider:
        """The provider of /v1 paths that we do not know; `?model=` may name another
        (realtime sessions do).
        """
        named = parse_qs(call.query).get("model") if "upgrade" in call.headers else None
        if named:
            model = self.catalog().find(named[0])
            if model is not None and model.candidates:
                return model.candidates[0].provider
        return select.for_unknown_paths(self.registry, self.config)

    def _limit(
        self,
        call: Call,
        provider: Provider,
        path: str,
        principal: Principal,
        names: tuple[str | None, ...],
    ) -> int | None:
        """Answer how large the body may be: inference has a limit, the rest none."""
        reach = provider.adapter.reach(call.method, path)
        if self.authenticator is not None:
            check_reach(principal, reach, names)
        elif reach is Reach.OWNER:
            self._check_owner(call)
        limited = reach is Reach.INFERENCE
        return self.config.server.max_body_bytes if limited else None

    def _check_forward(
        self, call: Call, provider: Provider, path: str, principal: Principal
    ) -> None:
        is_owners = provider.adapter.keeps(call.method, path)
        if self.authenticator is not None:
            check_forward(principal, is_cloud=not provider.local)
            if is_owners:
                check_scope(principal, ADMIN)
        elif is_owners:
            self._check_owner(call)

    def _check_owner(self, call: Call) -> None:
        if not self.access.is_owner(call.headers, call.peer):
            raise CallerFault(
                "forbidden",
                "This path changes the provider and is for its owner: call it from "
                "the gateway's own machine.",
            )


def _text(members: Members, name: str) -> str:
    try:
        return members.text(name) or ""
    except WrongType as error:
        raise wrong_type(error) from error


def _body(body: Body, limit_bytes: int | None) -> bytes | AsyncIterator[bytes]:
    if body.length == 0:
        return b""
    if limit_bytes is None:
        return body.chunks()
    check_size(body.length or 0, limit_bytes)
    return _counted(body, limit_bytes)


async def _counted(body: Body, limit_bytes: int) -> AsyncIterator[bytes]:
    async for piece in body.chunks():
        check_size(body.received, limit_bytes)
        yield piece


async def gather_body(out: Outgoing, body: Body) -> None:
    """Take a body that has arrived whole as one piece; waits for nothing.

    Most have: head and body then leave together, so that a server which answers
    at once has had it all, and a stale connection can be replaced.
    """
    if isinstance(out.body, bytes) or out.length is None or not body.is_here:
        return
    out.body = b"".join([piece async for piece in out.body])
