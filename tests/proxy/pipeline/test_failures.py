from __future__ import annotations

import pytest

from providers.errors import Blame, Fault
from providers.faults import read_retry_after
from proxy.core import clock
from proxy.core.errors import CallerFault, ProviderFault
from proxy.pipeline import failures
from proxy.relay.errors import (
    BrokenReply,
    ConnectFailed,
    Phase,
    TimedOut,
    UpstreamFailed,
)
from tests.fakes.kinds import provider

BOX = provider("box")


@pytest.mark.parametrize(
    ("failure", "streaming", "code", "status"),
    [
        (
            ConnectFailed("it cannot be reached", Phase.CONNECT),
            False,
            "upstream_error",
            502,
        ),
        (BrokenReply("it closed", Phase.IDLE), False, "upstream_error", 502),
        (BrokenReply("it closed", Phase.IDLE), True, "upstream_stream_broken", 502),
        (UpstreamFailed("it failed", Phase.WRITE), True, "upstream_error", 502),
        (TimedOut("it is late", Phase.CONNECT), False, "upstream_timeout", 504),
        (TimedOut("it is late", Phase.IDLE), True, "upstream_timeout", 504),
    ],
)
def test_a_failed_connection_is_the_providers_fault(
    failure: UpstreamFailed, streaming: bool, code: str, status: int
) -> None:
    error = failures.from_relay(failure, BOX, streaming=streaming)
    assert isinstance(error, ProviderFault)
    assert (error.code, error.status) == (code, status)
    assert error.message.startswith("Provider box")
    assert failure.message in error.message


@pytest.mark.parametrize("phase", list(Phase))
def test_a_timeout_names_the_limit(phase: Phase) -> None:
    error = failures.from_relay(TimedOut("late", phase), BOX, streaming=False)
    assert error.message.endswith(f"(limit: {phase.value}).")


@pytest.mark.parametrize(
    ("blame", "code", "status"),
    [
        (Blame.KEY, "upstream_auth_failed", 502),
        (Blame.RATE, "upstream_rate_limited", 429),
        (Blame.LOADING, "model_loading", 503),
        (Blame.OVERLOADED, "upstream_error", 502),
        (Blame.BROKEN, "upstream_error", 502),
    ],
)
def test_a_failed_reply_is_the_providers_fault(
    blame: Blame, code: str, status: int
) -> None:
    error = failures.from_fault(Fault(blame, 500, "no", retry_after_s=7.0), BOX)
    assert isinstance(error, ProviderFault)
    assert (error.code, error.status) == (code, status)
    if blame is not Blame.KEY:
        assert error.retry_after_s == 7.0


def test_a_loading_model_may_be_asked_for_soon() -> None:
    error = failures.from_fault(Fault(Blame.LOADING, 503, "loading"), BOX)
    assert error.retry_after_s == 5.0


def test_the_callers_own_fault_keeps_the_providers_words() -> None:
    fault = Fault(Blame.CALLER, 422, "too long", "context_length", "bad", "messages")
    error = failures.from_fault(fault, BOX)
    assert isinstance(error, CallerFault)
    assert (error.status, error.message, error.param) == (422, "too long", "messages")
    assert (error.shown_code, error.shown_type) == ("context_length", "bad")
    assert error.code == "invalid_field"


def test_what_a_provider_says_of_our_key_stays_here() -> None:
    fault = Fault(Blame.KEY, 401, "Incorrect API key provided: sk-abc***xyz")
    assert "sk-abc" not in failures.from_fault(fault, BOX).message


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("out of memory", "out of memory"),
        ("dial tcp 10.0.0.5:11434: connect refused", "dial tcp […]: connect refused"),
        ("cannot reach gpu-7.internal:8001 now", "cannot reach […] now"),
        ("see http://10.0.0.5:8000/admin?k=1 for more", "see […] for more"),
        ("[::1]:8000 and fe80::1", "[…] and […]"),
        ("open /srv/models/secret.gguf: no such file", "open […]: no such file"),
        (r"open C:\models\x.gguf failed", "open […] failed"),
        ("boom Traceback (most recent call last): File x, line 1", "boom"),
        ("ratio 3/4 of 1:2, model a/b:c", "ratio 3/4 of 1:2, model a/b:c"),
        ("expected 12:30:00", "expected 12:30:00"),
    ],
)
def test_a_providers_failure_tells_nothing_internal(said: str, kept: str) -> None:
    error = failures.from_fault(Fault(Blame.BROKEN, 500, said), BOX)
    assert error.message == f"Provider box answered 500: {kept}"


def test_a_reply_without_a_date_gets_that_of_its_receipt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clock, "wall", lambda: 784111777.0)
    pairs = (("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"),)
    assert failures.dated(pairs)[1:] == (("date", "Sun, 06 Nov 1994 08:49:37 GMT"),)
    assert read_retry_after(failures.dated(pairs)) == 30.0


def test_a_replys_own_date_stays() -> None:
    pairs = (("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("retry-after", "5"))
    assert failures.dated(pairs) is pairs
