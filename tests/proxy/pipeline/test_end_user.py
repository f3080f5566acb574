from __future__ import annotations

import pytest

from providers.wire.members import read_members
from proxy.pipeline.end_user import end_user


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"user":"bob"}', "bob"),
        (b'{"metadata":{"user_id":"bob"}}', "bob"),
        (b'{"user":"bob","metadata":{"user_id":"alice"}}', "bob"),
        (b"{}", None),
        (b'{"user":""}', None),
        (b'{"user":7}', None),
        (b'{"metadata":"odd"}', None),
    ],
)
def test_the_body_names_who_it_is_for(body: bytes, found: str | None) -> None:
    assert end_user(read_members(body)) == found


def test_a_long_name_is_cut() -> None:
    found = end_user(read_members(b'{"user":"%b"}' % (b"x" * 5000)))
    assert found == "x" * 256
