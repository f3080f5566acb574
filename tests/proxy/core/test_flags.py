from __future__ import annotations

import pytest

from proxy.core.errors import CallerFault
from proxy.core.flags import BAD_USAGE, FAILED, by_flag

FLAGS = {"since": "--last", "requests_rate": "--requests"}


@pytest.mark.parametrize(
    ("code", "param", "message", "said"),
    [
        ("invalid_field", "since", "`since` is a time.", ("--last is a time.", 2)),
        (
            "invalid_field", "requests_rate", "requests_rate should read like 1/day.",
            ("--requests should read like 1/day.", 2),
        ),
        ("invalid_field", "since", "That is no time.", ("--last: That is no time.", 2)),
        ("invalid_field", "other", "`other` is odd.", ("`other` is odd.", 2)),
        ("missing_field", None, "There is none.", ("There is none.", 2)),
        ("not_found", "id", "No request is kept.", ("No request is kept.", 1)),
    ],
)  # fmt: skip
def test_a_field_is_called_by_its_flag(
    code: str, param: str | None, message: str, said: tuple[str, int]
) -> None:
    assert by_flag(CallerFault(code, message, param=param), FLAGS) == said
    assert said[1] in (FAILED, BAD_USAGE)
