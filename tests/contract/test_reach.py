"""Whom any adapter lets use which path: what is not known is the owner's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Reach
from providers.registry import KINDS
from tests.contract.kinds import TALKS, USUAL, adapter, every_kind


@every_kind
def test_an_unknown_path_is_the_owners(kind: str) -> None:
    subject = adapter(kind)
    for path in ("/", "/v2/new", "/admin", "/v1/files", "/v1/fine_tuning/jobs", ""):
        if path != "/":
            assert subject.reach("GET", path) is Reach.OWNER
        assert subject.reach("POST", path) is Reach.OWNER
        assert subject.reach("DELETE", path) is Reach.OWNER


@every_kind
def test_its_operations_are_inference_and_its_list_is_metadata(kind: str) -> None:
    subject = adapter(kind, base_url=KINDS[kind].default_url or "http://box.lan")
    _, talk, models = TALKS.get(kind, USUAL)
    assert subject.reach("POST", talk) is Reach.INFERENCE
    assert subject.reach("GET", models) is Reach.METADATA
    assert subject.reach("HEAD", models) is Reach.METADATA
    assert subject.reach("GET", f"{models}/org/name:7b") is Reach.METADATA


@every_kind
def test_the_method_matters(kind: str) -> None:
    subject = adapter(kind)
    talk = TALKS.get(kind, USUAL)[1]
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "post", "PROPFIND"):
        assert subject.reach(method, talk) is Reach.OWNER
    for method in ("POST", "PUT", "DELETE"):
        assert subject.reach(method, "/v1/models/x") is Reach.OWNER


@every_kind
@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/../../api/pull",
        "/v1/models/./x",
        "/v1/models/..",
        "/v1/models/x/.",
        "/v1//models",
        "//v1/models",
        "/v1/models//x",
        "/v1/models/",
        "/v1/models/x/",
        "/v1/chat/completions/",
        "/V1/chat/completions",
        "/v1/chat%2fcompletions",
        "/v1/models/%2e%2e/x",
        "/v1/models/x%00",
        "/v1/models/x\x00",
        "/v1/models/x\n",
        "/v1/models\\..\\x",
        "/v1/models;a=b",
        "/v1/models/x;y",
        "/v1/models?x",
        "/v1/models#x",
        "/v1/models/ünïcode",
        "/v1/models/x y",
        "v1/models",
        "/ /v1/models",
    ],
)
def test_a_path_that_can_be_read_in_two_ways_is_the_owners(
    kind: str, path: str
) -> None:
    for method in ("GET", "POST"):
        assert adapter(kind).reach(method, path) is Reach.OWNER


@every_kind
@given(path=st.text(max_size=30).map(lambda tail: "/v1/" + tail))
def test_reach_answers_for_any_text(kind: str, path: str) -> None:
    reach = adapter(kind).reach("GET", path)
    if "//" in path or "/." in path or "%" in path or "\\" in path:
        assert reach in (Reach.OWNER, Reach.METADATA)
        assert reach is Reach.OWNER or ".." not in path.split("/")
