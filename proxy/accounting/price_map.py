"""Prices of clouds' models, read from the public price map that LiteLLM publishes.

A map is checked before it replaces the one that was there: what is kept in the data
directory is always one that could be read. Only prices by token are taken; what a map
does not say, or says without sense, stays unknown, never zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import orjson
from msgspec import Struct

from proxy.config.schema_models import Pricing

FILE: Final = "prices.json"

# Their names of providers → kinds.
_KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "anthropic": "anthropic",
        "gemini": "gemini",
        "ollama_cloud": "ollama-cloud",
        "openai": "openai",
        "text-completion-openai": "openai",
        "openrouter": "openrouter",
        "zai": "zai",
    }
)
_MODES: Final = ("chat", "completion", "embedding", "responses")
_FIELDS: Final = (
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
)
# No model costs as much for a token: a price in another unit.
_ABSURD_USD: Final = 0.1
# A file in which so many entries are without sense is not a price map.
_MOST_BROKEN: Final = 0.1


class NoPriceMap(Exception):
    """The file cannot be used; the message says why."""


class PriceMap(Struct, frozen=True):
    """Prices by kind and the upstream's name of a model.

    `skipped` counts entries of other kinds, modes and units, `broken` those without
    sense, `tiered` those that cost more when the context is long: that is not heeded.
    """

    prices: Mapping[tuple[str, str], Pricing]
    skipped: int = 0
    broken: tuple[str, ...] = ()
    tiered: int = 0

    def find(self, kind: str, upstream_model: str) -> Pricing | None:
        """Answer the price of exactly this name; None if unknown."""
        return self.prices.get((kind, upstream_model))

    def by_kind(self) -> dict[str, dict[str, Pricing]]:
        """Answer all prices by kind, then by the upstream's name."""
        found: dict[str, dict[str, Pricing]] = {}
        for (kind, name), pricing in self.prices.items():
            found.setdefault(kind, {})[name] = pricing
        return found

    def __len__(self) -> int:
        return len(self.prices)


NO_PRICES: Final = PriceMap(MappingProxyType({}))


def read_price_map(data: bytes) -> PriceMap:
    """Read a map. Raises NoPriceMap."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise NoPriceMap(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise NoPriceMap("not an object of models")
    prices: dict[tuple[str, str], Pricing] = {}
    broken: list[str] = []
    skipped = tiered = 0
    for name, entry in document.items():
        if not _is_ours(entry):
            skipped += 1
            continue
        try:
            pricing = _pricing(entry)
        except ValueError:
            broken.append(name)
            continue
        if pricing is None:
            skipped += 1
            continue
        tiered += any("_above_" in field for field in entry)
        for key in _keys(name, entry["litellm_provider"]):
            prices.setdefault(key, pricing)
    if not prices:
        raise NoPriceMap("no price of a model of any kind that is known here")
    if len(broken) > _MOST_BROKEN * len(prices):
        raise NoPriceMap(
            f"{len(broken)} entries make no sense, the first is {broken[0]!r}"
        )
    return PriceMap(MappingProxyType(prices), skipped, tuple(broken), tiered)


def import_prices(file: Path, data_dir: Path) -> str:
    """Check a map and keep it: the verb `prices import FILE`. Answers what it tells.

    Raises NoPriceMap and OSError; what was kept before is kept then.
    """
    data = file.read_bytes()
    read = read_price_map(data)
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = data_dir / FILE
    beside = kept.with_suffix(".new")
    beside.write_bytes(data)
    beside.replace(kept)
    lines = [f"{len(read)} prices are in {kept}; {read.skipped} entries do not matter"]
    if read.tiered:
        lines.append(
            f"{read.tiered} cost more for a long context, which is not counted"
        )
    if read.broken:
        lines.append(f"without sense, left out: {', '.join(read.broken[:10])}")
    return "\n".join(lines)


def load_prices(data_dir: Path) -> PriceMap:
    """Answer the prices that were imported, none where there are none.

    Raises NoPriceMap where somebody has spoilt the file.
    """
    try:
        data = (data_dir / FILE).read_bytes()
    except FileNotFoundError:
        return NO_PRICES
    return read_price_map(data)


def _is_ours(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.get("litellm_provider") in _KINDS
        and entry.get("mode") in _MODES
    )


def _pricing(entry: Mapping[str, Any]) -> Pricing | None:
    """None: no price by token. Raises ValueError where a price makes no sense."""
    given, written, cached, cache_write = (_per_1m(entry.get(f)) for f in _FIELDS)
    if given is None:
        return None
    if written is None and entry["mode"] != "embedding":
        return None
    if not given and not written:
        return None  # as good as unknown: most of these are, and the rest are free
    return Pricing(
        input_per_1m=given,
        output_per_1m=written or 0,
        cached_input_per_1m=cached,
        cache_write_per_1m=cache_write,
    )


def _per_1m(value: Any) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < _ABSURD_USD:  # nor is NaN between them
        raise ValueError(value)
    # 1.5e-07 × a million is not 0.15 to the last bit; nobody's price has more digits.
    return round(float(value) * 1_000_000, 9)


def _keys(name: str, provider: str) -> Iterator[tuple[str, str]]:
    """`gemini/gemini-2.5-pro` is what Gemini itself calls gemini-2.5-pro."""
    kind = _KINDS[provider]
    yield kind, name.removeprefix(f"{provider}/")
