from __future__ import annotations

import json
import shlex
from types import MappingProxyType

import pytest

from providers.base import FoundModel
from proxy.config import Config, ModelConfig
from proxy.config.schema import DiscoveryConfig
from proxy.routing.greeting import greeting
from proxy.routing.registry import Provider, Status
from tests.fakes.kinds import provider

URL = "http://127.0.0.1:3500"


def found(*models: FoundModel | str, **more: object) -> Provider:
    return provider(
        "ollama",
        *models,
        kind="ollama",
        endpoint="http://127.0.0.1:11434",
        discovered=True,
        **more,
    )


def curl_of(text: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.strip().startswith("curl ")]
    return shlex.split(line)


def asked_model(text: str) -> object:
    words = curl_of(text)
    body = json.loads(words[words.index("-d") + 1])
    assert body["stream"] is True
    assert body["messages"]
    return body["model"]


def test_says_what_was_found_and_where() -> None:
    text = greeting(Config(), [found("a", "b", "c")], URL)
    assert text.splitlines()[0] == "ollama on 11434: 3 models (a, b, c)"
    assert f"{URL}/v1" in text
    assert f"{URL}/\n" in text


def test_long_lists_are_cut_and_counted() -> None:
    models = [f"m{n}" for n in range(400)]
    text = greeting(Config(), [found(*models)], URL)
    assert "400 models (m0, m1, m2, m3, m4, and 395 more)" in text


def test_one_model_is_not_models() -> None:
    assert "1 model (a)" in greeting(Config(), [found("a")], URL)


@pytest.mark.parametrize("name", ["llama3", 'it\'s "odd" $(rm) `x`', "größe", "a b"])
def test_curl_line_works_as_pasted_whatever_the_model_is_called(name: str) -> None:
    text = greeting(Config(), [found(name)], URL)
    words = curl_of(text)
    assert words[:3] == ["curl", "-N", f"{URL}/v1/chat/completions"]
    assert words[words.index("-H") + 1] == "content-type: application/json"
    assert asked_model(text) == name


def test_curl_asks_for_a_model_that_chats_and_is_warm() -> None:
    text = greeting(
        Config(),
        [
            found(
                FoundModel("embed", warm=True, kind="embeddings"),
                FoundModel("cold", warm=False, kind="chat"),
                FoundModel("warm", warm=True, kind="chat"),
            )
        ],
        URL,
    )
    assert asked_model(text) == "warm"


def test_curl_asks_for_the_operators_default_by_its_name() -> None:
    model = ModelConfig(
        id="mine", provider_id="ollama", upstream_model="a", is_default=True
    )
    text = greeting(Config(models=(model,)), [found("a", "b")], URL)
    assert asked_model(text) == "mine"


def test_a_provider_that_is_down_says_why_and_gets_no_curl() -> None:
    down = provider("spark", "m", health=Status.OFFLINE)
    down.last_error = "connection refused"
    text = greeting(Config(), [down], URL)
    assert (
        text.splitlines()[0] == "spark at spark.lan:8000: offline (connection refused)"
    )
    assert "curl" not in text
    assert "No model can be served yet" in text


def test_one_not_asked_yet_is_neither_found_nor_lost() -> None:
    text = greeting(Config(), [provider("spark", health=Status.UNKNOWN)], URL)
    assert "spark at spark.lan:8000: not answered yet" in text


def test_nothing_found_says_what_was_looked_for_and_what_to_do() -> None:
    text = greeting(Config(), [], URL)
    assert "No model server was found." in text
    for word in ("11434", "1234", "8000", "8080", "9931", "OPENAI_API_KEY", "--demo"):
        assert word in text
    assert "config.yaml" in text
    assert "curl" not in text
    assert f"{URL}/v1" in text


def test_nothing_found_names_the_operators_hint() -> None:
    hints = MappingProxyType({"ollama": "http://pc.lan:4000"})
    text = greeting(Config(local_hints=hints), [], URL)
    assert "http://pc.lan:4000" in text
    assert "11434" not in text


def test_without_discovery_it_does_not_claim_to_have_looked() -> None:
    text = greeting(Config(discovery=DiscoveryConfig(enabled=False)), [], URL)
    assert "discovery is off" in text
    assert "11434" not in text


def test_a_server_cannot_write_to_the_terminal() -> None:
    text = greeting(Config(), [found("\x1b[2Jevil\nname\x9b")], URL)
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "\\x1b[2Jevil\\nname" in text.splitlines()[0]


def test_demo_has_no_address() -> None:
    demo = provider("demo", "demo-chat", kind="demo", endpoint="demo://local")
    assert greeting(Config(), [demo], URL).startswith("demo: 1 model (demo-chat)")
