from __future__ import annotations

from proxy.core.types import ANYONE, Attempt, Headers, Principal, Record

PAIRS = [("accept", "a"), ("x-key", "secret"), ("accept", "b")]


def test_the_first_value_of_a_name_is_got_and_all_are_there() -> None:
    headers = Headers(PAIRS)
    assert headers.get("accept") == "a"
    assert headers.get("absent") is None
    assert headers.all("accept") == ["a", "b"]
    assert headers.all("absent") == []
    assert "x-key" in headers
    assert "absent" not in headers
    assert list(headers) == PAIRS
    assert len(headers) == 3


def test_headers_keep_their_own_copy() -> None:
    pairs = list(PAIRS)
    headers = Headers(pairs)
    pairs.clear()
    assert headers.pairs == tuple(PAIRS)


def test_values_are_never_shown_for_they_may_be_credentials() -> None:
    assert repr(Headers(PAIRS)) == "Headers(accept, x-key, accept)"


def test_what_is_derived_from_headers_is_theirs_alone() -> None:
    first, second = Headers(PAIRS), Headers(PAIRS)
    first.memo["derived"] = 1
    assert second.memo == {}


def test_without_authentication_everybody_may_infer_and_no_more() -> None:
    assert Principal() == ANYONE
    assert ANYONE.scopes == {"inference"}
    assert ANYONE.key is None


def test_records_share_no_attempts() -> None:
    first, second = Record("1", "chat", 0.0), Record("2", "chat", 0.0)
    first.attempts.append(Attempt("box", None))
    assert second.attempts == []


def test_another_record_of_a_kind_has_its_own_times_and_counts() -> None:
    first = Record("1", "chat", 1.0)
    first.model, first.attempts = "tiny", [Attempt("box", None)]
    second = first.another()
    second.id, second.started_at, second.bytes_in = "2", 2.0, 5
    assert (first.id, first.started_at, first.bytes_in) == ("1", 1.0, 0)
    assert (second.model, second.attempts) == ("tiny", first.attempts)
    assert first.another().another().id == "1"
