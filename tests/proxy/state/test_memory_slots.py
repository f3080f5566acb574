"""What is particular to the slots of one process; the rest is in tests/contract/state."""

from __future__ import annotations

from proxy.state.memory_slots import PLACES, MemorySlots


def test_a_key_of_which_nothing_is_held_is_not_remembered() -> None:
    slots = MemorySlots()
    slots.try_take((("a", 1), ("b", None)))
    slots.give_back((("a", 1), ("b", None)))
    assert len(slots) == 0


def test_places_that_are_idle_go_when_there_are_many() -> None:
    slots = MemorySlots()
    held = slots.place((("gpu", 2), ("gpu\na", None)))
    assert held.try_take()
    for number in range(3 * PLACES):
        bounds = (("gpu", 9), (f"gpu\n{number}", None))
        assert slots.try_take(bounds)
        slots.give_back(bounds)
    assert len(slots._places) <= PLACES
    assert len(slots._counts) <= PLACES + 1
    assert len(slots) == 2
    assert slots.place((("gpu", 1),)).try_take() is False
    slots.give_back((("gpu", 2), ("gpu\na", None)))
    assert len(slots) == 0


def test_a_place_that_somebody_keeps_counts_with_later_ones() -> None:
    slots = MemorySlots()
    kept = slots.place((("gpu", 1),))
    for number in range(3 * PLACES):
        slots.place(((str(number), 1),))
    later = slots.place((("gpu", 1),))
    assert later is not kept
    assert kept.try_take()
    assert not later.try_take()
    later.give_back()
    assert slots.held("gpu") == 0
    assert kept.try_take()


def test_places_that_are_held_stay_however_many_they_are() -> None:
    slots = MemorySlots()
    bounds = [((str(number), 1),) for number in range(2 * PLACES)]
    assert all(slots.try_take(one) for one in bounds)
    assert not any(slots.try_take(one) for one in bounds)
    for one in bounds:
        slots.give_back(one)
    assert len(slots) == 0
