import json
from collections.abc import Callable
from pathlib import Path

import anthropic
import httpx
import httpx2
import ollama
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseFailedEvent

from providers.wire.dialect import Dialect, Framing
from providers.wire.envelopes import Problem, in_stream, render
from providers.wire.hold import Hold
from providers.wire.holds import hold_for
from providers.wire.sse import data_of, name_of, split_events
from providers.wire.watches import watch_for

STREAMS = Path(__file__).parents[2] / "streams"
URL = "http://upstream.example"
BROKEN = Problem(
    502,
    "server_error",
    "upstream_stream_broken",
    "The stream ended early",
    request_id="req_1",
)


def answering(status: int, body: bytes, kind: str) -> httpx2.MockTransport:
    return httpx2.MockTransport(
        lambda _: httpx2.Response(status, content=body, headers={"content-type": kind})
    )


def openai_client(status: int, body: bytes, kind: str) -> openai.OpenAI:
    return openai.OpenAI(
        api_key="none",
        base_url=URL + "/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=answering(status, body, kind)),
    )


def anthropic_client(status: int, body: bytes, kind: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(
        api_key="none",
        base_url=URL,
        max_retries=0,
        http_client=httpx2.Client(transport=answering(status, body, kind)),
    )


def prefixes(name: str, framing: Framing = Framing.SSE) -> list[bytes]:
    """What a caller may have got of a stream, wherever it is cut."""
    stream = (STREAMS / name).read_bytes()

    def up_to(at: int) -> bytes:
        hold: Hold = hold_for(framing, 1 << 20)
        return hold.feed(stream[:at])

    found = dict.fromkeys(up_to(at) for at in range(len(stream)))
    assert len(found) > 1
    return list(found)


@pytest.mark.parametrize("name", ["llamacpp_chat.sse", "openai_chat_tools.sse"])
def test_a_broken_chat_stream_raises_in_the_sdk(name: str) -> None:
    end = in_stream(BROKEN, Dialect.CHAT, Framing.SSE)
    for before in prefixes(name):
        client = openai_client(200, before + end, "text/event-stream")
        with pytest.raises(openai.APIError, match="ended early") as caught:
            list(client.chat.completions.create(model="m", messages=[], stream=True))
        assert caught.value.code == "upstream_stream_broken"
        assert caught.value.type == "server_error"


def test_a_broken_chat_stream_ends_with_the_terminator() -> None:
    events = split_events(in_stream(BROKEN, Dialect.CHAT, Framing.SSE))
    assert [data_of(event) for event in events] == [
        render(BROKEN, Dialect.CHAT),
        b"[DONE]",
    ]


def test_a_broken_messages_stream_raises_in_the_sdk() -> None:
    end = in_stream(BROKEN, Dialect.MESSAGES, Framing.SSE)
    for before in prefixes("anthropic_messages.sse"):
        client = anthropic_client(200, before + end, "text/event-stream")
        with pytest.raises(anthropic.APIStatusError) as caught:
            list(
                client.messages.create(
                    model="m", messages=[], max_tokens=1, stream=True
                )
            )
        assert caught.value.body == json.loads(render(BROKEN, Dialect.MESSAGES))


def test_a_broken_responses_stream_shows_as_failed_in_the_sdk() -> None:
    for before in prefixes("openai_responses.sse"):
        watch = watch_for(
            Dialect.RESPONSES, Framing.SSE, withhold_usage=False, terminated=True
        )
        watch.see(before)
        end = in_stream(
            BROKEN,
            Dialect.RESPONSES,
            Framing.SSE,
            response_id=watch.response_id,
            sequence_number=watch.next_sequence(),
        )
        client = openai_client(200, before + end, "text/event-stream")
        events = list(client.responses.create(model="m", input="x", stream=True))
        last = events[-1]
        assert isinstance(last, ResponseFailedEvent)
        assert last.sequence_number == len(events) - 1
        assert last.response.status == "failed"
        assert last.response.id == (watch.response_id or "resp_req_1")
        assert last.response.error is not None
        assert last.response.error.code == "upstream_stream_broken"
        assert last.response.error.message == "The stream ended early"
        assert last.response.output_text == ""


def test_the_responses_helper_has_no_final_response_after_a_failure() -> None:
    before = prefixes("openai_responses.sse")[-1]
    end = in_stream(BROKEN, Dialect.RESPONSES, Framing.SSE, response_id="resp_67c9")
    client = openai_client(200, before + end, "text/event-stream")
    with (
        client.responses.stream(model="m", input="x") as stream,
        pytest.raises(RuntimeError, match=r"response\.completed"),
    ):
        stream.get_final_response()


def test_the_failed_event_has_every_member_the_sdk_wants() -> None:
    event = in_stream(BROKEN, Dialect.RESPONSES, Framing.SSE, model="m", created_at=1)
    assert name_of(event) == b"response.failed"
    told = json.loads(data_of(event))
    told["response"]["error"]["code"] = "server_error"  # the SDK lists OpenAI's own
    ResponseFailedEvent.model_validate(told)


def test_a_broken_ollama_stream_raises_in_its_client() -> None:
    end = in_stream(BROKEN, Dialect.OLLAMA, Framing.NDJSON)
    for before in prefixes("ollama_chat.ndjson", Framing.NDJSON):
        body = before + end
        transport = httpx.MockTransport(
            lambda _, body=body: httpx.Response(200, content=body)
        )
        client = ollama.Client(host=URL, transport=transport)
        with pytest.raises(ollama.ResponseError, match="ended early"):
            list(client.chat(model="m", messages=[], stream=True))


def test_plain_bodies_have_no_end_to_write() -> None:
    assert in_stream(BROKEN, Dialect.CHAT, Framing.PLAIN) == b""


def test_a_watch_takes_the_end_for_an_error() -> None:
    for dialect in (Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES):
        watch = watch_for(dialect, Framing.SSE, withhold_usage=True, terminated=True)
        end = in_stream(BROKEN, dialect, Framing.SSE)
        assert watch.see(end) == end
        assert watch.error == "The stream ended early"
        assert watch.is_complete()


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "invalid_request_error", anthropic.BadRequestError),
        (401, "authentication_error", anthropic.AuthenticationError),
        (402, "billing_error", anthropic.APIStatusError),
        (403, "permission_error", anthropic.PermissionDeniedError),
        (404, "not_found_error", anthropic.NotFoundError),
        (405, "invalid_request_error", anthropic.APIStatusError),
        (413, "request_too_large", anthropic.RequestTooLargeError),
        (429, "rate_limit_error", anthropic.RateLimitError),
        (500, "api_error", anthropic.InternalServerError),
        (503, "api_error", anthropic.ServiceUnavailableError),
        (504, "timeout_error", anthropic.DeadlineExceededError),
        (529, "overloaded_error", anthropic.OverloadedError),
    ],
)
def test_anthropic_types_follow_the_status(
    status: int, kind: str, expected: type[anthropic.APIStatusError]
) -> None:
    problem = Problem(status, "x", "a_code", "Said", request_id="req_9")
    client = anthropic_client(
        status, render(problem, Dialect.MESSAGES), "application/json"
    )
    with pytest.raises(expected, match="Said") as caught:
        client.messages.create(model="m", messages=[], max_tokens=1)
    assert caught.value.body == {
        "type": "error",
        "error": {"type": kind, "message": "Said", "code": "a_code"},
        "request_id": "req_9",
    }


