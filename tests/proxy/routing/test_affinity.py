from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence

import pytest

from providers.wire.members import Members, read_members
from proxy.config import ModelConfig
from proxy.core.types import Headers
from proxy.routing.affinity import (
    BUSY_FROM,
    HALF_LIFE_S,
    NO_MARKS,
    Affinity,
    Marks,
    cache_salt,
    marks,
)
from proxy.routing.model import Candidate
from proxy.state.memory import MemoryState
from tests.fakes.hand_clock import HandClock
from tests.fakes.kinds import provider

Message = dict[str, str]
SYSTEM = {"role": "system", "content": "You are a careful assistant. " * 20}


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def affinity(clock: HandClock) -> Affinity:
    return Affinity(MemoryState(clock).affinity, clock)


def equals(*ids: str) -> tuple[Candidate, ...]:
    return tuple(Candidate(provider(id_, "m"), "m") for id_ in ids)


def members(messages: Sequence[Message], **more: object) -> Members:
    body = {"model": "m", "messages": list(messages), **more}
    return read_members(json.dumps(body).encode())


def of(*messages: Message, tenant: str = "default", **more: object) -> Marks:
    return marks(tenant, "m", Headers(), members(messages, **more))


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def go(affinity: Affinity, among: Sequence[Candidate], seen: Marks) -> str:
    chosen = affinity.arrange(among, seen)[0]
    affinity.served(chosen, seen)
    return chosen.provider.id


class Conversation:
    """Grows by a question and an answer each turn."""

    def __init__(self, name: str, turns: int) -> None:
        self.messages = [SYSTEM]
        self.name = name
        self.left = turns
        self.last: str | None = None

    def ask(self) -> Marks:
        self.left -= 1
        self.messages.append(user(f"{self.name}: question {self.left}"))
        return of(*self.messages)

    def hear(self) -> None:
        self.messages.append(assistant(f"answer {self.left}"))


def converse(
    affinity: Affinity,
    among: tuple[Candidate, ...],
    lengths: Sequence[int],
    dice: random.Random,
) -> tuple[float, float]:
    """Interleave conversations. Answers the share of turns that reach the replica of
    the turn before, and the largest load of a replica in shares.
    """
    running = [Conversation(f"c{number}", n) for number, n in enumerate(lengths)]
    caches: dict[str, set[str]] = {c.provider.id: set() for c in among}
    hits = later = 0
    load: Counter[str] = Counter()
    while running:
        conversation = dice.choice(running)
        seen = conversation.ask()
        chosen = go(affinity, among, seen)
        load[chosen] += 1
        if conversation.last is not None:
            later += 1
            hits += any(key in caches[chosen] for key in seen.chain[1:])
        caches[chosen].add(seen.chain[-1])
        conversation.last = chosen
        conversation.hear()
        if not conversation.left:
            running.remove(conversation)
    return hits / later, max(load.values()) / (load.total() / len(among))


@pytest.mark.parametrize("seed", range(40))
def test_twenty_interleaved_conversations_keep_their_replica_and_share_the_load(
    affinity: Affinity, seed: int
) -> None:
    dice = random.Random(seed)
    hits, load = converse(affinity, equals("a", "b"), [10] * 20, dice)
    assert hits >= 0.9
    assert load <= 1.25


@pytest.mark.parametrize("configured", [False, True])
def test_so_do_conversations_of_unequal_length(
    affinity: Affinity, configured: bool
) -> None:
    dice = random.Random(7)
    model = ModelConfig(id="m", provider_id="a") if configured else None
    among = tuple(Candidate(provider(i, "m"), "m", model) for i in ("a", "b"))
    lengths = [dice.randint(4, 14) for _ in range(20)]
    hits, load = converse(affinity, among, lengths, dice)
    assert hits >= 0.9
    assert load <= 1.25


