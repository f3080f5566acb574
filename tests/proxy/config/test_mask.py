"""No secret shows: not in dumps, reprs or errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.config import ConfigError, Loaded, masked
from proxy.config.mask import HIDDEN
from tests.proxy.config.conftest import Read

TEXT = """
auth: {jwt: {secret: hunter2-jwt}}
providers:
  - id: a
    kind: openai
    authSecrets: [hunter2-one, hunter2-two]
    headers: {X-Team-Key: hunter2-header}
    proxy: http://me:hunter2@out.lan:3128
  - {id: b, kind: vllm, endpoint: 'http://b.lan', authSecret: '${file:key}'}
"""
ENVIRON = {
    "ZAI_API_KEY": "hunter2-zai",
    "VLLM_API_KEY": "hunter2-vllm",
    "HTTPS_PROXY": "http://me:hunter2@out.lan:3128",
}


@pytest.fixture
def loaded(read: Read, tmp_path: Path) -> Loaded:
    (tmp_path / "key").write_text("hunter2-file")
    return read(TEXT, ENVIRON, openai_api_key="hunter2-flag")


def test_the_value_holds_the_secrets(loaded: Loaded) -> None:
    assert loaded.config.providers[0].keys == ("hunter2-one", "hunter2-two")
    assert loaded.config.providers[1].keys == ("hunter2-file",)


def test_no_secret_is_in_a_dump(loaded: Loaded) -> None:
    text = json.dumps(masked(loaded.config))
    assert "hunter2" not in text
    assert "me:" not in text


def test_a_dump_says_that_there_are_secrets(loaded: Loaded) -> None:
    dump = masked(loaded.config)
    first = dump["providers"][0]
    assert first["keys"] == [HIDDEN, HIDDEN]
    assert first["headers"] == {"x-team-key": HIDDEN}
    assert first["proxy"] == "http://***@out.lan:3128"
    assert dump["environmentKeys"] == {"openai": HIDDEN, "zai": HIDDEN}
    assert dump["auth"]["jwt"]["secret"] == HIDDEN
    assert dump["providers"][1]["headers"] == {}


def test_a_dump_uses_the_keys_of_the_file(loaded: Loaded) -> None:
    dump = masked(loaded.config)
    assert dump["server"]["maxBodyBytes"] == 33554432
    assert dump["providers"][0]["timeouts"]["firstByte"] == 120
    assert dump["dataDir"] == "data"


def test_no_secret_is_in_a_repr(loaded: Loaded) -> None:
    assert "hunter2" not in repr(loaded)


def test_no_secret_is_in_the_sources_or_warnings(loaded: Loaded) -> None:
    assert "hunter2" not in str(dict(loaded.sources))
    assert "hunter2" not in " ".join(str(warning) for warning in loaded.warnings)


def test_no_secret_is_in_an_error(read: Read) -> None:
    text = """
    auth: {jwt: {secret: [hunter2]}, keyPrefx: hunter2}
    database: {url: [hunter2]}
    providers:
      - id: a
        kind: openai
        authSecret: {hunter2: hunter2}
        authSecrets: hunter2
        headers: {a: [hunter2]}
        proxy: hunter2
        timeouts: {idle: hunter2}
    """
    with pytest.raises(ConfigError) as raised:
        read(text, {"PROXY_PORT": "hunter2"})
    assert len(raised.value.problems) == 9
    assert "hunter2" not in str(raised.value)
    assert "hunter2" not in repr(raised.value.problems)
