from __future__ import annotations

import json

import pytest

from providers.base import FoundModel
from providers.wire.members import Members, read_members
from proxy.config import ModelConfig
from proxy.config.schema_models import ModelCapabilities
from proxy.routing.needs import (
    BYTES_PER_TOKEN,
    MOST_BYTES_PER_TOKEN,
    NO_LIMITS,
    Fit,
    Limits,
    Needs,
    Trait,
    limits_of,
    prompt_field,
    trait_field,
)

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def body(**members: object) -> Members:
    return read_members(json.dumps({"model": "m", **members}).encode())


def configured(**more: object) -> ModelConfig:
    return ModelConfig(id="m", provider_id="p", **more)  # type: ignore[arg-type]


def lacking(**said: bool) -> frozenset[Trait]:
    return limits_of(configured(capabilities=ModelCapabilities(**said)), None).lacking


def test_what_nobody_tells_is_no_limit() -> None:
    assert limits_of(None, None) is NO_LIMITS
    assert limits_of(configured(), FoundModel("m")) is NO_LIMITS
    assert limits_of(None, FoundModel("m", capabilities=frozenset({"x"}))) is NO_LIMITS


@pytest.mark.parametrize(
    ("name", "trait"),
    [
        ("vision", Trait.VISION),
        ("function_calling", Trait.TOOLS),
        ("json_mode", Trait.JSON),
        ("embeddings", Trait.EMBEDDINGS),
        ("streaming", Trait.STREAMING),
    ],
)
def test_the_operator_says_what_is_lacking(name: str, trait: Trait) -> None:
    assert lacking(**{name: False}) == {trait}
    assert lacking(**{name: True}) == frozenset()


def test_a_server_that_tells_its_inputs_is_believed_unless_the_operator_knows() -> None:
    blind = FoundModel("m", inputs=("text",))
    assert limits_of(None, blind).lacking == {Trait.VISION}
    assert limits_of(None, FoundModel("m", inputs=("text", "image"))) is NO_LIMITS
    seeing = configured(capabilities=ModelCapabilities(vision=True))
    assert limits_of(seeing, blind).lacking == frozenset()


@pytest.mark.parametrize(
    ("said", "loaded", "expected"),
    [
        (None, 4096, 4096),
        (32768, None, 32768),
        (32768, 4096, 4096),
        (4096, 32768, 4096),
    ],
)
def test_the_loaded_context_counts_not_the_advertised_one(
    said: int | None, loaded: int | None, expected: int
) -> None:
    found = FoundModel("m", context_window=loaded)
    assert limits_of(configured(context_window=said), found).window == expected


@pytest.mark.parametrize(
    ("needs", "trait"),
    [
        (Needs("chat", body(messages=[{"content": [IMAGE]}])), Trait.VISION),
        (Needs("chat", body(tools=[{"name": "f"}])), Trait.TOOLS),
        (Needs("chat", body(response_format={"type": "json_object"})), Trait.JSON),
        (Needs("embeddings", body(input="x")), Trait.EMBEDDINGS),
        (Needs("chat", body(), stream=True), Trait.STREAMING),
    ],
)
def test_what_is_needed_and_lacking_is_named(needs: Needs, trait: Trait) -> None:
    assert needs.missing(Limits(frozenset({trait}))) is trait
    others = frozenset(Trait) - {trait}
    assert needs.missing(Limits(others)) is None


def test_a_form_needs_what_its_operation_says_and_nothing_else() -> None:
    needs = Needs("transcriptions")
    assert needs.missing(Limits(frozenset(Trait), 1)) is None
    assert needs.fit(Limits(window=1)) is Fit.WELL


def test_a_request_fits_is_in_doubt_or_is_surely_too_long() -> None:
    needs = Needs("chat", body(messages=[{"role": "user", "content": "x" * 80_000}]))
    assert (
        needs.fit(Limits(window=80_000 // MOST_BYTES_PER_TOKEN - 100)) is Fit.TOO_LONG
    )
    assert needs.fit(Limits(window=80_000 // BYTES_PER_TOKEN - 100)) is Fit.DOUBTFUL
    assert needs.fit(Limits(window=80_000 // BYTES_PER_TOKEN + 100)) is Fit.WELL


def test_what_the_model_may_write_needs_room_too() -> None:
    needs = Needs("chat", body(max_tokens=4000))
    assert needs.fit(Limits(window=4096)) is Fit.WELL
    assert Needs("chat", body(max_tokens=4096)).fit(Limits(window=4096)) is Fit.DOUBTFUL


def test_the_bytes_of_an_image_are_no_tokens() -> None:
    url = "data:image/png;base64," + "A" * 1_000_000
    image = {"type": "image_url", "image_url": {"url": url}}
    needs = Needs("chat", body(messages=[{"content": [image]}]))
    assert needs.fit(Limits(window=4096)) is Fit.WELL


@pytest.mark.parametrize(
    ("operation", "long", "image", "form"),
    [
        ("chat", "messages", "messages", "response_format"),
        ("messages", "messages", "messages", "output_config.format"),
        ("responses", "input", "input", "text.format"),
        ("ollama_generate", "prompt", "images", "format"),
        ("embeddings", "input", "input", "response_format"),
    ],
)
def test_the_field_at_fault_is_named_as_its_caller_does(
    operation: str, long: str, image: str, form: str
) -> None:
    assert prompt_field(operation) == long
    assert trait_field(Trait.VISION, operation) == image
    assert trait_field(Trait.JSON, operation) == form
    assert trait_field(Trait.TOOLS, operation) == "tools"
