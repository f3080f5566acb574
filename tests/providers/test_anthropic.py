"""What is special about Anthropic's own API."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from providers.anthropic import Anthropic
from providers.base import (
    NATIVE,
    OPERATIONS,
    Prepared,
    ProbeReply,
    Reach,
    Request,
    Settings,
)
from providers.errors import Blame, Fault
from providers.wire.dialect import Dialect
from providers.wire.translate.codecs import CODECS
from tests.contract.servers import ANTHROPIC

URL = "https://api.anthropic.com"
KEY = "sk-ant-key-of-ours"


def make(**changes: Any) -> Anthropic:
    return Anthropic(Settings(**{"id": "p", "base_url": URL, "key": KEY} | changes))


def prepared(
    adapter: Anthropic,
    *headers: tuple[str, str],
    model: str = "claude-sonnet-4-5",
    fields: Iterable[str] = ("model", "messages", "max_tokens"),
    operation: str = "messages",
) -> Prepared:
    request = Request(
        OPERATIONS[operation], model, model, False, frozenset(fields), headers
    )
    return adapter.prepare(request)


def fault(status: int, kind: str, message: str, *headers: tuple[str, str]) -> Fault:
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return make().interpret(status, headers, json.dumps(body).encode())


def test_a_version_is_said_where_the_caller_says_none() -> None:
    adapter = make()
    for sent in (
        prepared(adapter).headers,
        adapter.passage("/v1/messages", ()).headers,
        adapter.probe_headers(),
    ):
        assert dict(sent)["anthropic-version"] == "2023-06-01"
        assert dict(sent)["x-api-key"] == KEY


def test_the_callers_version_goes_on() -> None:
    newer = ("anthropic-version", "2026-10-21")
    sent = prepared(make(), newer).headers
    assert [pair for pair in sent if pair[0] == newer[0]] == [newer]
    passed = make().passage("/v1/messages", (newer,)).headers
    assert [pair for pair in passed if pair[0] == newer[0]] == [newer]


def test_the_operators_version_wins() -> None:
    adapter = make(headers=(("Anthropic-Version", "2024-01-01"),))
    sent = prepared(adapter, ("anthropic-version", "2026-10-21")).headers
    assert [value for name, value in sent if name == "anthropic-version"] == [
        "2024-01-01"
    ]
    assert dict(adapter.probe_headers())["anthropic-version"] == "2024-01-01"


def test_unknown_beta_flags_are_left_out_and_told() -> None:
    sent = prepared(
        make(),
        ("anthropic-beta", "claude-code-20250219,unheard-of-2026-01-01"),
        ("anthropic-beta", "context-1m-2025-08-07, bad\x7fone"),
    )
    assert [value for name, value in sent.headers if name == "anthropic-beta"] == [
        "claude-code-20250219,context-1m-2025-08-07"
    ]
    assert sent.dropped == (
        "anthropic-beta:unheard-of-2026-01-01",
        "anthropic-beta:?",
    )


def test_known_beta_flags_go_as_they_came() -> None:
    flags = ("anthropic-beta", "interleaved-thinking-2025-05-14,  oauth-2025-04-20")
    sent = prepared(make(), flags)
    assert flags in sent.headers
    assert sent.dropped == ()


def test_the_operators_flags_are_not_judged() -> None:
    adapter = make(headers=(("anthropic-beta", "private-preview-2026-01-01"),))
    assert ("anthropic-beta", "private-preview-2026-01-01") in prepared(adapter).headers


def test_what_a_model_refuses_is_dropped_and_told() -> None:
    fields = ("model", "messages", "max_tokens", "temperature", "top_k", "min_p")
    newest = prepared(make(), model="claude-opus-4-8", fields=fields)
    assert newest.drop_fields == {"temperature", "top_k", "min_p"}
    assert newest.dropped == ("min_p", "temperature", "top_k")
    older = prepared(make(), model="claude-haiku-4-5", fields=fields)
    assert older.dropped == ("min_p",)


def test_everything_that_talks_is_translated_into_messages() -> None:
    adapter = make()
    for operation in (
        OPERATIONS["chat"],
        OPERATIONS["responses"],
        NATIVE["ollama_chat"],
        NATIVE["ollama_generate"],
    ):
        assert adapter.way(operation) is OPERATIONS["messages"]
    assert adapter.way(OPERATIONS["count_tokens"]) is OPERATIONS["count_tokens"]
    for name in ("embeddings", "completions", "speech", "rerank"):
        assert adapter.way(OPERATIONS[name]) is None


def test_a_translated_request_is_written_for_its_model() -> None:
    newest = make().target_of("claude-opus-4-7")
    assert newest.drops == {"temperature", "top_p", "top_k"}
    assert newest.thinks_by_effort
    older = make().target_of("claude-haiku-4-5")
    assert (older.drops, older.thinks_by_effort) == (frozenset(), False)


def test_who_cannot_be_kept_from_thinking_is_not_told_to() -> None:
    body = {"model": "alias", "messages": [{"role": "user", "content": "hi"}]}
    read = CODECS[Dialect.CHAT].read_request
    off = read({**body, "reasoning_effort": "none"})
    suited, left = make().suit(off, "claude-opus-5-5")
    assert (suited.thinking, left) == (None, ("reasoning_effort",))
    assert make().suit(off, "claude-opus-4-8") == (off, ())
    low = read({**body, "reasoning_effort": "low"})
    assert make().suit(low, "claude-opus-5-5") == (low, ())
    assert make().suit(read(body), "claude-opus-5-5") == (read(body), ())


@pytest.mark.parametrize(
    ("status", "kind", "message", "blame"),
    [
        (400, "invalid_request_error", "max_tokens: Field required", Blame.CALLER),
        (401, "authentication_error", "invalid x-api-key", Blame.KEY),
        (402, "billing_error", "pay", Blame.BROKEN),
        (403, "permission_error", "no", Blame.KEY),
        (404, "not_found_error", "model: claude-x", Blame.CALLER),
        (413, "request_too_large", "Request exceeds the maximum size", Blame.CALLER),
        (429, "rate_limit_error", "slow", Blame.RATE),
        (500, "api_error", "Internal server error", Blame.BROKEN),
        (504, "timeout_error", "late", Blame.BROKEN),
        (529, "overloaded_error", "Overloaded", Blame.OVERLOADED),
    ],
)
def test_its_errors_are_told_apart(
    status: int, kind: str, message: str, blame: Blame
) -> None:
    found = fault(status, kind, message)
    assert (found.blame, found.status, found.type) == (blame, status, kind)
    assert message in found.message


def test_an_empty_account_is_no_fault_of_the_caller() -> None:
    said = "Your credit balance is too low to access the Anthropic API."
    found = fault(400, "invalid_request_error", said)
    assert (found.blame, found.status) == (Blame.BROKEN, 402)
    shut = fault(400, "invalid_request_error", "This organization has been disabled.")
    assert shut.blame is Blame.KEY


def test_a_prompt_that_is_too_long_is_known_for_one() -> None:
    for said in (
        "prompt is too long: 208310 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 1 + 2 > 3",
    ):
        assert fault(400, "invalid_request_error", said).exceeds_context
    assert not fault(400, "invalid_request_error", "messages: empty").exceeds_context


def test_how_long_to_wait_is_heeded() -> None:
    found = fault(429, "rate_limit_error", "slow", ("retry-after", "17"))
    assert found.retry_after_s == 17


def test_its_list_tells_windows_limits_and_skills() -> None:
    adapter = make()
    found = adapter.read_listing(ANTHROPIC.replies_for(adapter))
    assert found is not None
    newest, older = found.models
    assert (newest.context_window, newest.max_tokens) == (1_000_000, 128_000)
    assert newest.capabilities == {"functionCalling", "jsonMode", "reasoning", "vision"}
    assert newest.inputs == ("text", "image")
    assert newest.created == 1_790_640_000
    assert (older.context_window, older.created, older.inputs) == (None, None, ())


@pytest.mark.parametrize("moment", ["", "soon", "9999999-01-01", 5, None])
def test_an_odd_date_is_none(moment: object) -> None:
    body = {"data": [{"type": "model", "id": "m", "created_at": moment}]}
    reply = ProbeReply(200, json.dumps(body).encode())
    found = make().read_listing({"models": reply})
    assert found is not None
    assert found.models[0].created is None


def test_batches_and_files_are_the_owners() -> None:
    adapter = make()
    for asked in (
        "POST /v1/messages/batches",
        "GET /v1/messages/batches",
        "GET /v1/messages/batches/b_1/results",
        "POST /v1/files",
        "GET /v1/files/f_1/content",
        "GET /v1/organizations/me",
    ):
        assert adapter.reach(*asked.split(" ")) is Reach.OWNER
    for asked in ("POST /v1/messages", "POST /v1/messages/count_tokens"):
        assert adapter.reach(*asked.split(" ")) is Reach.INFERENCE