@pytest.mark.parametrize("dialect", [Dialect.CHAT, Dialect.RESPONSES, Dialect.GEMINI])
def test_openai_errors_have_four_members(dialect: Dialect) -> None:
    problem = Problem(404, "invalid_request_error", "model_not_found", "No m", "model")
    body = render(problem, dialect)
    client = openai_client(404, body, "application/json")
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("m")
    error = caught.value
    assert (error.code, error.param, error.type) == (
        "model_not_found",
        "model",
        "invalid_request_error",
    )
    assert json.loads(body)["error"].keys() == {"message", "type", "code", "param"}


def test_ollama_errors_are_text() -> None:
    assert render(BROKEN, Dialect.OLLAMA) == b'{"error":"The stream ended early"}'


WRITERS: list[Callable[[Problem], bytes]] = [
    lambda p: data_of(split_events(in_stream(p, Dialect.CHAT, Framing.SSE))[0]),
    lambda p: data_of(in_stream(p, Dialect.MESSAGES, Framing.SSE)),
    lambda p: data_of(in_stream(p, Dialect.RESPONSES, Framing.SSE)),
    lambda p: in_stream(p, Dialect.OLLAMA, Framing.NDJSON),
    lambda p: render(p, Dialect.CHAT),
]


@given(st.text(st.characters(codec=None)), st.sampled_from(WRITERS))
def test_no_text_escapes_its_string(
    text: str, write: Callable[[Problem], bytes]
) -> None:
    problem = Problem(500, "t", text, text, param=text, request_id=text)
    body = write(problem)
    assert body.isascii()
    assert body.rstrip(b"\n").count(b"\n") == 0
    assert b"\r" not in body
    said = json.dumps(json.loads(body), ensure_ascii=False)
    said.encode()  # no lone surrogates
    sound = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert json.dumps(sound, ensure_ascii=False) in said
