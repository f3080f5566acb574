"""The generated pages are current and whole; the example shows every key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from proxy.config import Options, load
from proxy.config.document import markdown, schema, write
from proxy.config.env import VARIABLES
from proxy.config.options import flags
from proxy.config.schema import File
from proxy.config.validate import inner_model
from tests.proxy.config.conftest import Read

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "config.example.yaml"


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        if (inner := inner_model(field.annotation)) is not None:
            yield from models(inner)


def keys() -> set[str]:
    return {
        str(field.alias)
        for model in models(File)
        for field in model.model_fields.values()
    }


def test_the_pages_in_docs_are_current() -> None:
    advice = "run python -m proxy.config.document"
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == markdown(), advice
    document = (ROOT / "docs" / "config.schema.json").read_text(encoding="utf-8")
    assert document == schema(), advice


def test_writing_makes_both_pages(tmp_path: Path) -> None:
    write(tmp_path)
    assert (tmp_path / "configuration.md").read_text(encoding="utf-8") == markdown()
    assert (tmp_path / "config.schema.json").read_text(encoding="utf-8") == schema()


@pytest.mark.parametrize("model", sorted(set(models(File)), key=str))
def test_every_key_says_what_it_means(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        assert "\n" not in field.description, name


def test_times_and_sizes_have_units() -> None:
    named = re.compile(r"(seconds|bytes|days)$")
    for model in models(File):
        for name, field in model.model_fields.items():
            if match := named.search(name):
                notes = field.json_schema_extra
                assert isinstance(notes, dict), name
                assert notes["unit"] == match[1], name


def test_the_page_names_every_key_flag_and_variable() -> None:
    page = markdown()
    for key in keys():
        assert re.search(rf"[`.\] ]{key}\b", page), key
    for flag in flags():
        assert f"`{flag.text}" in page
    for variable in VARIABLES:
        assert f"`{variable.name}`" in page


def test_the_schema_refuses_unknown_keys_everywhere() -> None:
    document = json.loads(schema())
    parts = [document, *document["$defs"].values()]
    objects = [part for part in parts if "properties" in part]
    assert len(objects) > 20
    assert all(part["additionalProperties"] is False for part in objects)
    assert "maxBodyBytes" in document["$defs"]["ServerConfig"]["properties"]


def test_the_example_shows_every_key() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    missing = [key for key in keys() if not re.search(rf"\b{key}:", text)]
    assert missing == []


def test_the_example_loads_without_a_warning() -> None:
    loaded = load(Options(config=str(EXAMPLE)), {})
    assert loaded.warnings == ()
    assert [provider.id for provider in loaded.config.providers] == ["gaming-pc-3090"]


def test_the_example_shows_the_defaults(read: Read) -> None:
    example = load(Options(config=str(EXAMPLE)), {}).config
    minimal = read(
        """
        providers:
          - id: gaming-pc-3090
            name: Gaming PC (RTX 3090)
            kind: vllm
            endpoint: http://gaming-pc.lan:8000
            maxConcurrent: null
            gpu: RTX 3090
            location: gaming-pc
        models:
          - id: qwen2.5-14b
            name: Qwen 2.5 14B
            providerId: gaming-pc-3090
            upstreamModel: Qwen/Qwen2.5-14B-Instruct
            aliases: [default-chat]
        """
    ).config
    assert example == minimal


def test_every_variable_of_a_kind_is_documented() -> None:
    from proxy.config.kinds import KINDS

    named = {variable.name for variable in VARIABLES}
    assert {name for kind in KINDS.values() for name in kind.key_variables} <= named
