"""What all sections share."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.config.base import Count, Map, Section, camel, empty_map, option


class Inner(Section):
    size: Count = option(1, "Size.")


class Outer(Section):
    inner: Inner = option(Inner, "Inner.")
    names: tuple[str, ...] = option((), "Names.")
    by_name: Map[int] = option(empty_map, "Numbers.")
    limit: Count | None = option(7, "Limit.")
    secret_word: str = option("", "Secret.", secret=True)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("port", "port"),
        ("max_body_bytes", "maxBodyBytes"),
        ("cost_per_1k_tokens", "costPer1kTokens"),
    ],
)
def test_keys_are_camel_case(name: str, key: str) -> None:
    assert camel(name) == key


def test_empty_containers_keep_their_default_and_null_is_a_value() -> None:
    read = Outer.model_validate(
        {"inner": None, "names": None, "byName": None, "limit": None}
    )
    assert read == Outer(limit=None)


def test_a_truth_value_is_no_number() -> None:
    with pytest.raises(ValidationError, match="not true or false"):
        Inner(size=True)


def test_maps_cannot_be_changed_but_are_dumped_plainly() -> None:
    read = Outer(by_name={"a": 1})
    with pytest.raises(TypeError):
        read.by_name["b"] = 2  # type: ignore[index]
    assert read.model_dump(by_alias=True)["byName"] == {"a": 1}


def test_a_secret_is_not_shown_and_a_default_is_fresh() -> None:
    assert "hush" not in repr(Outer(secret_word="hush"))
    assert Outer().inner == Inner()
