"""What this version does not do is warned about, never taken silently."""

from __future__ import annotations

import pytest

from proxy.config.later import warn_of_what_is_not_there
from proxy.config.problems import Report
from proxy.config.schema import File
from proxy.config.validate import Validated
from tests.proxy.config.conftest import Faults, Read


def test_a_database_may_be_named(read: Read) -> None:
    loaded = read("database: {url: 'postgresql://x'}")
    assert loaded.config.database.url == "postgresql://x"
    assert loaded.warnings == ()


def test_the_same_keys_at_their_defaults_are_fine(read: Read) -> None:
    loaded = read(
        """
        auth: {enabled: false}
        server: {workers: 1}
        state: {url: "memory://"}
        database: {url: null}
        rateLimits: {byTenant: {}}
        execute: {enabled: false}
        """
    )
    assert loaded.warnings == ()


def test_where_traces_go_is_read_from_the_environment(read: Read) -> None:
    loaded = read("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"})
    assert loaded.config.otlp_endpoint == "http://collector:4318"
    assert loaded.warnings == ()


def test_a_token_secret_is_said_to_have_no_effect(warnings: Faults) -> None:
    told = warnings("", jwt_secret="hunter2")
    assert any("--jwt-secret: has no effect" in line for line in told)


def test_with_authentication_on_it_has(read: Read) -> None:
    loaded = read("", jwt_secret="x" * 32, enable_auth=True)
    assert not any("no effect" in str(told) for told in loaded.warnings)


def test_bodies_go_with_records(read: Read, warnings: Faults) -> None:
    assert read("logging: {requestLog: {bodies: true}}").warnings == ()
    (told,) = warnings("logging: {requestLog: {bodies: true, retainDays: 0}}")
    assert told.startswith("1: logging.requestLog.bodies: has no effect: retainDays")


def test_defaults_are_refused_nothing() -> None:
    report = Report()
    warn_of_what_is_not_there(Validated(File(), (), ()), report)
    assert not report.errors
    assert not report.warnings


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (
            "providers: [{id: a, kind: ollama, endpoint: 'http://a', cacheSalt: true}]",
            "providers[0].cacheSalt",
        ),
    ],
)
def test_a_key_without_effect_is_a_warning(
    warnings: Faults, text: str, path: str
) -> None:
    (told,) = warnings(text)
    assert told.startswith(f"1: {path}: has no effect in this version: ")
