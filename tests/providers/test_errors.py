from __future__ import annotations

import pytest

from providers.errors import Blame, Fault


@pytest.mark.parametrize(
    "said",
    [
        (
            "This model's maximum context length is 4096 tokens. However, you requested "
            "5000 tokens (4000 in the messages, 1000 in the completion)."
        ),
        "prompt is too long: 210000 tokens > 200000 maximum",
        "the request exceeds the available context size, try increasing it",
        "input length exceeds the context length",
        (
            "The number of tokens to keep from the initial prompt is greater than the "
            "context length."
        ),
        "The decoder prompt (length 9000) is longer than the maximum model length",
    ],
)
def test_servers_without_a_code_say_it_in_words(said: str) -> None:
    assert Fault(Blame.CALLER, 400, said).exceeds_context


def test_a_code_or_a_type_says_it() -> None:
    by_code = Fault(Blame.CALLER, 400, "no", code="context_length_exceeded")
    by_type = Fault(Blame.CALLER, 400, "no", type="exceed_context_size_error")
    assert by_code.exceeds_context
    assert by_type.exceeds_context


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Blame.CALLER, 400, "temperature must be between 0 and 2"),
        Fault(Blame.CALLER, 404, "The input is too long gone"),
        Fault(Blame.BROKEN, 500, "maximum context length is 4096 tokens"),
        Fault(Blame.CALLER, 400, "unknown field in the context of messages"),
    ],
)
def test_other_refusals_are_not_about_the_context(fault: Fault) -> None:
    assert not fault.exceeds_context
