from __future__ import annotations

from pathlib import Path

from proxy.config import masked
from proxy.config.sources import DEFAULT, OUTSIDE, sources_of
from tests.proxy.config.conftest import Read

TEXT = """
server: {allowedHosts: [one, two]}
providers:
  - id: a
    kind: vllm
    endpoint: http://a.lan
    authSecret: hunter2-key
    timeouts: {connect: 3}
"""


def test_each_value_has_its_place(read: Read, tmp_path: Path) -> None:
    loaded = read(TEXT, {"LOG_LEVEL": "debug", "OPENAI_API_KEY": "sk-1"}, port=4000)
    found = sources_of(loaded)
    assert found["server.port"] == "command line --port"
    assert found["logging.level"] == "environment LOG_LEVEL"
    assert found["server.allowedHosts[1]"].endswith(":2")
    assert found["providers[0].kind"].endswith(":5")
    assert found["providers[0].keys[0]"].endswith(":7")
    assert found["providers[0].timeouts.connect"].endswith(":8")
    assert found["environmentKeys.openai"] == OUTSIDE


def test_what_nobody_set_is_a_default(read: Read) -> None:
    found = sources_of(read(TEXT))
    for path in ("server.host", "providers[0].timeouts.idle", "models", "dataDir"):
        assert found[path] == DEFAULT, path


def test_every_value_that_is_shown_has_one(read: Read) -> None:
    loaded = read(TEXT)
    found = sources_of(loaded)
    sections = {path.partition(".")[0].partition("[")[0] for path in found}
    assert sections == set(masked(loaded.config))
    assert "hunter2" not in str(found)
