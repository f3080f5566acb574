from __future__ import annotations

from proxy.state.base import Where
from proxy.state.valkey.state import ValkeyState
from tests.parts.until import until
from tests.proxy.state.valkey.conftest import Join

MODEL = Where("gpu", "qwen")
WHOLE = Where("gpu")


async def test_a_cooldown_holds_everywhere(join: Join) -> None:
    one, other = await join(), await join()
    one.cooldowns.start(MODEL, 60)
    one.cooldowns.start(WHOLE, 30)
    await until(lambda: other.cooldowns.remaining_s(WHOLE), "the other knows")
    assert 50 < other.cooldowns.remaining_s(MODEL) <= 60
    other.cooldowns.end(MODEL)
    await until(lambda: not one.cooldowns.remaining_s(MODEL), "its end is known")
    assert one.cooldowns.remaining_s(WHOLE)


async def test_whoever_joins_is_told_of_cooldowns(join: Join) -> None:
    one = await join()
    one.cooldowns.start(MODEL, 60)
    other = await join()
    await until(lambda: other.cooldowns.remaining_s(MODEL), "it was told")


async def test_health_is_known_everywhere(join: Join) -> None:
    one, other = await join(), await join()
    one.health.note(MODEL, "degraded", failed=True)
    one.health.note(MODEL, "degraded", failed=True)
    await until(lambda: failures(other) == 2, "the other knows")
    assert other.health.note(MODEL, "offline", failed=True) == 3
    await until(lambda: failures(one) == 3, "the failures in a row go on")
    one.health.forget(MODEL)
    await until(lambda: other.health.last(MODEL) is None, "it is forgotten")


async def test_a_session_has_one_home(join: Join) -> None:
    one, other = await join(), await join()
    one.affinity.put("session", "gpu")
    await until(lambda: other.affinity.get("session") == "gpu", "the other knows")
    other.affinity.put("session", "spare")
    await until(lambda: one.affinity.get("session") == "spare", "it has moved")
    one.affinity.put("session", "gpu")
    await until(lambda: other.affinity.get("session") == "gpu", "it is back")
    other.affinity.forget("session")
    await until(lambda: one.affinity.get("session") is None, "it is forgotten")


async def test_what_is_no_news_is_not_told(join: Join) -> None:
    state = await join(beat_s=60)
    state.affinity.put("session", "gpu")
    state.health.note(MODEL, "online", failed=False)
    await until(lambda: not state.affinity._herald._unsaid, "all is told")
    for _ in range(3):
        state.affinity.put("session", "gpu")
        state.health.note(MODEL, "online", failed=False)
    assert not state.affinity._herald._unsaid


async def test_what_no_gateway_says_is_ignored(join: Join) -> None:
    state = await join()
    for news in (
        ["cool", "x", "gpu"],
        ["cool", "x", "gpu", "qwen", "soon"],
        ["seen", "x", 1, 2, 3, 4],
        ["home", "x", "session"],
        ["free", "x", 1],
        ["new", "x", {}],
    ):
        state._post._hear(news)
    assert not state.cooldowns.resting


def failures(state: ValkeyState) -> int | None:
    seen = state.health.last(MODEL)
    return None if seen is None else seen.failures
