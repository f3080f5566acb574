from __future__ import annotations

import pytest

from providers.base import Reach
from providers.reach import Paths

PATHS = Paths(
    inference={"POST /chat", "GET /models/*"},
    metadata={"GET /", "GET /models", "GET /models/secret"},
    owner={"GET /models/hidden/*", "POST /pull", "POST /chat/control"},
)


@pytest.mark.parametrize(
    ("method", "path", "reach"),
    [
        ("POST", "/chat", Reach.INFERENCE),
        ("GET", "/models/a/b:7b", Reach.INFERENCE),
        ("GET", "/", Reach.METADATA),
        ("HEAD", "/", Reach.METADATA),
        ("HEAD", "/models", Reach.METADATA),
        ("GET", "/models/secret", Reach.METADATA),
        ("GET", "/models/hidden/x", Reach.OWNER),
        ("POST", "/pull", Reach.OWNER),
        ("POST", "/chat/control", Reach.OWNER),
        ("POST", "/", Reach.OWNER),
        ("HEAD", "/chat", Reach.OWNER),
        ("POST", "/models/x", Reach.OWNER),
        ("GET", "/modelsx", Reach.OWNER),
        ("GET", "/models/...", Reach.INFERENCE),
        ("GET", "/models/..", Reach.OWNER),
        ("GET", "/models/../chat", Reach.OWNER),
        ("GET", "/models/.hidden", Reach.INFERENCE),
        ("GET", "", Reach.OWNER),
    ],
)
def test_what_no_rule_names_is_the_owners(method: str, path: str, reach: Reach) -> None:
    assert PATHS.classify(method, path) is reach


def test_the_stricter_rule_wins_where_two_name_a_path() -> None:
    paths = Paths({"GET /a", "GET /b"}, {"GET /a"}, {"GET /b"})
    assert paths.classify("GET", "/a") is Reach.METADATA
    assert paths.classify("GET", "/b") is Reach.OWNER


@pytest.mark.parametrize(
    ("method", "path", "kept"),
    [
        ("POST", "/pull", True),
        ("GET", "/models/hidden/x", True),
        ("HEAD", "/models/hidden/x", True),
        ("POST", "/pull/", True),
        ("POST", "//pull", True),
        ("POST", "/pull;x", True),
        ("POST", "/chat", False),
        ("GET", "/models", False),
        ("POST", "/brand-new", False),
    ],
)
def test_what_a_rule_keeps_is_kept_however_it_is_written(
    method: str, path: str, kept: bool
) -> None:
    assert PATHS.keeps(method, path) is kept
