from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from proxy.auth.api_keys import Issued, create_key, revoke_key
from proxy.auth.authenticate import REMEMBERED_TOKENS, Authenticator
from proxy.auth.key_fields import KeyFields
from proxy.auth.key_table import KeyTable, Known
from proxy.core.errors import CallerFault
from proxy.core.types import Headers, Principal
from tests.fakes.fetch import Clock
from tests.fakes.keys import FakeKeys

NOW = 1_700_000_000.0


@dataclass
class FakeTokens:
    """Tokens by their text; those in `waiting` need to be asked for."""

    known: dict[str, Known] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    revision: int = 0
    read_count: int = 0

    def try_read(self, token: str) -> Known | None:
        if token in self.waiting:
            return None
        self.read_count += 1
        if token not in self.known:
            raise CallerFault("invalid_token", "No.")
        return self.known[token]

    async def read(self, token: str) -> Known:
        self.waiting.discard(token)
        self.revision += 1
        found = self.try_read(token)
        assert found is not None
        return found


@dataclass
class Gate:
    store: FakeKeys
    table: KeyTable
    tokens: FakeTokens
    clock: Clock
    authenticator: Authenticator
    key: Issued

    def ask(self, *pairs: tuple[str, str]) -> Principal | None:
        return self.authenticator.try_authenticate(Headers(pairs))

    def refusal(self, *pairs: tuple[str, str]) -> str:
        with pytest.raises(CallerFault) as refused:
            self.ask(*pairs)
        assert refused.value.status == 401
        assert "secret" not in refused.value.message
        return refused.value.code


@pytest.fixture
async def gate() -> Gate:
    store, table, tokens = FakeKeys(), KeyTable(), FakeTokens()
    clock = Clock(NOW)
    wanted = KeyFields(name="a", tenant="team-a", expires_at=NOW + 100)
    key = await create_key(store, wanted, now=NOW)
    await table.refresh(store)
    authenticator = Authenticator(table, tokens, clock)
    return Gate(store, table, tokens, clock, authenticator, key)


async def test_a_key_is_taken_in_every_usual_field(gate: Gate) -> None:
    secret = gate.key.secret
    for pair in (
        ("authorization", f"Bearer {secret}"),
        ("authorization", f"bearer  {secret} "),
        ("authorization", secret),
        ("x-api-key", secret),
        ("api-key", secret),
        ("x-goog-api-key", secret),
    ):
        principal = gate.ask(pair)
        assert principal is not None
        assert (principal.tenant, principal.key) == ("team-a", gate.key.row.id)


async def test_the_same_credential_twice_is_one_and_two_are_none(gate: Gate) -> None:
    secret = gate.key.secret
    assert gate.ask(("authorization", f"Bearer {secret}"), ("x-api-key", secret))
    fields = ("authorization", f"Bearer {secret}"), ("x-api-key", "another")
    assert gate.refusal(*fields) == "invalid_token"
    assert gate.refusal(("x-api-key", secret), ("x-api-key", "b")) == "invalid_token"


async def test_what_is_missing_unknown_or_cut_is_refused(gate: Gate) -> None:
    secret = gate.key.secret
    assert gate.refusal() == "missing_authorization"
    assert gate.refusal(("authorization", "Bearer ")) == "missing_authorization"
    for wrong in ("x", secret[:-1], secret + "0", secret.upper(), f"Basic {secret}"):
        assert gate.refusal(("authorization", wrong)) == "invalid_api_key"
    assert gate.refusal(("x-api-key", "caf\xe9")) == "invalid_api_key"
    assert gate.refusal(("x-api-key", gate.key.row.hash)) == "invalid_api_key"


async def test_a_head_that_comes_again_is_not_looked_up_again(gate: Gate) -> None:
    headers = Headers([("x-api-key", gate.key.secret)])
    first = gate.authenticator.try_authenticate(headers)
    gate.table._known.clear()  # what is remembered no longer needs it
    assert gate.authenticator.try_authenticate(headers) is first


async def test_a_revoked_key_stops_though_its_head_is_remembered(gate: Gate) -> None:
    headers = Headers([("x-api-key", gate.key.secret)])
    assert gate.authenticator.try_authenticate(headers)
    await revoke_key(gate.store, gate.key.row.id, now=NOW)
    await gate.table.refresh(gate.store)
    with pytest.raises(CallerFault) as refused:
        gate.authenticator.try_authenticate(headers)
    assert refused.value.code == "invalid_api_key"


async def test_a_remembered_key_expires_on_time(gate: Gate) -> None:
    headers = Headers([("x-api-key", gate.key.secret)])
    gate.clock.at = NOW + 99.9
    assert gate.authenticator.try_authenticate(headers)
    gate.clock.at = NOW + 100
    with pytest.raises(CallerFault) as refused:
        gate.authenticator.try_authenticate(headers)
    assert refused.value.code == "expired_api_key"


