from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from proxy.config import Config
from proxy.config.schema_policy import AuthConfig
from proxy.core.errors import CATALOGUE
from proxy.routing.discovery import GATEWAY_NAME
from proxy.web.errors import errors
from proxy.web.home import home
from proxy.web.page import Html, element, page, table
from tests.fakes.kinds import provider
from tests.fakes.site import Context, context, serving

ROUTES = {"/": home, "/errors": errors}
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
EVIL = "<script>alert(1)</script>\"'&"


class Tags(HTMLParser):
    """Collects tags and attributes, and fails on what is not balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.values: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.values += [f"{name}={value}" for name, value in attrs]
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


async def read(
    known: Context, path: str = "/", **headers: str
) -> tuple[dict[str, str], str]:
    async with serving(known, ROUTES) as ask:
        response = await ask(path, headers=headers)
        assert response.status == 200
        return {
            k.lower(): v for k, v in response.headers.items()
        }, await response.text()


async def test_page_says_what_was_found_and_the_address() -> None:
    known = context([provider("spark", "qwen")])
    headers, text = await read(known, **BROWSER, host="gateway.lan:3500")
    seen = Tags(text)
    assert headers["content-type"].startswith("text/html")
    for word in ("http://gateway.lan:3500/v1", "spark", "qwen", "online", "1.2.3"):
        assert word in seen.text
    for path in ("/v1/models", "/health?verbose=1", "/metrics", "/errors"):
        assert f"href={path}" in seen.values


async def test_page_runs_and_loads_nothing() -> None:
    headers, text = await read(context([provider("spark", "qwen")]), **BROWSER)
    assert "default-src 'none'" in headers["content-security-policy"]
    seen = Tags(text)
    assert not {"script", "img", "link", "iframe"} & set(seen.tags)
    assert not re.search(r"(src|href)=.?(https?:)?//", text)


async def test_what_servers_say_is_only_text() -> None:
    bad = provider("spark", EVIL)
    bad.last_error = EVIL
    _, text = await read(context([bad]), **BROWSER)
    assert "<script" not in text
    assert EVIL in Tags(text).text


async def test_page_with_nothing_found_says_what_to_do() -> None:
    _, text = await read(context(), **BROWSER)
    assert "None was found" in text


async def test_page_cuts_a_long_list() -> None:
    _, text = await read(context([provider("a", *(f"m{n}" for n in range(150)))]))
    assert "50 more" in Tags(text).text


async def test_page_keeps_addresses_back_with_authentication_on() -> None:
    made = provider("spark", "qwen")
    made.last_error = "secret detail"
    config = Config(auth=AuthConfig(enabled=True))
    _, text = await read(context([made], config), **BROWSER)
    assert "spark.lan" not in text
    assert "secret detail" not in text
    assert "spark" in text


async def test_json_for_who_accepts_only_that() -> None:
    known = context([provider("spark", "qwen")])
    headers, text = await read(known, accept="application/json", host="g.lan:1")
    document = json.loads(text)
    assert headers["content-type"].startswith("application/json")
    assert document["name"] == GATEWAY_NAME
    assert document["base_url"] == "http://g.lan:1/v1"
    assert document["providers"] == [
        {"id": "spark", "kind": "vllm", "status": "online", "models": 1}
    ]


@pytest.mark.parametrize("accept", ["*/*", "application/json, */*", "text/html"])
async def test_a_page_for_all_others(accept: str) -> None:
    headers, _ = await read(context(), accept=accept)
    assert headers["content-type"].startswith("text/html")


async def test_errors_are_a_list_of_the_whole_catalogue() -> None:
    headers, text = await read(context(), "/errors")
    assert headers["content-type"].startswith("application/json")
    entries = json.loads(text)
    assert [entry["code"] for entry in entries] == list(CATALOGUE)
    assert set(entries[0]) == {
        "code", "type", "http_status", "title", "description", "remediation",
        "typical_param",
    }  # fmt: skip


async def test_errors_are_a_page_for_a_browser() -> None:
    _, text = await read(context(), "/errors", **BROWSER)
    seen = Tags(text)
    assert all(code in seen.text for code in CATALOGUE)


def test_elements_escape_all_but_markup() -> None:
    assert element("p", "<b>", Html("<i></i>")) == "<p>&lt;b&gt;<i></i></p>"
    assert "<td>&lt;</td>" in table(("h",), [("<",)])
    assert "<title>&lt;</title>" in page("<")
