import asyncio
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.bench.counting import counting

HERE = Path(__file__).parent
OUTSIDE = HERE / "heads"


def add(a: int, b: int) -> int:
    return a + b


def names(count: int) -> list[str]:
    return [str.upper(letter) for letter in "abcdef"[:count]]


def fail() -> None:
    raise ValueError


async def twice() -> None:
    await asyncio.sleep(0)


def own(name: str) -> str:
    return f"bench/test_counting.py:{name}"


def test_counts_each_call_of_a_python_function() -> None:
    with counting(HERE) as calls:
        add(1, 2)
        add(3, 4)
    assert calls.python[own("add")] == 2


def test_counts_c_calls_that_counted_code_makes() -> None:
    with counting(HERE) as calls:
        names(5)
    assert calls.c["built-in str.upper"] == 5


def test_calls_of_code_elsewhere_do_not_count() -> None:
    with counting(OUTSIDE) as calls:
        add(1, 2)
        names(3)
    assert calls.total == 0


def test_a_folder_whose_name_only_begins_alike_is_elsewhere() -> None:
    with counting(HERE.with_name("ben")) as calls:
        add(1, 2)
    assert calls.total == 0


def test_code_may_lie_under_any_of_several_folders() -> None:
    with counting(OUTSIDE, HERE) as calls:
        add(1, 2)
    assert calls.python[own("add")] == 1


def test_a_coroutine_counts_at_its_start_and_at_each_resumption() -> None:
    with counting(HERE) as calls:
        asyncio.run(twice())
    assert calls.python[own("twice")] == 2


def test_the_same_path_costs_the_same_each_time() -> None:
    totals = set()
    for _ in range(3):
        with counting(HERE) as calls:
            names(4)
            add(1, 2)
        totals.add(calls.total)
    assert len(totals) == 1


def test_more_work_costs_more() -> None:
    with counting(HERE) as few:
        names(2)
    with counting(HERE) as many:
        names(3)
    assert many.total == few.total + 1


def test_a_failing_block_ends_the_counting_and_raises() -> None:
    before = sys.getprofile()
    with pytest.raises(ValueError), counting(HERE) as calls:
        fail()
    assert calls.python[own("fail")] == 1
    assert sys.getprofile() is before


def test_a_profiler_at_work_gets_its_place_back() -> None:
    def profiler(frame: FrameType, event: str, argument: Any) -> None:
        pass

    before = sys.getprofile()
    sys.setprofile(profiler)
    try:
        with counting(HERE):
            add(1, 2)
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(before)


def test_the_listing_puts_what_is_called_most_first() -> None:
    with counting(HERE) as calls:
        add(1, 2)
        names(6)
    lines = str(calls).splitlines()
    assert lines[0].endswith("C calls")
    assert lines[1] == "     6  built-in str.upper"
    assert any(line.endswith(own("add")) for line in lines)
