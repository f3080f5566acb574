from __future__ import annotations

import re

import pytest

from proxy.core.errors import (
    CATALOGUE,
    CallerFault,
    GatewayError,
    GatewayFault,
    ProviderFault,
)


def test_every_entry_says_what_it_is_and_what_to_do() -> None:
    for code, entry in CATALOGUE.items():
        assert entry.code == code
        assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", code)
        assert 400 <= entry.http_status < 600
        assert entry.title
        assert entry.description.endswith(".")
        assert entry.remediation.endswith(".")


def test_the_type_tells_whose_fault_it_is() -> None:
    for entry in CATALOGUE.values():
        if entry.http_status >= 500:
            assert entry.type == "server_error"
        elif entry.http_status == 429:
            assert entry.type == "rate_limit_error"
        elif entry.http_status == 402:
            assert entry.type == "insufficient_quota"
        else:
            assert entry.type in (
                "invalid_request_error",
                "permission_error",
                "authentication_error",
            )


def test_the_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        CATALOGUE["new"] = CATALOGUE["not_found"]  # type: ignore[index]


def test_an_error_carries_its_entry() -> None:
    error = CallerFault("missing_field", "Set `model`.", param="model")
    assert (error.code, error.status, error.param) == ("missing_field", 400, "model")
    assert (error.shown_code, error.shown_type) == (error.code, error.entry.type)
    assert str(error) == error.message == "Set `model`."
    assert error.retry_after_s is None


def test_an_upstreams_own_words_and_status_are_shown() -> None:
    error = CallerFault(
        "invalid_field",
        "Too long.",
        status=422,
        upstream_code="context_length_exceeded",
        upstream_type="their_error",
    )
    assert error.status == 422
    assert error.code == "invalid_field"
    assert (error.shown_code, error.shown_type) == (
        "context_length_exceeded",
        "their_error",
    )


def test_a_code_that_is_not_in_the_catalogue_is_a_defect() -> None:
    with pytest.raises(KeyError):
        GatewayFault("no_such_code", "…")


def test_the_first_split_is_whose_fault_it_is() -> None:
    for kind in (CallerFault, ProviderFault, GatewayFault):
        assert issubclass(kind, GatewayError)
        others = {CallerFault, ProviderFault, GatewayFault} - {kind}
        assert not any(issubclass(kind, other) for other in others)