async def test_two_gateways_in_one_head_do_not_share_their_answers(gate: Gate) -> None:
    headers = Headers([("x-api-key", gate.key.secret)])
    assert gate.authenticator.try_authenticate(headers)
    other = Authenticator(KeyTable(), None, gate.clock)
    with pytest.raises(CallerFault):
        other.try_authenticate(headers)


async def test_each_use_is_noted(gate: Gate) -> None:
    headers = Headers([("x-api-key", gate.key.secret)])
    for at in (NOW + 1, NOW + 2):
        gate.clock.at = at
        gate.authenticator.try_authenticate(headers)
        assert gate.table.take_used() == {gate.key.row.id: at}


async def test_tokens_are_remembered_by_the_whole_of_them(gate: Gate) -> None:
    head = "eyJhbGciOiJIUzI1NiJ9.payload"
    ours, theirs = Principal(user="ours"), Principal(user="theirs")
    gate.tokens.known = {
        f"{head}.a": Known(ours, NOW + 50),
        f"{head}.b": Known(theirs, NOW + 50),
    }
    for _ in range(2):
        assert gate.ask(("authorization", f"Bearer {head}.a")) is ours
        assert gate.ask(("authorization", f"Bearer {head}.b")) is theirs
    assert gate.tokens.read_count == 2
    assert gate.refusal(("authorization", f"Bearer {head}.c")) == "invalid_token"


async def test_a_remembered_token_is_read_again_once_it_may_not_hold(
    gate: Gate,
) -> None:
    gate.tokens.known = {"a.b.c": Known(Principal(user="u"), NOW + 50)}
    pair = ("x-api-key", "a.b.c")
    assert gate.ask(pair)
    gate.tokens.revision += 1
    assert gate.ask(pair)
    assert gate.tokens.read_count == 2
    gate.clock.at = NOW + 50
    gate.tokens.known.clear()
    assert gate.refusal(pair) == "invalid_token"


async def test_a_remembered_token_outlives_changes_of_keys(gate: Gate) -> None:
    gate.tokens.known = {"a.b.c": Known(Principal(user="u"), NOW + 50)}
    headers = Headers([("x-api-key", "a.b.c")])
    first = gate.authenticator.try_authenticate(headers)
    gate.table.apply([])
    assert gate.authenticator.try_authenticate(headers) is first
    assert gate.tokens.read_count == 1
    gate.tokens.revision += 1
    gate.tokens.known.clear()
    with pytest.raises(CallerFault):
        gate.authenticator.try_authenticate(headers)


async def test_a_remembered_key_outlives_changes_of_tokens(gate: Gate) -> None:
    headers = Headers([("x-api-key", gate.key.secret)])
    first = gate.authenticator.try_authenticate(headers)
    gate.tokens.revision += 1
    gate.table._known.clear()  # it is not looked up again
    assert gate.authenticator.try_authenticate(headers) is first


async def test_a_token_whose_issuer_must_be_asked_is_awaited(gate: Gate) -> None:
    gate.tokens.known = {"a.b.c": Known(Principal(user="u"), NOW + 50)}
    gate.tokens.waiting = {"a.b.c"}
    headers = Headers([("x-api-key", "a.b.c")])
    assert gate.authenticator.try_authenticate(headers) is None
    principal = await gate.authenticator.authenticate(headers)
    assert principal.user == "u"
    assert gate.authenticator.try_authenticate(headers) == principal
    assert gate.tokens.read_count == 1


async def test_a_credential_from_elsewhere_is_identified_too(gate: Gate) -> None:
    principal = await gate.authenticator.identify(gate.key.secret)
    assert principal.key == gate.key.row.id
    with pytest.raises(CallerFault):
        await gate.authenticator.identify("lai_unknown")


async def test_without_tokens_what_looks_like_one_is_no_token_here(gate: Gate) -> None:
    authenticator = Authenticator(gate.table, None, gate.clock)
    with pytest.raises(CallerFault) as refused:
        authenticator.try_authenticate(Headers([("x-api-key", "a.b.c")]))
    assert refused.value.code == "invalid_token"


async def test_a_key_with_dots_is_still_a_key(gate: Gate) -> None:
    issued = await create_key(
        gate.store, KeyFields(name="b"), now=NOW, prefix="a.team."
    )
    await gate.table.refresh(gate.store)
    assert gate.ask(("x-api-key", issued.secret))


async def test_the_memory_of_tokens_is_bounded_and_bad_ones_take_none(
    gate: Gate,
) -> None:
    known = Known(Principal(user="u"), NOW + 50)
    for number in range(REMEMBERED_TOKENS + 10):
        gate.tokens.known[f"a.b.{number}"] = known
        gate.ask(("x-api-key", f"a.b.{number}"))
        gate.refusal(("x-api-key", f"x.y.{number}"))
    assert len(gate.authenticator._read) == REMEMBERED_TOKENS
    before = gate.tokens.read_count
    gate.ask(("x-api-key", f"a.b.{REMEMBERED_TOKENS + 9}"))
    assert gate.tokens.read_count == before
