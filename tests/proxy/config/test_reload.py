from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.config import Config, Loaded, Problem
from proxy.config.reload import Reload, emptied, held_back
from proxy.config.schema import RoutingConfig, ServerConfig, ServerTls
from proxy.config.schema_policy import DatabaseConfig
from tests.proxy.config.conftest import Read

OLD = Config(server=ServerConfig(host="127.0.0.1", port=3500))


@pytest.mark.parametrize(
    ("server", "key"),
    [
        ({"host": "0.0.0.0"}, "server.host"),
        ({"port": 4000}, "server.port"),
        ({"workers": 2}, "server.workers"),
        ({"tls": ServerTls(cert_file="c", key_file="k")}, "server.tls"),
    ],
)
def test_where_it_listens_stays_until_a_restart(
    server: dict[str, Any], key: str
) -> None:
    new = Config(server=ServerConfig(**server, drain_seconds=5))
    config, needs_restart = held_back(OLD, new)
    assert needs_restart == (key,)
    assert (config.server.host, config.server.port) == ("127.0.0.1", 3500)
    assert (config.server.workers, config.server.tls) == (1, None)
    assert config.server.drain_seconds == 5


def test_the_database_and_the_folder_of_data_stay_until_a_restart() -> None:
    new = Config(database=DatabaseConfig(url="postgresql://x"), data_dir=Path("other"))
    config, needs_restart = held_back(OLD, new)
    assert needs_restart == ("database", "dataDir")
    assert (config.database, config.data_dir) == (OLD.database, OLD.data_dir)


def test_all_else_is_heeded_at_once() -> None:
    new = Config(routing=RoutingConfig(default_model="tiny"))
    assert held_back(OLD, new) == (new, ())


def test_a_reload_with_a_problem_has_failed() -> None:
    assert Reload(0.0, "SIGHUP").ok
    assert not Reload(0.0, "SIGHUP", (Problem("f", 1, "server", "is odd"),)).ok


def test_a_file_that_was_emptied_is_noticed(read: Read) -> None:
    full, empty = read("server: {drainSeconds: 5}"), read("# nothing\n")
    assert emptied(full, empty)
    assert not emptied(empty, empty)
    assert not emptied(empty, full)
    assert not emptied(full, full)
    assert not emptied(full, Loaded(Config()))
