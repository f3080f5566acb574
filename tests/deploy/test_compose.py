"""What deploy/compose.yaml says holds together, and with what the gateway reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import yaml

from proxy.config import Loaded, Options, load
from proxy.config.env import VARIABLES

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
GATEWAYS: Final = ("gateway-1", "gateway-2")
VARIABLE: Final = re.compile(r"\$\{(\w+):\?[^}]+\}")


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    text = (DEPLOY / "compose.yaml").read_text()
    content = yaml.safe_load(VARIABLE.sub("secret", text))
    volumes = content["volumes"]
    named = {
        volume.partition(":")[0]
        for service in content["services"].values()
        for volume in service.get("volumes", ())
    }
    assert {name for name in named if not name.startswith(".")} == set(volumes)
    found: dict[str, dict[str, Any]] = content["services"]
    return found


def test_there_are_two_gateways_a_database_and_a_shared_state(
    services: dict[str, dict[str, Any]],
) -> None:
    assert set(services) == {*GATEWAYS, "postgres", "valkey"}
    for name, service in services.items():
        assert re.fullmatch(r"local-ai|[a-z/]+:\d[\w.-]*", service["image"]), name
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
        assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_gateway_finds_the_others_by_variables_that_it_reads(
    services: dict[str, dict[str, Any]], name: str
) -> None:
    gateway = services[name]
    assert (DEPLOY / gateway["build"] / "Dockerfile").exists()
    environment = gateway["environment"]
    assert set(environment) <= {variable.name for variable in VARIABLES}
    config = read(environment).config
    assert urlsplit(config.database.url or "").hostname in services
    assert urlsplit(config.state.url).hostname in services
    assert set(gateway["depends_on"]) == {"postgres", "valkey"}
    health = " ".join(gateway["healthcheck"]["test"])
    assert f"http://127.0.0.1:{config.server.port}/healthz" in health


def test_each_gateway_has_its_own_port_and_data(
    services: dict[str, dict[str, Any]],
) -> None:
    ports = [port for name in GATEWAYS for port in services[name]["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in ports), "published here alone"
    assert len({port.split(":")[1] for port in ports}) == len(ports)
    kept = [v for name in GATEWAYS for v in services[name]["volumes"] if v[0] != "."]
    assert sorted(kept) == ["gateway-1:/data", "gateway-2:/data"]


def test_their_configuration_is_fine_and_asks_for_keys(
    services: dict[str, dict[str, Any]],
) -> None:
    loaded = read(services["gateway-1"]["environment"])
    assert loaded.warnings == ()
    assert loaded.config.auth.enabled
    assert [one.max_concurrent for one in loaded.config.providers] == [1]
    mounted = {v.split(":")[1] for v in services["gateway-1"]["volumes"] if v[0] == "."}
    assert mounted == {services["gateway-1"]["environment"]["PROXY_CONFIG"]}


def read(environment: dict[str, str]) -> Loaded:
    """Read it as a gateway of the composition does."""
    # As in the Dockerfile.
    variables = {**environment, "PROXY_HOST": "0.0.0.0", "PROXY_DATA_DIR": "/tmp"}
    del variables["PROXY_CONFIG"]
    file = DEPLOY / "compose.config.yaml"
    return load(Options(config=str(file)), variables, places=())
