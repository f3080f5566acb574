from __future__ import annotations

import pytest

from proxy.auth.credential import credential
from proxy.core.errors import CallerFault
from proxy.core.types import Headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authorization", "Bearer abc"),
        ("authorization", "bearer  abc "),
        ("authorization", "abc"),
        ("x-api-key", "abc"),
        ("api-key", "abc"),
        ("x-goog-api-key", "abc"),
    ],
)
def test_it_is_read_from_any_of_the_usual_fields(name: str, value: str) -> None:
    assert credential(Headers([(name, value)])) == "abc"


@pytest.mark.parametrize("pairs", [[], [("authorization", "")], [("cookie", "abc")]])
def test_there_may_be_none(pairs: list[tuple[str, str]]) -> None:
    assert credential(Headers(pairs)) is None


def test_two_that_agree_are_one() -> None:
    pairs = [("authorization", "Bearer abc"), ("x-api-key", "abc")]
    assert credential(Headers(pairs)) == "abc"


@pytest.mark.parametrize("second", ["x-api-key", "authorization"])
def test_two_that_disagree_are_refused(second: str) -> None:
    with pytest.raises(CallerFault) as caught:
        credential(Headers([("authorization", "Bearer abc"), (second, "abd")]))
    assert (caught.value.code, caught.value.status) == ("invalid_token", 401)
