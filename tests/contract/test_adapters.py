"""What any adapter must do. A new kind is done when this passes with its server."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import (
    ASKABLE,
    OPERATIONS,
    Life,
    Prepared,
    ProbeReply,
    Reach,
    Settings,
)
from providers.errors import Blame
from providers.registry import KINDS, adapter_for
from tests.contract.kinds import KEY, TALKS, USUAL, adapter, ask, every_kind
from tests.contract.servers import SERVERS

CALLERS_SECRET = "lai_callers-secret"
CREDENTIALS = (
    ("authorization", f"Bearer {CALLERS_SECRET}"),
    ("x-api-key", CALLERS_SECRET),
    ("api-key", CALLERS_SECRET),
    ("x-goog-api-key", CALLERS_SECRET),
    ("cookie", f"session={CALLERS_SECRET}"),
    ("proxy-authorization", f"Basic {CALLERS_SECRET}"),
)
HOP_BY_HOP = (
    ("connection", "keep-alive, x-hop"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "keep-alive"),
    ("te", "trailers"),
    ("trailer", "x-sum"),
    ("transfer-encoding", "chunked"),
    ("upgrade", "websocket"),
    ("x-hop", "of this hop"),
    ("host", "gateway.lan"),
    ("content-length", "17"),
)
GOES_ON = (
    ("content-type", "application/json"),
    ("accept", "text/event-stream"),
    ("user-agent", "OpenAI/Python 3.52"),
    ("openai-beta", "assistants=v2"),
    ("anthropic-beta", "interleaved-thinking-2025-05-14"),
    ("anthropic-version", "2026-10-21"),
    ("x-stainless-lang", "python"),
    ("idempotency-key", "idem-1"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("tracestate", "vendor=1"),
)
STAYS = (
    ("accept-encoding", "gzip, br"),
    ("forwarded", "for=10.0.0.9"),
    ("origin", "http://page.example"),
    ("referer", "http://page.example/"),
    ("x-forwarded-for", "10.0.0.9"),
    ("x-request-id", "abc"),
)

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def names(prepared: Prepared) -> list[str]:
    return [name for name, _ in prepared.headers]


# --- declarations


@every_kind
def test_a_kind_is_registered_under_its_own_name(kind: str) -> None:
    assert KINDS[kind].kind == kind
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind)
    assert KINDS[kind].title


@every_kind
def test_declared_operations_are_operations_we_know(kind: str) -> None:
    declared = KINDS[kind].capabilities.operations
    assert TALKS.get(kind, USUAL)[0] in declared
    assert declared <= ASKABLE.keys()


@every_kind
def test_every_kind_can_be_talked_to_in_every_dialect(kind: str) -> None:
    subject = adapter(kind)
    for name in ("chat", "responses", "messages"):
        served_by = subject.way(OPERATIONS[name])
        assert served_by is not None
        assert served_by.name in subject.capabilities.operations
    for name in subject.capabilities.operations:
        assert subject.way(ASKABLE[name]) is ASKABLE[name]


@every_kind
def test_what_is_translated_is_written_for_the_model_asked(kind: str) -> None:
    assert adapter(kind).target_of("some/model:7b").model == "some/model:7b"


@every_kind
def test_a_cloud_says_where_it_is_and_which_variable_holds_its_key(kind: str) -> None:
    cls = KINDS[kind]
    if cls.capabilities.local:
        assert all(0 < port < 65536 for port in cls.usual_ports)
        return
    assert (cls.default_url or "").startswith("https://")
    assert cls.key_variables
    assert cls.usual_ports == ()
    assert cls.probe_interval_s >= 60
    assert cls.capabilities.default_slots is None


@every_kind
def test_probes_only_read_and_have_names_of_their_own(kind: str) -> None:
    cls = KINDS[kind]
    for probe in (cls.liveness, *cls.listing):
        assert (probe.method, probe.body) == ("GET", b"")
        assert probe.path.startswith("/")
    assert len({probe.name for probe in cls.listing}) == len(cls.listing) > 0


@every_kind
def test_every_probe_is_of_a_path_that_counts_as_metadata(kind: str) -> None:
    subject = adapter(kind)
    for probe in (subject.liveness, *subject.listing):
        path = probe.path.partition("?")[0]
        assert subject.reach(probe.method, path) is Reach.METADATA


def test_a_kind_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"'vlm'.*vllm, ollama"):
        adapter_for("vlm", Settings("p", "http://box.lan"))


# --- prepare


@every_kind
def test_no_credential_of_the_caller_leaves(kind: str) -> None:
    for prepared in (
        adapter(kind).prepare(ask(CREDENTIALS + GOES_ON)),
        adapter(kind).passage("/v1/models", CREDENTIALS + GOES_ON),
        adapter(kind, key=None).prepare(ask(CREDENTIALS)),
        adapter(
            kind, forward_headers=frozenset(name for name, _ in CREDENTIALS)
        ).prepare(ask(CREDENTIALS)),
    ):
        assert CALLERS_SECRET not in repr(prepared)


@every_kind
def test_the_providers_own_key_goes_once_everywhere(kind: str) -> None:
    subject = adapter(kind)
    for headers in (
        subject.prepare(ask(CREDENTIALS)).headers,
        subject.passage("/v1/models", CREDENTIALS).headers,
        subject.probe_headers(),
    ):
        assert sum(KEY in value for _, value in headers) == 1


@every_kind
def test_without_a_key_nothing_is_invented(kind: str) -> None:
    prepared = adapter(kind, key=None).prepare(ask())
    assert not set(names(prepared)) & {"authorization", "x-api-key", "api-key"}


@every_kind
def test_the_key_takes_the_form_that_the_operator_chose(kind: str) -> None:
    bearer = adapter(kind, auth_type="bearer").prepare(ask()).headers
    assert ("authorization", f"Bearer {KEY}") in bearer
    api_key = adapter(kind, auth_type="api_key").prepare(ask()).headers
    assert ("x-api-key", KEY) in api_key


@every_kind
def test_with_forward_auth_the_callers_credential_goes_instead_of_ours(
    kind: str,
) -> None:
    subject = adapter(kind, forward_auth=True)
    for prepared in (
        subject.prepare(ask(CREDENTIALS)),
        subject.passage("/v1/models", CREDENTIALS),
    ):
        assert CREDENTIALS[0] in prepared.headers
        assert not {"cookie", "proxy-authorization"} & set(names(prepared))
        assert KEY not in repr(prepared)
    fault = subject.interpret(401, (), b"{}")
    assert fault.blame is Blame.CALLER


@every_kind
def test_only_the_allow_list_goes_on(kind: str) -> None:
    prepared = adapter(kind).prepare(ask(GOES_ON + STAYS + HOP_BY_HOP))
    assert set(GOES_ON) <= set(prepared.headers)
    assert ("accept-encoding", "identity") in prepared.headers
    sent = set(names(prepared)) - {"accept-encoding"}
    assert not sent & {name for name, _ in STAYS + HOP_BY_HOP}


@every_kind
def test_the_operator_may_forward_more_headers(kind: str) -> None:
    subject = adapter(kind, forward_headers=frozenset({"X-Team", "origin"}))
    prepared = subject.prepare(ask((("x-team", "a"), *STAYS)))
    assert {("x-team", "a"), ("origin", "http://page.example")} <= set(prepared.headers)
    assert "referer" not in names(prepared)


@every_kind
def test_the_operators_headers_come_last_and_win(kind: str) -> None:
    mine = (("User-Agent", "mine"), ("Authorization", "Basic b3du"), ("X-Org", "1"))
    framing = (("Connection", "close"), ("Content-Length", "1"), ("Host", "x.example"))
    subject = adapter(kind, headers=mine + framing)
    for prepared in (
        subject.prepare(ask(GOES_ON)),
        subject.passage("/v1/models", GOES_ON),
    ):
        sent = dict(prepared.headers)
        assert names(prepared).count("user-agent") == 1
        assert sent["user-agent"] == "mine"
        assert sent["authorization"] == "Basic b3du"
        assert sent["x-org"] == "1"
        assert not {"connection", "content-length", "host"} & sent.keys()


@every_kind
def test_nobody_can_ask_for_a_compressed_model_reply(kind: str) -> None:
    subject = adapter(
        kind,
        headers=(("accept-encoding", "gzip"),),
        forward_headers=frozenset({"accept-encoding"}),
    )
    prepared = subject.prepare(ask((("accept-encoding", "br"),)))
    encodings = [value for name, value in prepared.headers if "encoding" in name]
    assert encodings == ["identity"]


@every_kind
def test_pass_through_keeps_all_other_headers_in_order(kind: str) -> None:
    fields = (*STAYS, ("x-odd", "1"), ("x-odd", "2"), *HOP_BY_HOP)
    prepared = adapter(kind).passage("/v1/models", fields)
    kept = [pair for pair in fields if pair not in HOP_BY_HOP]
    assert list(prepared.headers[: len(kept)]) == kept
    assert not {name for name, _ in HOP_BY_HOP} & set(names(prepared))


@every_kind
def test_a_request_that_fits_is_not_changed(kind: str) -> None:
    prepared = adapter(kind).prepare(ask())
    assert not prepared.set_fields
    assert not prepared.drop_fields
    assert prepared.dropped == ()


@every_kind
def test_only_the_models_name_is_ever_set(kind: str) -> None:
    subject = adapter(kind)
    talk = TALKS.get(kind, USUAL)[0]
    prepared = subject.prepare(ask(operation=talk, model='org/é"x', asked="alias"))
    if "{model}" in ASKABLE[talk].path:
        assert not prepared.set_fields
        assert "/org%2F%C3%A9%22x:" in prepared.url_path
        return
    assert prepared.set_fields.keys() == {"model"}
    assert json.loads(prepared.set_fields["model"]) == 'org/é"x'


@every_kind
def test_fields_that_are_dropped_are_reported(kind: str) -> None:
    fields = {"model", "messages", "top_k", "cache_salt", "temperature", "made_up"}
    prepared = adapter(kind).prepare(ask(fields=fields))
    assert set(prepared.dropped) == set(prepared.drop_fields) < fields
    assert not {"model", "messages", "temperature", "made_up"} & prepared.drop_fields


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if KINDS[kind].capabilities.local]
)
def test_local_engines_get_every_field(kind: str) -> None:
    fields = {"model", "cache_salt", "top_k", "ttl", "priority"}
    assert adapter(kind).prepare(ask(fields=fields)).dropped == ()


@every_kind
def test_each_operation_has_a_path_and_the_query_goes_on(kind: str) -> None:
    subject = adapter(kind)
    for name in subject.capabilities.operations:
        path = subject.prepare(ask(operation=name)).url_path
        assert path.startswith("/")
        assert path.endswith(ASKABLE[name].path.format(model="m"))
        with_query = subject.prepare(ask(operation=name, query="beta=true&a=%2F"))
        assert with_query.url_path == f"{path}?beta=true&a=%2F"


@every_kind
def test_preparing_is_repeatable_and_touches_nothing(kind: str) -> None:
    subject, request = adapter(kind), ask(GOES_ON + CREDENTIALS, asked="other")
    assert subject.prepare(request) == subject.prepare(request)
    assert subject.passage("/x?y=1", GOES_ON) == subject.passage("/x?y=1", GOES_ON)


@every_kind
def test_pass_through_reaches_the_root_with_the_path_as_sent(kind: str) -> None:
    subject = adapter(kind, base_url="http://box.lan:1/deep")
    for rest in ("/", "/api/chat?x=%2e%2E&&", "/caf%C3%A9/a%20b?", "/?"):
        assert subject.passage(rest, ()).url_path == f"/deep{rest}"


# --- interpret

FAULTS = [
    (400, b'{"error":{"message":"bad"}}', Blame.CALLER),
    (404, b'{"error":"model not found"}', Blame.CALLER),
    (405, b"", Blame.CALLER),
    (409, b"{}", Blame.CALLER),
    (410, b"{}", Blame.CALLER),
    (413, b"too large", Blame.CALLER),
    (415, b"{}", Blame.CALLER),
    (422, b'{"detail":[{"loc":["body","n"],"msg":"wrong"}]}', Blame.CALLER),
    (401, b'{"error":{"message":"no"}}', Blame.KEY),
    (403, b'{"error":{"message":"no"}}', Blame.KEY),
    (402, b'{"error":{"code":402,"message":"Insufficient credits"}}', Blame.BROKEN),
    (408, b"", Blame.BROKEN),
    (429, b'{"error":{"message":"slow down"}}', Blame.RATE),
    (500, b"Internal Server Error", Blame.BROKEN),
    (502, b"<html><title>502 Bad Gateway</title></html>", Blame.BROKEN),
    (503, b'{"error":"server busy"}', Blame.OVERLOADED),
    (
        503,
        b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}',
        Blame.LOADING,
    ),
    (504, b"", Blame.BROKEN),
    (529, b'{"type":"error","error":{"type":"overloaded_error"}}', Blame.OVERLOADED),
    (302, b"", Blame.BROKEN),
    (200, b'{"error":{"message":"failed"}}', Blame.BROKEN),
]


@every_kind
@pytest.mark.parametrize(("status", "body", "blame"), FAULTS)
def test_it_says_whose_fault_a_reply_is(
    kind: str, status: int, body: bytes, blame: Blame
) -> None:
    fault = adapter(kind).interpret(status, (("content-type", "x/y"),), body)
    assert fault.blame is blame
    assert fault.message
    assert fault.status >= 300


@every_kind
@given(
    status=st.integers(200, 599),
    body=st.binary(max_size=300)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["error", "message", "code", "type", "param", "detail", "metadata"]
                )
                | st.text(max_size=5),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
    retry_after=st.text(max_size=12),
)
def test_no_body_whatever_upsets_it(
    kind: str, status: int, body: bytes, retry_after: str
) -> None:
    headers = (("retry-after", retry_after), ("Retry-After-Ms", retry_after))
    fault = adapter(kind).interpret(status, headers, body)
    assert 0 < len(fault.message) <= 2100
    assert not UNPRINTABLE.search(fault.message)
    assert fault.status >= 300
    assert fault.retry_after_s is None or 0 <= fault.retry_after_s <= 86_400


@every_kind
def test_its_own_key_never_comes_back(kind: str) -> None:
    subject = adapter(kind, headers=(("x-auth-token", "Bearer operator-secret"),))
    error = {
        "message": f"Incorrect API key: {KEY}, {KEY}; operator-secret",
        "code": KEY,
        "type": f"t {KEY}",
        "param": KEY,
    }
    for body in (json.dumps({"error": error}).encode(), f"bad {KEY}".encode()):
        fault = subject.interpret(400, (), body)
        assert KEY not in repr(fault)
        assert "operator-secret" not in repr(fault)
        assert "[key]" in fault.message


# --- probes


@every_kind
def test_its_own_server_is_up(kind: str) -> None:
    subject = adapter(kind)
    assert subject.read_liveness(SERVERS[kind].ask(subject.liveness.path)) is Life.UP


@every_kind
@pytest.mark.parametrize(
    ("status", "body", "life"),
    [
        (401, b'{"error":{"message":"no key"}}', Life.REFUSED),
        (403, b"", Life.REFUSED),
        (404, b"404 page not found", Life.DOWN),
        (500, b"", Life.DOWN),
        (503, b'{"error":{"code":503,"message":"Loading model"}}', Life.LOADING),
        (503, b"", Life.DOWN),
        (302, b"", Life.DOWN),
        (200, b"<html>Welcome to nginx!</html>", Life.DOWN),
        (200, b'{"error":"what?"}', Life.DOWN),
    ],
)
def test_liveness_looks_at_more_than_the_status(
    kind: str, status: int, body: bytes, life: Life
) -> None:
    assert adapter(kind).read_liveness(ProbeReply(status, body)) is life


@every_kind
def test_it_lists_the_models_of_its_own_server(kind: str) -> None:
    subject = adapter(kind)
    inventory = subject.read_listing(SERVERS[kind].replies_for(subject))
    assert inventory is not None
    ids = [model.id for model in inventory.models]
    assert ids
    assert len(set(ids)) == len(ids)


@every_kind
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b"<html>ok</html>",
        b'{"data": 3}',
        b'{"data": {"id": "x"}}',
        b'{"data": [1, "x", null]}',
        b'{"data": [{"name": 5}]}',
        b'{"models": "none"}',
        b'{"models": [[]]}',
        b'{"error": "Unexpected endpoint or method. (GET /v1/models)"}',
        b'{"data": [{"id": "x"}]',
        b"\xff\xfe",
    ],
)
def test_garbage_is_no_list(kind: str, body: bytes) -> None:
    subject = adapter(kind)
    replies = {probe.name: ProbeReply(200, body) for probe in subject.listing}
    assert subject.read_listing(replies) is None
    assert subject.recognises(replies) is False


@every_kind
def test_no_answer_or_a_refusal_is_no_list(kind: str) -> None:
    subject = adapter(kind)
    good = SERVERS[kind].replies_for(subject)
    refused = {name: ProbeReply(401, reply.body) for name, reply in good.items()}
    for replies in ({}, refused):
        assert subject.read_listing(replies) is None
        assert subject.recognises(replies) is False


@every_kind
@given(body=st.binary(max_size=200))
def test_reading_probes_never_raises(kind: str, body: bytes) -> None:
    subject = adapter(kind)
    replies = {probe.name: ProbeReply(200, body) for probe in subject.listing}
    subject.read_listing(replies)
    subject.recognises(replies)
    subject.read_liveness(ProbeReply(200, body))


@every_kind
@pytest.mark.parametrize("server", SERVERS)
def test_it_recognises_its_own_kind_and_no_other(kind: str, server: str) -> None:
    subject = adapter(kind)
    recognised = subject.recognises(SERVERS[server].replies_for(subject))
    if kind == "openai-compatible" and not KINDS[server].capabilities.local:
        return  # clouds are known by their address; many servers copy their answers
    assert recognised is (kind == server)
