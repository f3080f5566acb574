from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.accounting.price_map import (
    FILE,
    NoPriceMap,
    import_prices,
    load_prices,
    read_price_map,
)

GPT: dict[str, Any] = {
    "litellm_provider": "openai",
    "mode": "chat",
    "max_input_tokens": 128000,
    "input_cost_per_token": 1.5e-07,
    "output_cost_per_token": 6e-07,
    "cache_read_input_token_cost": 7.5e-08,
    "supports_vision": True,
}
CLAUDE: dict[str, Any] = {
    "litellm_provider": "anthropic",
    "mode": "chat",
    "input_cost_per_token": 3e-06,
    "output_cost_per_token": 1.5e-05,
    "cache_read_input_token_cost": 3e-07,
    "cache_creation_input_token_cost": 3.75e-06,
    "input_cost_per_token_above_200k_tokens": 6e-06,
}
SPEC = {"litellm_provider": "one of https://…", "mode": "one of: chat, embedding"}


def a_map(**entries: Any) -> bytes:
    return orjson.dumps({"sample_spec": SPEC, **entries})


def test_prices_are_by_kind_and_the_upstreams_name() -> None:
    read = read_price_map(
        orjson.dumps(
            {
                "sample_spec": SPEC,
                "gpt-4o-mini": GPT,
                "claude-sonnet": CLAUDE,
                "gemini/gemini-2.5-pro": {**GPT, "litellm_provider": "gemini"},
                "openrouter/qwen/qwen-2.5": {**GPT, "litellm_provider": "openrouter"},
            }
        )
    )
    mini = read.find("openai", "gpt-4o-mini")
    assert mini is not None
    assert (mini.input_per_1m, mini.output_per_1m) == (0.15, 0.6)
    assert (mini.cached_input_per_1m, mini.cache_write_per_1m) == (0.075, None)
    claude = read.find("anthropic", "claude-sonnet")
    assert claude is not None
    assert claude.cache_write_per_1m == 3.75
    assert read.find("gemini", "gemini-2.5-pro") is not None
    assert read.find("openrouter", "qwen/qwen-2.5") is not None
    assert read.find("openai", "claude-sonnet") is None
    assert (len(read), read.skipped, read.tiered, read.broken) == (4, 1, 1, ())


@pytest.mark.parametrize(
    "changes",
    [
        {"litellm_provider": "bedrock"},
        {"mode": "image_generation"},
        {"input_cost_per_token": None},
        {"output_cost_per_token": None},
        {"input_cost_per_token": 0, "output_cost_per_token": 0.0},
    ],
)
def test_what_has_no_price_by_token_stays_unknown(changes: dict[str, Any]) -> None:
    read = read_price_map(a_map(good=GPT, other={**GPT, **changes}))
    assert read.find("openai", "other") is None
    assert (len(read), read.skipped) == (1, 2)


def test_embeddings_cost_what_goes_in() -> None:
    entry = {**GPT, "mode": "embedding", "output_cost_per_token": 0.0}
    found = read_price_map(a_map(small=entry)).find("openai", "small")
    assert found is not None
    assert (found.input_per_1m, found.output_per_1m) == (0.15, 0)


@pytest.mark.parametrize("price", ["1e-7", -1e-7, True, [], 15, 1e300])
def test_a_price_without_sense_is_left_out_and_named(price: Any) -> None:
    entries = {f"good-{number}": GPT for number in range(20)}
    read = read_price_map(a_map(**entries, odd={**GPT, "input_cost_per_token": price}))
    assert read.broken == ("odd",)
    assert read.find("openai", "odd") is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "not an object"),
        (b"{}", "no price"),
        (a_map(), "no price"),
        (a_map(a={**GPT, "litellm_provider": "nobody"}), "no price"),
        (a_map(a=GPT, b={**GPT, "input_cost_per_token": "x"}), "'b'"),
        (b'{"a": 7, "b": null, "c": []}', "no price"),
    ],
)
def test_a_file_that_is_no_price_map_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(NoPriceMap, match=message):
        read_price_map(data)


def test_what_was_imported_is_found_at_the_next_start(tmp_path: Path) -> None:
    data_dir, file = tmp_path / "data", tmp_path / "map.json"
    assert len(load_prices(data_dir)) == 0
    file.write_bytes(a_map(gpt=GPT, claude=CLAUDE))
    told = import_prices(file, data_dir)
    assert told.startswith(f"2 prices are in {data_dir / FILE}; 1 entries")
    assert "1 cost more for a long context" in told
    assert len(load_prices(data_dir)) == 2


def test_a_bad_file_leaves_the_good_prices(tmp_path: Path) -> None:
    file = tmp_path / "map.json"
    file.write_bytes(a_map(gpt=GPT))
    import_prices(file, tmp_path)
    for bad in (b"", b"{", a_map()):
        file.write_bytes(bad)
        with pytest.raises(NoPriceMap):
            import_prices(file, tmp_path)
    with pytest.raises(FileNotFoundError):
        import_prices(tmp_path / "none.json", tmp_path)
    assert len(load_prices(tmp_path)) == 1


def test_prices_are_found_by_kind_and_name() -> None:
    by_kind = read_price_map(a_map(gpt=GPT, claude=CLAUDE)).by_kind()
    assert {kind: list(names) for kind, names in by_kind.items()} == {
        "openai": ["gpt"],
        "anthropic": ["claude"],
    }
