from __future__ import annotations

import pytest

from tests.proxy.config.conftest import Faults, Read

NEED = (
    "several workers need a state that they share: set state.url (REDIS_URL) to "
    "valkey://… or redis://…, or leave workers at 1"
)


@pytest.mark.parametrize(
    "url",
    [
        "valkey://127.0.0.1",
        "redis://127.0.0.1:6379/2",
        "rediss://user:secret@cache.lan:6380",
        "valkeys://[::1]:6379/0",
    ],
)
def test_several_workers_share_what_a_server_keeps(read: Read, url: str) -> None:
    loaded = read(f"{{server: {{workers: 3}}, state: {{url: '{url}'}}}}")
    assert (loaded.config.server.workers, loaded.config.state.url) == (3, url)
    assert loaded.warnings == ()


def test_several_workers_without_one_are_refused(faults: Faults) -> None:
    assert faults("server: {workers: 2}") == [f"1: server.workers: {NEED}"]
    assert faults("", workers=3) == [f"command line: --workers: {NEED}"]
    assert faults("", {"PROXY_WORKERS": "3"}) == [f"environment: PROXY_WORKERS: {NEED}"]


def test_the_environment_names_the_server(read: Read) -> None:
    loaded = read("", {"REDIS_URL": "redis://cache.lan"}, workers=2)
    assert loaded.config.state.url == "redis://cache.lan"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "http://cache.lan",
            "should begin with one of memory://, valkey://, valkeys://, redis://, rediss://",
        ),
        ("valkey://", "should name a host, such as valkey://127.0.0.1:6379"),
        ("valkey://a:port", "should name a host, such as valkey://127.0.0.1:6379"),
        ("redis://a:0", "should name a host, such as valkey://127.0.0.1:6379"),
        ("redis://a/first", "should end with the number of a database, or nothing"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(
    faults: Faults, url: str, told: str
) -> None:
    assert faults(f"state: {{url: '{url}'}}") == [f"1: state.url: {told}"]
