"""Tokens and their attacks: each is one that some library or gateway fell for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.claims import LEEWAY_S
from proxy.auth.jwt import Jwt
from proxy.auth.tokens import open_tokens
from proxy.config.schema_policy import JwtConfig
from proxy.core.errors import CallerFault, GatewayFault
from proxy.core.types import Principal
from tests.fakes.fetch import Clock, World, answer
from tests.parts.tokens import NOW, SECRET, Issuer, hs256, segment

URL = "https://issuer.example/keys"
CLAIMS: dict[str, Any] = {"exp": NOW + 60, "sub": "u1"}
PUBLISHED = ("RS256", "ES256", "EdDSA")


@pytest.fixture(scope="module")
def rsa() -> Issuer:
    return Issuer("RS256")


def jwt(world: World | None = None, **config: Any) -> Jwt:
    wanted = {"secret": SECRET, **config}
    return Jwt(JwtConfig(**wanted), world or World(), now=Clock(NOW), monotonic=Clock())


def publisher(*keys: dict[str, Any], **config: Any) -> Jwt:
    world = World({URL: answer({"keys": keys})})
    named = {"algorithms": PUBLISHED, "jwks_url": URL, "secret": None, **config}
    return jwt(world, **named)


def refusal(reader: Jwt, token: str) -> str:
    with pytest.raises(CallerFault) as refused:
        reader.try_read(token)
    assert refused.value.status == 401
    return refused.value.code


async def refusal_after_asking(reader: Jwt, token: str) -> str:
    with pytest.raises(CallerFault) as refused:
        await reader.read(token)
    return refused.value.code


def test_a_token_names_tenant_user_and_scopes() -> None:
    claims = {**CLAIMS, "tenant": "team-a", "scope": "inference execute unknown"}
    known = jwt().try_read(hs256(claims))
    assert known is not None
    assert known.principal == Principal(
        tenant="team-a", user="u1", scopes=frozenset({"inference", "execute"})
    )
    assert known.until == NOW + 60 + LEEWAY_S


def test_the_claims_may_have_other_names_and_lists() -> None:
    reader = jwt(tenant_claim="https://example/org", scopes_claim="permissions")
    claims = {**CLAIMS, "https://example/org": "b", "permissions": ["admin", 7, "x"]}
    known = reader.try_read(hs256(claims))
    assert known is not None
    assert (known.principal.tenant, known.principal.scopes) == ("b", {"admin"})


def test_a_token_that_names_nobody_may_infer_for_the_default_tenant() -> None:
    known = jwt().try_read(hs256({"exp": NOW + 1}))
    assert known is not None
    assert known.principal == Principal()


def test_a_token_with_no_scope_of_ours_may_do_nothing() -> None:
    known = jwt().try_read(hs256({**CLAIMS, "scope": "openid profile"}))
    assert known is not None
    assert not known.principal.scopes


@pytest.mark.parametrize(
    "claims",
    [
        {"tenant": ""}, {"tenant": 7}, {"tenant": ["a"]}, {"tenant": "a\nb"},
        {"sub": {"a": 1}}, {"sub": "x" * 300}, {"scope": 7}, {"scope": {"admin": 1}},
    ],
)  # fmt: skip
def test_claims_of_the_wrong_kind_are_refused(claims: dict[str, Any]) -> None:
    assert refusal(jwt(), hs256({**CLAIMS, **claims})) == "invalid_token"


# -- times ---------------------------------------------------------------------------


def test_an_expired_token_says_so_after_its_leeway() -> None:
    assert jwt().try_read(hs256({"exp": NOW - LEEWAY_S + 0.1}))
    assert refusal(jwt(), hs256({"exp": NOW - LEEWAY_S})) == "expired_token"


@pytest.mark.parametrize("exp", [None, True, "9999999999", [], {}, 10**400])
def test_a_token_must_say_when_it_expires(exp: object) -> None:
    claims = {"sub": "u"} if exp is None else {"sub": "u", "exp": exp}
    assert refusal(jwt(), hs256(claims)) == "invalid_token"


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_of_tomorrow_is_not_valid_today(claim: str) -> None:
    assert jwt().try_read(hs256({**CLAIMS, claim: NOW + LEEWAY_S}))
    late = hs256({**CLAIMS, claim: NOW + LEEWAY_S + 1})
    assert refusal(jwt(), late) == "invalid_token"


@pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"1e999", b"-1e999"])
def test_no_number_that_is_none_makes_a_token_last(text: bytes) -> None:
    assert refusal(jwt(), hs256(b'{"exp":%b}' % text)) == "invalid_token"


# -- issuer and audience ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "claims", "good"),
    [
        ({"issuer": "https://a"}, {"iss": "https://a"}, True),
        ({"issuer": "https://a"}, {"iss": "https://a/"}, False),
        ({"issuer": "https://a"}, {}, False),
        ({"issuer": "https://a"}, {"iss": ["https://a"]}, False),
        ({"audience": "gw"}, {"aud": "gw"}, True),
        ({"audience": "gw"}, {"aud": ["x", "gw"]}, True),
        ({"audience": "gw"}, {"aud": "gw2"}, False),
        ({"audience": "gw"}, {"aud": ["x"]}, False),
        ({"audience": "gw"}, {}, False),
        ({}, {"iss": "https://any", "aud": "any"}, True),
    ],
)
def test_issuer_and_audience_are_asked_for_where_they_are_named(
    config: dict[str, str], claims: dict[str, Any], good: bool
) -> None:
    token = hs256({**CLAIMS, **claims})
    if good:
        assert jwt(**config).try_read(token)
    else:
        assert refusal(jwt(**config), token) == "invalid_token"


# -- signatures ------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 0, []])
def test_a_token_that_nobody_signed_is_refused(algorithm: object) -> None:
    text = f"{segment({'alg': algorithm})}.{segment(CLAIMS)}"
    signed = hs256(CLAIMS, head={"alg": algorithm})
    for token in (f"{text}.", f"{text}.{segment(b'x')}", signed):
        assert refusal(jwt(), token) == "invalid_token"
    headless = f"{segment({})}.{segment(CLAIMS)}.{segment(b'x')}"
    assert refusal(jwt(), headless) == "invalid_token"


def test_another_secret_or_other_claims_break_the_signature() -> None:
    token = hs256(CLAIMS)
    head, _, signature = token.split(".")
    forged = f"{head}.{segment({**CLAIMS, 'scope': 'admin'})}.{signature}"
    for wrong in (
        hs256(CLAIMS, SECRET[::-1]),
        hs256(CLAIMS, ""),
        forged,
        token[:-2],
        f"{token}A",
        f"{head}.{segment(CLAIMS)}.",
    ):
        assert refusal(jwt(), wrong) == "invalid_token"


def test_a_stronger_algorithm_that_was_not_named_is_not_taken() -> None:
    head = {"alg": "HS512"}
    assert refusal(jwt(), hs256(CLAIMS, head=head)) == "invalid_token"


async def test_a_public_key_never_serves_as_a_secret(rsa: Issuer) -> None:
    public = rsa.private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    readers = (
        publisher(rsa.jwk),
        publisher(rsa.jwk, secret=SECRET, algorithms=("HS256", "RS256")),
        publisher(rsa.jwk, algorithms=("HS256", "RS256")),
    )
    for reader in readers:
        assert await reader.read(rsa.sign(CLAIMS))
        for secret in (pem, der, json.dumps(rsa.jwk), rsa.jwk["n"], "", b"\0"):
            token = hs256(CLAIMS, secret, {"kid": "k1"})
            assert await refusal_after_asking(reader, token) == "invalid_token"


async def test_a_symmetric_key_that_is_published_is_not_used() -> None:
    oct_key = {"kty": "oct", "k": segment(SECRET.encode()), "kid": "k1"}
    reader = publisher(oct_key, algorithms=("HS256", "RS256"))
    token = hs256(CLAIMS, head={"kid": "k1"})
    assert await refusal_after_asking(reader, token) == "invalid_token"


async def test_keys_that_a_token_brings_along_are_not_looked_at(rsa: Issuer) -> None:
    attacker = Issuer("RS256")
    world = World({URL: answer({"keys": [rsa.jwk]})})
    reader = jwt(world, algorithms=PUBLISHED, jwks_url=URL, secret=None)
    for head in (
        {"jwk": attacker.jwk},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert", "x5c": ["AAAA"]},
        {"kid": "../../dev/null"},
        {"kid": "k1' UNION SELECT 'x"},
        {"kid": "https://evil.example/keys"},
    ):
        token = attacker.sign(CLAIMS, **head)
        assert await refusal_after_asking(reader, token) == "invalid_token"
    assert set(world.urls()) == {URL}


@pytest.mark.parametrize("key_id", [7, ["k1"], {"a": 1}, True, "k" * 300])
def test_a_key_id_is_a_short_text(key_id: object) -> None:
    token = hs256(CLAIMS, head={"kid": key_id})
    assert refusal(jwt(), token) == "invalid_token"


@pytest.mark.parametrize(
    "head", [{"crit": ["b64"], "b64": False}, {"crit": []}, {"crit": ["exp"]}]
)
def test_what_must_be_understood_and_is_not_is_refused(head: dict[str, Any]) -> None:
    assert refusal(jwt(), hs256(CLAIMS, head=head)) == "invalid_token"


@pytest.mark.parametrize(
    "token",
    [
        "..", "a.b.c", "....", "a.b", "", "x" * 20_000, f"{segment([])}.e30.x",
        f"{segment(7)}.e30.x", f"{segment(b'[' * 3000)}.e30.x", "é.é.é", "=.=.=",
        hs256([]), hs256("text"), hs256(b"{"), hs256(b"\xff"), hs256(None),
    ],
)  # fmt: skip
def test_what_is_no_token_is_refused(token: str) -> None:
    assert refusal(jwt(), token) == "invalid_token"


@given(st.text(alphabet="abcXYZ019-_=.é \x00", max_size=60))
def test_no_text_passes_or_breaks_the_reader(text: str) -> None:
    assert refusal(jwt(), text) == "invalid_token"


@given(st.integers(0, 200), st.sampled_from("Ab0-_."))
def test_no_changed_character_passes(at: int, character: str) -> None:
    token = hs256(CLAIMS)
    at %= len(token)
    changed = token[:at] + character + token[at + 1 :]
    # The last character of 43 holds two bits that are no part of the signature.
    if changed != token and at < len(token) - 1:
        assert refusal(jwt(), changed) == "invalid_token"


# -- published keys --------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", PUBLISHED)
async def test_published_keys_are_asked_for_once(algorithm: str) -> None:
    issuer = Issuer(algorithm)
    reader = publisher(issuer.jwk)
    token = issuer.sign(CLAIMS)
    assert reader.try_read(token) is None
    before = reader.revision
    known = await reader.read(token)
    assert known.principal.user == "u1"
    assert reader.try_read(token) == known
    assert reader.revision > before


async def test_one_of_several_keys_is_picked_by_its_id_alone(rsa: Issuer) -> None:
    other = Issuer("RS256", "k2")
    reader = publisher(rsa.jwk, other.jwk)
    assert await reader.read(other.sign(CLAIMS))
    swapped = rsa.sign(CLAIMS, kid="k2")
    assert await refusal_after_asking(reader, swapped) == "invalid_token"


async def test_an_algorithm_must_fit_the_key(rsa: Issuer) -> None:
    ec = Issuer("ES256", "k1")
    reader = publisher(rsa.jwk)
    assert await refusal_after_asking(reader, ec.sign(CLAIMS)) == "invalid_token"
    pinned = publisher(rsa.jwk, ec.jwk, algorithms=("ES256",))
    assert await pinned.read(ec.sign(CLAIMS))
    assert await refusal_after_asking(pinned, rsa.sign(CLAIMS)) == "invalid_token"


async def test_an_issuer_out_of_reach_is_not_the_callers_fault(rsa: Issuer) -> None:
    reader = jwt(World(), algorithms=PUBLISHED, jwks_url=URL, secret=None)
    with pytest.raises(GatewayFault) as failed:
        await reader.read(rsa.sign(CLAIMS))
    assert failed.value.status == 502
    assert failed.value.retry_after_s
    assert URL not in failed.value.message


async def test_without_published_keys_only_the_secret_counts(rsa: Issuer) -> None:
    reader = jwt(algorithms=("HS256", "RS256"))
    assert refusal(reader, rsa.sign(CLAIMS)) == "invalid_token"
    assert await reader.read(hs256(CLAIMS))
    secretless = publisher(rsa.jwk, algorithms=("HS256", "RS256"))
    assert refusal(secretless, hs256(CLAIMS, "")) == "invalid_token"


# -- opening ---------------------------------------------------------------------------


def test_a_secret_that_could_be_guessed_opens_nothing() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        jwt(secret=SECRET[:-1])


def test_tokens_are_read_only_where_the_configuration_wants_it() -> None:
    assert open_tokens(JwtConfig(), World()) is None
    reader = open_tokens(JwtConfig(secret=SECRET), World())
    assert reader is not None
    assert reader.revision == 0
