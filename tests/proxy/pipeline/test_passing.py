"""Calls that pass through as they are: their models are read where that matters."""

from __future__ import annotations

import gzip
import json

import pytest

from providers.base import Settings
from providers.gemini import Gemini
from tests.parts.http_text import Message, post, whole
from tests.parts.inside import OpenSite
from tests.parts.keys import bearer, guarded_site, issue
from tests.parts.scripts import answers, ask
from tests.parts.until import until

PATH = "/providers/box/v1/chat/completions"
ANSWER = (
    b'{"object":"chat.completion","choices":[{"index":0}],'
    b'"usage":{"prompt_tokens":0,"completion_tokens":25}}'
)
MODELS = [
    {
        "id": "tiny",
        "providerId": "box",
        "upstreamModel": "org/tiny",
        "pricing": {"inputPer1M": 0, "outputPer1M": 10_000},
    },
    {"id": "other", "providerId": "box"},
]


def named(model: str, more: str = "") -> bytes:
    return f'{{"model": "{model}", "messages": []{more}}}'.encode()


def code(reply: Message) -> tuple[int, str | None]:
    found = json.loads(reply.body)
    return reply.status, found["error"]["code"] if "error" in found else None


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (named("org/tiny"), (200, None)),
        (named("box/org/tiny"), (403, "model_not_allowed")),
        (named("other"), (403, "model_not_allowed")),
        (named("nobody-knows"), (403, "model_not_allowed")),
        (b'{"messages": []}', (403, "model_not_allowed")),
        (named("org/tiny", ', "Model": "other"'), (400, "invalid_field")),
        (named("org/tiny", ', "model": "other"'), (400, "invalid_json")),
        (named("org/tiny", ', "models": ["other"]'), (403, "model_not_allowed")),
        (named("org/tiny", ', "models": [7]'), (403, "model_not_allowed")),
        (b"[]", (400, "invalid_json")),
        (b'{"model": 7}', (400, "invalid_field")),
    ],
)
async def test_a_list_of_models_holds_for_what_passes_through(
    body: bytes, found: tuple[int, str | None]
) -> None:
    async with guarded_site(answers(whole(ANSWER)), models=MODELS) as site:
        key = bearer((await issue(site, models=("tiny",))).secret)
        reply = await site.ask(post(PATH, body, key))
        assert code(reply) == found
        sent = [request.body for request in site.upstream.requests]
        assert sent == ([body] if reply.status == 200 else [])


@pytest.mark.parametrize("more", [', "MODEL": "other"', ', "models": ["other"]'])
async def test_no_second_name_gets_past_a_list_on_model_routes(more: str) -> None:
    async with guarded_site(answers(whole(ANSWER)), models=MODELS) as site:
        key = bearer((await issue(site, models=("tiny",))).secret)
        reply = await site.ask(post("/v1/chat/completions", named("tiny", more), key))
        assert reply.status in (400, 403)
        llm = f'{{"model":"tiny","messages":[{{"role":"user"}}],"options":{{{more[1:]}}}}}'
        assert (await site.ask(post("/llm", llm.encode(), key))).status in (400, 403)
        assert not site.upstream.requests


async def test_a_compressed_body_is_read_and_goes_on_as_it_came() -> None:
    async with guarded_site(answers(whole(ANSWER)), models=MODELS) as site:
        key = bearer((await issue(site, models=("tiny",))).secret)
        for model, status in (("org/tiny", 200), ("other", 403)):
            body = gzip.compress(named(model))
            reply = await site.ask(post(PATH, body, key, "content-encoding: gzip"))
            assert reply.status == status
        [sent] = site.upstream.requests
        assert gzip.decompress(sent.body) == named("org/tiny")


async def test_forms_and_other_paths_are_shut_to_who_has_a_list() -> None:
    async with guarded_site(answers(whole(ANSWER)), models=MODELS) as site:
        key = bearer((await issue(site, models=("*",))).secret)
        form = "content-type: multipart/form-data; boundary=x"
        reply = await site.ask(
            ask("POST", "/providers/box/v1/audio/transcriptions", key, form, body=b"x")
        )
        assert code(reply) == (403, "model_not_allowed")
        reply = await site.ask(ask("GET", "/providers/box/v1/models", key))
        assert code(reply) == (403, "model_not_allowed")


async def test_who_has_no_list_is_not_read(open_site: OpenSite) -> None:
    limits = {"default": {"requests": "2/day"}}
    site = await open_site(answers(whole(ANSWER)), rateLimits=limits)
    assert (await site.ask(post(PATH, b"no json"))).status == 200
    assert (await site.ask(post(PATH, named("tiny")))).status == 200
    reply = await site.ask(post(PATH, named("tiny")))
    assert code(reply) == (429, "rate_limit_exceeded")
    assert reply.header("x-ratelimit-remaining-requests") == "0"
    # What is no inference is not limited.
    for _ in range(3):
        reply = await site.ask(ask("GET", "/providers/box/v1/models"))
        assert reply.status == 200


async def test_a_models_limit_counts_pass_through(open_site: OpenSite) -> None:
    limits = {"byModel": {"tiny": {"requests": "2/day"}}}
    site = await open_site(answers(whole(ANSWER)), rateLimits=limits, models=MODELS)
    assert (await site.ask(post(PATH, named("org/tiny")))).status == 200
    assert (await site.ask(post("/v1/chat/completions", named("tiny")))).status == 200
    assert (await site.ask(post(PATH, named("org/tiny")))).status == 429
    assert (await site.ask(post(PATH, named("other")))).status == 200


async def test_a_budget_pays_for_what_passes_through() -> None:
    async with guarded_site(answers(whole(ANSWER)), models=MODELS) as site:
        key = bearer((await issue(site, daily_usd=0.5)).secret)
        body = named("org/tiny", ', "max_tokens": 25')
        statuses = [(await site.ask(post(PATH, body, key))).status for _ in range(3)]
        assert statuses == [200, 200, 402]
        record = site.records[0]
        assert (record.model, record.cost_usd) == ("org/tiny", pytest.approx(0.25))


async def test_tokens_of_what_passes_through_are_settled(open_site: OpenSite) -> None:
    limits = {"default": {"tokens": "10000/day"}}
    site = await open_site(answers(whole(ANSWER)), rateLimits=limits)
    await site.ask(post(PATH, named("tiny")))
    await until(lambda: site.records, "the record")
    reply = await site.ask(post(PATH, named("tiny")))
    size = (len(named("tiny")) + 3) // 4
    left = int(reply.header("x-ratelimit-remaining-tokens") or 0)
    assert left == 10_000 - 25 - size - 1024


def test_gemini_names_its_model_in_the_path() -> None:
    adapter = Gemini(Settings("g", "https://generativelanguage.googleapis.com"))
    path = "/v1beta/models/gemini-2.5-flash:generateContent"
    assert adapter.model_in(path) == "gemini-2.5-flash"
    assert adapter.model_in("/v1beta/openai/chat/completions") is None
