from pathlib import Path

import pytest

from providers.wire.dialect import Dialect, Framing
from providers.wire.holds import hold_for
from providers.wire.sse import data_of, split_events
from providers.wire.usage import Usage
from providers.wire.watch import Watch
from providers.wire.watches import watch_for

STREAMS = Path(__file__).parents[2] / "streams"
OPENAI = Usage(prompt=19, completion=10, cached=8, cache_write=3, reasoning=4)
RESPONSE = Usage(prompt=37, completion=11, cached=12, cache_write=0, reasoning=5)
HELD = "resp_67c9"

# file, what was used, the response's id, the error
TOLD = {
    "llamacpp_chat.sse": (Usage(21, 6, cached=0), None, None),
    "llamacpp_chat_no_usage.sse": (None, None, None),
    "llamacpp_chat_n2.sse": (Usage(21, 3, cached=0), None, None),
    "llamacpp_chat_tools.sse": (Usage(328, 40, cached=1), None, None),
    "llamacpp_completions.sse": (Usage(2, 4, cached=0), None, None),
    "llamacpp_completions_n2.sse": (Usage(2, 6, cached=1), None, None),
    "openai_chat.sse": (OPENAI, None, None),
    "openai_chat_tools.sse": (OPENAI, None, None),
    "openrouter_chat.sse": (
        Usage(14, 2, cached=0, cache_write=0, reasoning=0, cost_usd=0.00014),
        None,
        None,
    ),
    "openrouter_chat_error.sse": (None, None, "Provider disconnected"),
    "vllm_chat_continuous_usage.sse": (Usage(9, 2), None, None),
    "vllm_chat_error.sse": (None, None, "EngineDeadError"),
    "crlf_chat.sse": (OPENAI, None, None),
    "cr_chat.sse": (OPENAI, None, None),
    "llamacpp_responses.sse": (
        Usage(21, 4, cached=20),
        "resp_rJQxg8mUM5sxhDl10Qm1aZ6JUzqOAIp2",
        None,
    ),
    "openai_responses.sse": (RESPONSE, HELD, None),
    "openai_responses_incomplete.sse": (RESPONSE, HELD, None),
    "openai_responses_failed.sse": (RESPONSE, HELD, "The model failed"),
    "openai_responses_error.sse": (None, HELD, "Something broke"),
    "llamacpp_messages.sse": (Usage(21, 5, cached=20), None, None),
    "anthropic_messages.sse": (
        Usage(1125, 42, cached=1000, cache_write=100, reasoning=12),
        None,
        None,
    ),
    "anthropic_messages_error.sse": (
        Usage(1125, 1, cached=1000, cache_write=100),
        None,
        "Overloaded",
    ),
    "ollama_chat.ndjson": (Usage(26, 282), None, None),
    "ollama_chat_error.ndjson": (
        None,
        None,
        "model runner has unexpectedly stopped",
    ),
}
ENDING_WELL = [name for name, told in TOLD.items() if told[2] is None]


def kind_of(name: str) -> tuple[Dialect, Framing]:
    if name.endswith(".ndjson"):
        return Dialect.OLLAMA, Framing.NDJSON
    if "responses" in name:
        return Dialect.RESPONSES, Framing.SSE
    if "messages" in name:
        return Dialect.MESSAGES, Framing.SSE
    return Dialect.CHAT, Framing.SSE


def watch(
    name: str = "chat", *, withhold_usage: bool = False, terminated: bool = True
) -> Watch:
    dialect, framing = kind_of(name)
    return watch_for(
        dialect, framing, withhold_usage=withhold_usage, terminated=terminated
    )


def play(name: str, pieces: list[bytes], *, withhold: bool) -> tuple[Watch, bytes]:
    seen = watch(name, withhold_usage=withhold)
    holder = hold_for(kind_of(name)[1], 1 << 20)
    shown = b"".join(
        seen.see(block) for piece in pieces if (block := holder.feed(piece))
    )
    return seen, shown


def spoken(block: bytes) -> list[bytes]:
    return [data for event in split_events(block) if (data := data_of(event))]


def test_every_stream_has_its_expectation() -> None:
    files = {path.name for path in STREAMS.iterdir()}
    assert {n for n in files if n.endswith((".sse", ".ndjson"))} == set(TOLD)


@pytest.mark.parametrize("withhold", [False, True])
@pytest.mark.parametrize("name", TOLD)
def test_every_split_point_tells_the_same(name: str, withhold: bool) -> None:
    stream = (STREAMS / name).read_bytes()
    _, whole = play(name, [stream], withhold=withhold)
    for at in range(len(stream) + 1):
        seen, shown = play(name, [stream[:at], stream[at:]], withhold=withhold)
        assert (seen.usage, seen.response_id, seen.error) == TOLD[name]
        assert seen.is_complete()
        if b"\r\n" in stream:  # of a withheld event, a late LF may remain
            assert spoken(shown) == spoken(whole)
        else:
            assert shown == whole


@pytest.mark.parametrize("name", TOLD)
def test_nothing_is_withheld_unasked(name: str) -> None:
    stream = (STREAMS / name).read_bytes()
    assert play(name, [stream], withhold=False)[1] == stream


@pytest.mark.parametrize("name", ENDING_WELL)
def test_a_stream_cut_short_is_not_complete(name: str) -> None:
    stream = (STREAMS / name).read_bytes()
    # A final CRLF has said all at its CR.
    last = len(stream) - stream.endswith(b"\r\n")
    for at in range(last):
        assert not play(name, [stream[:at]], withhold=True)[0].is_complete(), at


