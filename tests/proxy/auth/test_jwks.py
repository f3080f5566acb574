from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from proxy.auth.jwks import FRESH_S, PAUSE_S, STALE_S, KeySet
from tests.fakes.fetch import Clock, World, answer
from tests.parts.tokens import Issuer
from tests.parts.until import until

URL = "https://issuer.example/keys"
ALL = ("RS256", "ES256", "EdDSA")


@dataclass
class Published:
    keys: KeySet
    world: World
    clock: Clock

    def publish(self, *keys: object) -> None:
        self.world.answers[URL] = answer({"keys": keys})

    async def count(self, algorithm: str, key_id: str | None) -> int:
        """How many keys fit, once the issuer was asked where that is worth it."""
        found = self.keys.find(algorithm, key_id)
        if found is None:
            await self.keys.refresh()
            found = self.keys.find(algorithm, key_id)
        return len(found or ())


@pytest.fixture
def published() -> Published:
    world, clock = World(), Clock()
    return Published(KeySet(URL, world, ALL, clock), world, clock)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer("RS256")


async def test_a_new_key_is_found_by_asking_again_but_not_too_often(
    published: Published, issuer: Issuer
) -> None:
    published.publish(issuer.jwk)
    assert await published.count("RS256", "k1") == 1
    published.publish(issuer.jwk, {**issuer.jwk, "kid": "k2"})
    published.clock.at += PAUSE_S - 0.1
    assert await published.count("RS256", "k2") == 0
    assert len(published.world.asked) == 1
    published.clock.at += 0.1
    assert await published.count("RS256", "k2") == 1
    assert len(published.world.asked) == 2


async def test_a_flood_of_unknown_ids_asks_the_issuer_once(
    published: Published, issuer: Issuer
) -> None:
    published.publish(issuer.jwk)
    await asyncio.gather(*(published.count("RS256", f"x{n}") for n in range(100)))
    for number in range(100):
        await published.count("RS256", f"y{number}")
    assert len(published.world.asked) == 1


async def test_a_withdrawn_key_serves_until_keys_are_read_again(
    published: Published, issuer: Issuer
) -> None:
    published.publish(issuer.jwk)
    assert await published.count("RS256", "k1") == 1
    published.publish({**issuer.jwk, "kid": "k2"})
    published.clock.at += FRESH_S - 1
    assert await published.count("RS256", "k1") == 1
    before = published.keys.revision
    published.clock.at += 1
    assert await published.count("RS256", "k1") == 0
    assert published.keys.revision > before


async def test_known_keys_serve_on_while_the_issuer_is_away_for_a_day(
    published: Published, issuer: Issuer
) -> None:
    published.publish(issuer.jwk)
    assert await published.count("RS256", "k1") == 1
    del published.world.answers[URL]
    published.clock.at += STALE_S - 1
    assert await published.count("RS256", "k1") == 1
    assert len(published.world.asked) == 2
    assert published.keys.is_known
    published.clock.at += 1
    assert await published.count("RS256", "k1") == 0
    assert not published.keys.is_known


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b'{"keys":7}', b'{"keys":null}', b"<html>", b'"keys"'],
)
async def test_what_is_no_set_of_keys_replaces_none(
    published: Published, issuer: Issuer, document: bytes
) -> None:
    published.publish(issuer.jwk)
    assert await published.count("RS256", "k1") == 1
    published.world.answers[URL] = answer(document)
    published.clock.at += FRESH_S
    assert await published.count("RS256", "k1") == 1
    published.world.answers[URL] = answer({"keys": []}, 500)
    published.clock.at += PAUSE_S
    assert await published.count("RS256", "k1") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"}, {"alg": "RS512"}, {"alg": "HS256"}, {"kty": "oct"},
        {"kty": "EC"}, {"kty": ["RSA"]}, {"d": "AQAB"}, {"n": "AQAB"}, {"n": 7},
        {"n": "A" * 100}, {"e": None}, {"kid": 7},
    ],
)  # fmt: skip
async def test_a_key_that_is_not_for_this_is_left_out_and_the_others_stay(
    published: Published, issuer: Issuer, change: dict[str, Any]
) -> None:
    other = {**issuer.jwk, "kid": "k2"}
    published.publish({**issuer.jwk, **change}, "no key", None, other)
    assert await published.count("RS256", "k1") == 0
    assert await published.count("RS256", "k2") == 1


async def test_a_curve_that_is_not_the_algorithms_is_left_out(
    published: Published,
) -> None:
    ec, okp = Issuer("ES256", "e"), Issuer("EdDSA", "o")
    published.publish({**ec.jwk, "crv": "P-384"}, {**okp.jwk, "crv": "Ed448"})
    assert await published.count("ES256", "e") == 0
    assert await published.count("EdDSA", "o") == 0


async def test_a_token_without_a_key_id_is_taken_where_one_key_alone_fits(
    published: Published, issuer: Issuer
) -> None:
    published.publish(issuer.jwk, Issuer("ES256", None).jwk)
    assert await published.count("RS256", None) == 1
    assert await published.count("ES256", None) == 1
    published.publish(issuer.jwk, {**issuer.jwk, "kid": "k2"})
    published.clock.at += FRESH_S
    assert await published.count("RS256", None) == 0


async def test_one_who_gives_up_leaves_the_question_to_the_next(
    published: Published, issuer: Issuer
) -> None:
    hanging = asyncio.Event()
    published.world.answers[URL] = hanging
    asking = asyncio.ensure_future(published.keys.refresh())
    await until(lambda: published.world.asked, "the question")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    published.publish(issuer.jwk)
    assert await published.count("RS256", "k1") == 1