def test_a_session_stays_whatever_is_said_in_it(affinity: Affinity) -> None:
    among = equals("a", "b", "c")
    for number in range(12):
        session = marks("t", "m", Headers([("x-session-id", f"s{number}")]), None)
        first = go(affinity, among, session)
        for _ in range(3):
            assert go(affinity, among, session) == first


@pytest.mark.parametrize(
    "name", ["session_id", "prompt_cache_key", "previous_response_id"]
)
def test_a_field_of_the_body_names_a_session(name: str) -> None:
    one = of(user("hello"), **{name: "s1"})
    assert one.session is not None
    assert one == of(user("something else"), **{name: "s1"})
    assert one != of(user("hello"), **{name: "s2"})
    assert of(user("hello"), **{name: 7}).session is None


def test_marks_of_another_tenant_or_model_are_others() -> None:
    mine = of(user("hello"))
    assert mine == of(user("hello"))
    assert not set(mine.chain) & set(of(user("hello"), tenant="other").chain)
    other_model = marks("default", "n", Headers(), members([user("hello")]))
    assert not set(mine.chain) & set(other_model.chain)


def test_the_next_turn_has_the_marks_of_the_former_among_its_own() -> None:
    former = of(SYSTEM, user("a"))
    later = of(SYSTEM, user("a"), assistant("b"), user("c"))
    assert later.chain[:2] == former.chain
    assert len(later.chain) == 4


def test_a_shared_beginning_goes_to_one_place_while_that_is_within_its_share(
    affinity: Affinity,
) -> None:
    among = equals("a", "b")
    first = affinity.arrange(among, of(SYSTEM, user("one")))[0]
    again = affinity.arrange(among, of(SYSTEM, user("two")))[0]
    assert first is again


def test_removing_a_replica_moves_only_what_was_there() -> None:
    weights = Affinity(MemoryState().affinity)
    three, two = equals("a", "b", "c"), equals("a", "b")
    for number in range(50):
        seen = of(user(f"question {number}"))
        before = weights.arrange(three, seen)[0].provider.id
        if before != "c":
            assert weights.arrange(two, seen)[0].provider.id == before


def test_an_operators_list_is_heeded_while_there_is_no_reason_against(
    affinity: Affinity,
) -> None:
    model = ModelConfig(id="m", provider_id="b")
    among = tuple(Candidate(provider(i, "m"), "m", model) for i in ("b", "a"))
    for number in range(20):
        fresh = of(user(f"question {number}"))
        assert affinity.arrange(among, fresh)[0].provider.id == "b"


def test_a_conversation_leaves_a_place_that_is_overrun(affinity: Affinity) -> None:
    among = equals("a", "b")
    seen = of(user("hello"))
    home = affinity.arrange(among, seen)[0]
    affinity.served(home, seen)
    home.provider.active = BUSY_FROM - 1
    assert affinity.arrange(among, seen)[0] is home
    home.provider.active = BUSY_FROM
    assert affinity.arrange(among, seen)[0] is not home
    for candidate in among:
        candidate.provider.active = 100
    assert affinity.arrange(among, seen)[0] is home


def test_what_was_served_long_ago_counts_no_more(
    affinity: Affinity, clock: HandClock
) -> None:
    a, b = equals("a", "b")
    for _ in range(20):
        affinity.served(a, NO_MARKS)
    assert affinity.arrange((a, b), NO_MARKS)[0] is b
    clock.pass_by(HALF_LIFE_S * 12)
    assert affinity.arrange((a, b), NO_MARKS)[0] is a


def test_nothing_to_go_by_keeps_the_order(affinity: Affinity) -> None:
    among = equals("b", "a")
    assert affinity.arrange(among, NO_MARKS) == among


def test_a_salt_is_the_tenants_and_the_secrets_own() -> None:
    salt = cache_salt("team-a", b"secret")
    assert salt == cache_salt("team-a", b"secret")
    assert len({salt, cache_salt("team-b", b"secret"), cache_salt("team-a", b"x")}) == 3
    assert "team" not in salt
