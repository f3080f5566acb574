"""What an operator imposes on the requests of a model or provider."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.parts.http_text import Message, post
from tests.parts.inside import CHAT, MESSAGES, RESPONSES, OpenSite, Site
from tests.parts.keys import bearer, guarded_site, issue
from tests.parts.scripts import error_of

TURN = {"role": "user", "content": "Hi"}
FLOOR = {"minMaxTokens": 200}
INLINE = "data:image/png;base64,AAAA"
REMOTE = "https://pictures.example/cat.png"


def constrained(**constraints: Any) -> dict[str, Any]:
    model = {"id": "tiny", "providerId": "box", "constraints": constraints}
    return {"models": [model]}


async def asked(site: Site, path: str, **members: Any) -> Message:
    body = {"model": "tiny", **members}
    return await site.ask(post(path, json.dumps(body).encode()))


def sent(site: Site) -> Any:
    return json.loads(site.upstream.requests[-1].body)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (CHAT, "max_tokens"),
        (CHAT, "max_completion_tokens"),
        ("/v1/completions", "max_tokens"),
        (MESSAGES, "max_tokens"),
        (RESPONSES, "max_output_tokens"),
    ],
)
@pytest.mark.parametrize("fast", [True, False])
async def test_too_low_a_limit_is_raised_and_told(
    open_site: OpenSite, path: str, name: str, fast: bool
) -> None:
    site = await open_site(fast=fast, **constrained(**FLOOR))
    members: dict[str, Any] = {"messages": [TURN], "input": "Hi", "prompt": "Hi"}
    for given, gets in ((199, 200), (200, 200), (0, 200), (4096, 4096), (7, 200)):
        reply = await asked(site, path, **members, **{name: given})
        assert sent(site)[name] == gets
        told = f"{name}_floored=200" if given < gets else None
        assert reply.header("x-proxy-applied") == told


@pytest.mark.parametrize("members", [{}, {"max_tokens": None}, {"max_tokens": -1}])
async def test_no_limit_stays_none(
    open_site: OpenSite, members: dict[str, Any]
) -> None:
    site = await open_site(**constrained(**FLOOR))
    reply = await asked(site, CHAT, messages=[TURN], **members)
    assert sent(site) == {"model": "tiny", "messages": [TURN], **members}
    assert reply.header("x-proxy-applied") is None


async def test_what_the_operator_sets_stays(open_site: OpenSite) -> None:
    model = {"id": "tiny", "providerId": "box", "constraints": FLOOR,
             "params": {"set": {"max_tokens": 50}}}  # fmt: skip
    site = await open_site(models=[model])
    await asked(site, CHAT, messages=[TURN], max_tokens=9)
    assert sent(site)["max_tokens"] == 50


async def test_ollamas_own_limit_is_raised_too(open_site: OpenSite) -> None:
    site = await open_site(provider={"kind": "ollama"}, **constrained(**FLOOR))
    options = {"num_predict": 5, "top_k": 3}
    await asked(site, "/api/chat", messages=[TURN], options=options, stream=False)
    assert sent(site)["options"] == {"num_predict": 200, "top_k": 3}


def tuned(kind: str = "ollama", **params: Any) -> dict[str, Any]:
    model = {"id": "tiny", "providerId": "box", "params": params}
    return {"provider": {"kind": kind}, "models": [model]}


async def test_what_ollama_reads_in_options_is_set_there(open_site: OpenSite) -> None:
    values = {"num_ctx": 65536, "max_tokens": 9, "keep_alive": -1}
    site = await open_site(**tuned(set=values))
    reply = await asked(site, "/api/chat", messages=[TURN], stream=False)
    assert sent(site) == {
        "model": "tiny", "messages": [TURN], "stream": False, "keep_alive": -1,
        "options": {"num_ctx": 65536, "num_predict": 9},
    }  # fmt: skip
    told = "set=num_ctx, set=max_tokens, set=keep_alive"
    assert reply.header("x-proxy-applied") == told


async def test_of_options_the_caller_keeps_what_is_not_set(open_site: OpenSite) -> None:
    given = {"set": {"num_ctx": 4096}, "defaults": {"temperature": 0.2, "seed": 1},
             "strip": ["top_k", "top_p"]}  # fmt: skip
    site = await open_site(**tuned(**given))
    for seed in (7, 8):  # nothing of one request is remembered for the next
        options = {"seed": seed, "num_ctx": 1, "top_k": 5}
        reply = await asked(
            site, "/api/generate", prompt="Hi", options=options, stream=False
        )
        expected = {"seed": seed, "num_ctx": 4096, "temperature": 0.2}
        assert sent(site)["options"] == expected
        told = "set=temperature, set=num_ctx, dropped=top_k"
        assert reply.header("x-proxy-applied") == told


async def test_a_limit_is_raised_beside_what_is_set(open_site: OpenSite) -> None:
    settings = tuned(set={"num_ctx": 4096})
    settings["models"][0]["constraints"] = FLOOR
    site = await open_site(**settings)
    options = {"num_predict": 5}
    await asked(site, "/api/chat", messages=[TURN], options=options, stream=False)
    assert sent(site)["options"] == {"num_predict": 200, "num_ctx": 4096}


@pytest.mark.parametrize("options", [5, "x", [1]])
async def test_options_that_are_none_are_ollamas_to_refuse(
    open_site: OpenSite, options: Any
) -> None:
    site = await open_site(**tuned(set={"num_ctx": 4096}))
    await asked(site, "/api/chat", messages=[TURN], options=options, stream=False)
    assert sent(site)["options"] == options


async def test_options_reach_who_speaks_another_dialect(open_site: OpenSite) -> None:
    site = await open_site(**tuned("vllm", set={"temperature": 0.5, "max_tokens": 9}))
    await asked(site, "/api/chat", messages=[TURN], stream=False)
    assert sent(site)["temperature"] == 0.5
    assert sent(site)["max_tokens"] == 9


def chat_image(url: str) -> dict[str, Any]:
    part = {"type": "image_url", "image_url": {"url": url}}
    return {"messages": [TURN, {"role": "user", "content": [part]}]}


def message_image(source: dict[str, Any]) -> dict[str, Any]:
    image = {"type": "image", "source": source}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    turn = {"role": "user", "content": [{"type": "text", "text": "see"}, result]}
    return {"messages": [turn], "max_tokens": 9}


def response_image(url: str) -> dict[str, Any]:
    part = {"type": "input_image", "image_url": url}
    return {"input": [{"role": "user", "content": [part]}]}


@pytest.mark.parametrize(
    ("path", "members", "param"),
    [
        (CHAT, chat_image(REMOTE), "messages[1].content[0].image_url.url"),
        (MESSAGES, message_image({"type": "url", "url": REMOTE}),
         "messages[0].content[1].content[0].source.url"),
        (RESPONSES, response_image(REMOTE), "input[0].content[0].image_url"),
    ],
)  # fmt: skip
async def test_an_image_by_url_is_refused(
    open_site: OpenSite, path: str, members: dict[str, Any], param: str
) -> None:
    site = await open_site(**constrained(acceptsImageUrl=False))
    reply = await asked(site, path, **members)
    assert reply.status == 400
    error = error_of(reply)
    assert "images by URL" in error["message"]
    assert error.get("param", param) == param
    assert not site.upstream.requests


@pytest.mark.parametrize(
    ("path", "members"),
    [
        (CHAT, chat_image(INLINE)),
        (MESSAGES, message_image({"type": "base64", "data": "AAAA"})),
        (RESPONSES, response_image(INLINE)),
        (CHAT, {"messages": [{"role": "user", "content": f"image_url {REMOTE}"}]}),
        (CHAT, {"messages": "no list: image_url"}),
    ],
)
async def test_an_inline_image_passes(
    open_site: OpenSite, path: str, members: dict[str, Any]
) -> None:
    site = await open_site(**constrained(acceptsImageUrl=False))
    assert (await asked(site, path, **members)).status == 200
    assert sent(site) == {"model": "tiny", **members}


@pytest.mark.parametrize("accepts", [True, None])
async def test_urls_pass_where_nothing_forbids_them(
    open_site: OpenSite, accepts: bool | None
) -> None:
    site = await open_site(**constrained(acceptsImageUrl=accepts))
    assert (await asked(site, CHAT, **chat_image(REMOTE))).status == 200


@pytest.mark.parametrize("fast", [True, False])
async def test_each_tenant_has_a_salt_of_its_own(fast: bool) -> None:
    salts = []
    async with guarded_site(fast=fast, provider={"cacheSalt": True}) as site:
        for name, tenant in (("a", "one"), ("b", "two"), ("c", "one"), ("d", "one")):
            key = (await issue(site, name, tenant=tenant)).secret
            for own in ({}, {}, {"cache_salt": "of another"}):
                body = {"model": "tiny", "messages": [TURN], **own}
                await site.ask(post(CHAT, json.dumps(body).encode(), bearer(key)))
                salts.append(sent(site)["cache_salt"])
    assert salts[:3] == [salts[0]] * 3
    assert salts[3:6] == [salts[3]] * 3
    assert salts[6:] == [salts[0]] * 6
    assert salts[0] != salts[3]
    assert min(map(len, salts)) >= 32


async def test_a_translated_request_has_its_salt_too(open_site: OpenSite) -> None:
    site = await open_site(provider={"cacheSalt": True})
    await asked(site, "/api/chat", messages=[TURN], stream=False)
    assert site.upstream.requests[-1].target == CHAT
    assert sent(site)["cache_salt"]


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/rerank", MESSAGES])
async def test_no_other_operation_is_salted(open_site: OpenSite, path: str) -> None:
    site = await open_site(provider={"cacheSalt": True})
    await asked(site, path, input="Hi", messages=[TURN], query="q", documents=["d"])
    assert "cache_salt" not in sent(site)


async def test_salts_outlive_a_restart(open_site: OpenSite) -> None:
    site = await open_site(provider={"cacheSalt": True})
    await asked(site, CHAT, messages=[TURN])
    kept = site.runtime.config.data_dir / "cache-salt"
    assert kept.stat().st_mode & 0o077 == 0
    secret = site.runtime.registry.providers[0].salt_secret
    assert kept.read_text().strip().encode() == secret
