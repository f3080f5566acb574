from __future__ import annotations

from dataclasses import dataclass

import pytest

from proxy.core.errors import CallerFault
from proxy.server.router import ANY, Router


@dataclass(frozen=True)
class Row:
    method: str
    path: str


ROWS = (
    Row("POST", "/v1/chat"),
    Row("GET", "/v1/models"),
    Row("GET", "/v1/models/{id:*}"),
    Row("GET", "/v1/responses/{id}"),
    Row("DELETE", "/v1/responses/{id}"),
    Row("POST", "/v1/responses/{id}/cancel"),
    Row(ANY, "/v1/{rest:*}"),
    Row(ANY, "/providers/{provider}/{rest:*}"),
    Row("OPTIONS", "/both"),
    Row(ANY, "/both"),
)


def test_a_base_url_that_lacks_its_end_is_told(router: Router[Row]) -> None:
    with pytest.raises(CallerFault) as caught:
        router.match("POST", "/chat")
    assert "/v1/chat is one: the base URL of clients ends in /v1" in str(caught.value)
    for path in ("/chat/", "/nowhere", "/tools"):
        with pytest.raises(CallerFault, match=r"There is no such route\.$"):
            router.match("POST", path)


@pytest.fixture
def router() -> Router[Row]:
    return Router(ROWS, ("/v1/tools", "/v1/images/store"))


@pytest.mark.parametrize(
    ("method", "path", "row", "params"),
    [
        ("POST", "/v1/chat", ROWS[0], {}),
        ("GET", "/v1/models", ROWS[1], {}),
        ("GET", "/v1/models/a/b:c", ROWS[2], {"id": "a/b:c"}),
        ("GET", "/v1/responses/r1", ROWS[3], {"id": "r1"}),
        ("DELETE", "/v1/responses/r1", ROWS[4], {"id": "r1"}),
        ("POST", "/v1/responses/r1/cancel", ROWS[5], {"id": "r1"}),
        ("GET", "/v1/files/f/content", ROWS[6], {"rest": "files/f/content"}),
        ("GET", "/v1/", ROWS[6], {"rest": ""}),
        ("GET", "/v1/a\nb", ROWS[6], {"rest": "a\nb"}),
        ("PUT", "/providers/box/x/y", ROWS[7], {"provider": "box", "rest": "x/y"}),
        ("OPTIONS", "/both", ROWS[8], {}),
        ("BREW", "/both", ROWS[9], {}),
    ],
)
def test_a_path_leads_to_its_most_specific_row(
    router: Router[Row], method: str, path: str, row: Row, params: dict[str, str]
) -> None:
    match = router.match(method, path)
    assert match.row == row
    assert match.params == params


def test_head_is_answered_where_get_is(router: Router[Row]) -> None:
    assert router.match("HEAD", "/v1/models").row == ROWS[1]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat", ("POST",)),
        ("HEAD", "/v1/chat", ("POST",)),
        ("PUT", "/v1/models", ("GET", "HEAD")),
        ("POST", "/v1/models/x", ("GET", "HEAD")),
        ("PATCH", "/v1/responses/x", ("GET", "DELETE", "HEAD")),
    ],
)
def test_a_known_path_with_another_method_goes_nowhere_else(
    router: Router[Row], method: str, path: str, allowed: tuple[str, ...]
) -> None:
    with pytest.raises(CallerFault) as refused:
        router.match(method, path)
    assert refused.value.code == "method_not_allowed"
    assert router.allowed(path) == allowed


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/v2/chat",
        "/V1/chat",
        "//v1/chat",
        "/v1",
        "/providers/box",
        "/providers//x",
        "/v1/tools",
        "/v1/tools/",
        "/v1/tools/x/y",
        "/v1/images/store",
        "/v1/images/store/x",
    ],
)
def test_no_row_and_reserved_paths_are_not_found(
    router: Router[Row], path: str
) -> None:
    with pytest.raises(CallerFault) as refused:
        router.match("POST", path)
    assert refused.value.code == "not_found"
    assert router.allowed(path) == ()


def test_a_reserved_name_reserves_no_longer_one(router: Router[Row]) -> None:
    assert router.match("POST", "/v1/toolsmith").row == ROWS[6]
    assert router.match("POST", "/v1/images/storefront").row == ROWS[6]