@pytest.mark.parametrize("name", [n for n in TOLD if kind_of(n)[0] is Dialect.CHAT])
def test_withheld_are_events_with_usage_and_without_choices(name: str) -> None:
    stream = (STREAMS / name).read_bytes()
    shown = split_events(play(name, [stream], withhold=True)[1])
    hidden = [event for event in split_events(stream) if event not in shown]
    assert all(b'"choices":[],' in event or b'"choices":[]}' in event
               for event in hidden)  # fmt: skip
    assert all(b'"usage":{' in event for event in hidden)
    assert not any(b'"choices":[]' in event for event in shown)
    assert len(hidden) == stream.count(b'"choices":[]')


@pytest.mark.parametrize(
    "event",
    [
        (
            b'data: {"choices": [ ],\n'
            b'data:  "usage" : { "prompt_tokens": 3, "completion_tokens": 2 } }\n\n'
        ),
        b'data: {"usage":\ndata: {"prompt_tokens":3,"completion_tokens":2}}\n\n',
        b'data:{"choices":null,"usage":{"prompt_tokens":3,"completion_tokens":2.0}}\n\n',
        b': note\ndata: {"usage":{"prompt_tokens":3,"completion_tokens":2}}\r\n\r\n',
    ],
)
def test_usage_is_found_in_any_layout(event: bytes) -> None:
    seen = watch(withhold_usage=True)
    assert seen.see(b"data: {}\n\n" + event + b": x\n\n") == b"data: {}\n\n: x\n\n"
    assert seen.usage == Usage(3, 2)


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":3}}\n\n',
        (
            b'data: {"choices":[{"delta":{"content":"\\ud83d"}}],'
            b'"usage":{"prompt_tokens":3}}\n\n'
        ),
    ],
)
def test_events_with_choices_are_never_touched(event: bytes) -> None:
    seen = watch(withhold_usage=True)
    assert seen.see(event) == event
    assert seen.usage == Usage(3)


@pytest.mark.parametrize(
    "usage",
    [b"null", b"[]", b'"many"', b'{"prompt_tokens":"3"}', b'{"prompt_tokens":-1}',
     b'{"prompt_tokens":true}', b'{"prompt_tokens":1e300}',
     b'{"prompt_tokens_details":7}', b"{"],
)  # fmt: skip
def test_odd_usage_counts_nothing_and_breaks_nothing(usage: bytes) -> None:
    event = b'data: {"choices":[{}],"usage":' + usage + b"}\n\n"
    seen = watch(withhold_usage=True)
    assert seen.see(event) == event
    assert seen.usage in (None, Usage())


def test_a_later_usage_replaces_an_earlier_one() -> None:
    seen = watch()
    seen.see(b'data: {"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n')
    seen.see(b'data: {"usage":{"prompt_tokens":3,"completion_tokens":5}}\n\n')
    assert seen.usage == Usage(3, 5)


def test_the_terminator_counts_whatever_comes_after_it() -> None:
    seen = watch()
    seen.see(b"data: [DONE]\n\n")
    seen.see(b": bye\n\n")
    assert seen.is_complete()


def test_a_terminator_inside_text_is_none() -> None:
    seen = watch()
    seen.see(b'data: {"choices":[{"delta":{"content":"data: [DONE]\\n\\n"}}]}\n\n')
    assert not seen.is_complete()


def test_a_null_error_is_none() -> None:
    seen = watch()
    seen.see(b'data: {"error": null,"choices":[]}\n\n')
    assert seen.error is None
    assert not seen.is_complete()


@pytest.mark.parametrize(
    ("error", "message"),
    [(b'"text"', "text"), (b'{"code":"x"}', "x"), (b'{"a":1}', '{"a":1}'),
     (b'{"message":7}', '{"message":7}')],
)  # fmt: skip
def test_any_error_has_a_message(error: bytes, message: str) -> None:
    seen = watch()
    seen.see(b'data: {"error":' + error + b"}\n\n")
    assert seen.error == message


@pytest.mark.parametrize("name", ["chat", "responses", "messages", "a.ndjson"])
def test_an_upstream_without_terminator_is_complete_at_its_end(name: str) -> None:
    assert watch(name, terminated=False).is_complete()
    assert not watch(name).is_complete()


@pytest.mark.parametrize("dialect", Dialect)
def test_plain_bodies_are_left_to_http(dialect: Dialect) -> None:
    seen = watch_for(dialect, Framing.PLAIN, withhold_usage=True, terminated=True)
    body = b'{"choices":[],"usage":{"prompt_tokens":1}}'
    assert seen.see(body) is body
    assert seen.is_complete()


@pytest.mark.parametrize("name", ENDING_WELL)
def test_a_block_is_not_copied(name: str) -> None:
    stream = (STREAMS / name).read_bytes()
    assert watch(name).see(stream) is stream


def test_sequence_numbers_go_on() -> None:
    seen = watch("responses")
    assert seen.next_sequence() == 0
    stream = (STREAMS / "openai_responses.sse").read_bytes()
    seen.see(b"".join(split_events(stream)[:4]))
    assert seen.next_sequence() == 4
    seen.see(b": ping\n\n")
    assert seen.next_sequence() == 4
    assert watch().next_sequence() == 0


def test_unnumbered_events_stay_unnumbered() -> None:
    seen = watch("responses")
    seen.see((STREAMS / "llamacpp_responses.sse").read_bytes())
    assert seen.next_sequence() == 0


def test_responses_events_are_known_by_their_name_too() -> None:
    seen = watch("responses")
    seen.see(b'event: response.completed\ndata: {"response":{"id":"resp_1"}}\n\n')
    assert seen.is_complete()
    assert seen.response_id == "resp_1"
