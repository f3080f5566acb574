from __future__ import annotations

import re

from proxy.core.ids import Ids


def test_ids_are_unique_and_of_one_form() -> None:
    ids = Ids()
    made = [ids.next() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"req_[0-9a-f]{26}", one) for one in made)
    assert made == sorted(made)


def test_two_sources_share_no_ids() -> None:
    first, second = Ids(), Ids()
    assert first.next() != second.next()


def test_the_prefix_says_what_is_named() -> None:
    assert Ids("att_").next().startswith("att_")
