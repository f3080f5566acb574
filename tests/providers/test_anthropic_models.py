"""What Anthropic's models refuse, and which beta flags go on."""

from __future__ import annotations

import pytest

from providers.anthropic_models import SAMPLING, refused_of, sort_flags, traits_of

ASKED = frozenset({"model", "temperature", "top_p", "top_k", "max_tokens"})


@pytest.mark.parametrize(
    ("model", "refuses", "one_of_two", "by_effort"),
    [
        ("claude-opus-5-5", True, True, True),
        ("claude-opus-4-8", True, True, True),
        ("claude-opus-4-7-20260416", True, True, True),
        ("claude-opus-4-6", False, True, True),
        ("claude-opus-4-5-20251101", False, True, False),
        ("claude-opus-4-1-20250805", False, True, False),
        ("claude-opus-4-20250514", False, False, False),
        ("claude-sonnet-5", True, True, True),
        ("claude-sonnet-4-6", False, True, True),
        ("claude-sonnet-4-5", False, True, False),
        ("claude-sonnet-4-20250514", False, False, False),
        ("claude-haiku-5-5", True, True, True),
        ("claude-haiku-4-5-20251001", False, True, False),
        ("claude-fable-5", True, True, True),
        ("claude-mythos-preview", True, False, True),
        ("claude-epic-6", True, True, True),
        ("claude-epic-6-1", True, True, True),
        ("claude-3-5-sonnet-20241022", False, False, False),
        ("claude-3-haiku-20240307", False, False, False),
        ("glm-4.7", False, False, False),
        ("", False, False, False),
    ],
)
def test_a_model_is_known_by_its_line_and_version(
    model: str, refuses: bool, one_of_two: bool, by_effort: bool
) -> None:
    traits = traits_of(model)
    assert (traits.refuses == SAMPLING) is refuses
    assert (traits.takes_one_of_two, traits.thinks_by_effort) == (one_of_two, by_effort)


@pytest.mark.parametrize(
    ("model", "fields", "refused"),
    [
        ("claude-opus-4-8", ASKED, SAMPLING),
        ("claude-sonnet-4-5", ASKED, {"top_p"}),
        ("claude-sonnet-4-5", {"top_p", "top_k"}, set()),
        ("claude-sonnet-4-5", {"temperature"}, set()),
        ("claude-opus-4-20250514", ASKED, set()),
        ("claude-opus-4-8", {"model", "stream"}, set()),
    ],
)
def test_what_a_model_refuses_is_left_out_and_no_more(
    model: str, fields: set[str], refused: set[str]
) -> None:
    assert refused_of(model, frozenset(fields)) == refused


def test_a_feature_is_known_at_any_date() -> None:
    known, others = sort_flags(
        [
            "interleaved-thinking-2025-05-14, context-1m-2027-01-01",
            "claude-code-20250219",
        ]
    )
    assert known == [
        "interleaved-thinking-2025-05-14",
        "context-1m-2027-01-01",
        "claude-code-20250219",
    ]
    assert others == []


@pytest.mark.parametrize(
    "flag",
    ["new-thing-2026-01-01", "oauth", "oauth-2025", "oauth-2025-04-20x", "x y", "é"],
)
def test_other_flags_are_told_apart(flag: str) -> None:
    assert sort_flags([f"{flag},, oauth-2025-04-20 "]) == (
        ["oauth-2025-04-20"],
        [flag],
    )


@pytest.mark.parametrize(
    ("model", "always"),
    [
        ("claude-opus-5-5", True),
        ("claude-opus-5", False),
        ("claude-sonnet-5-5", True),
        ("claude-sonnet-5", False),
        ("claude-haiku-5-5", False),
        ("claude-fable-5", True),
        ("claude-3-haiku-20240307", False),
    ],
)
def test_the_newest_cannot_be_kept_from_thinking(model: str, always: bool) -> None:
    assert traits_of(model).always_thinks is always
