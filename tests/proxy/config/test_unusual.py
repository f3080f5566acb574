"""Odd values are warned about and taken."""

from __future__ import annotations

import pytest

from proxy.config.problems import Report
from proxy.config.schema import File
from proxy.config.unusual import warn_of_unusual
from proxy.config.validate import Validated
from tests.proxy.config.conftest import Faults

LOCAL = "id: a, kind: vllm, endpoint: 'http://a.lan'"


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        ("priority: 900", "priority: 900 is unusual: lower is tried first, from 0"),
        (
            "timeouts: {firstByte: 1}",
            "timeouts.firstByte: 1 s is unusually short for a local model",
        ),
        (
            "timeouts: {whole: 1}",
            "timeouts.whole: 1 s is unusually short for a local model",
        ),
        (
            "timeouts: {connect: 0.1}",
            "timeouts.connect: 0.1 s is unusually short for a local model",
        ),
        (
            "healthCheckTimeout: 40",
            "healthCheckTimeout: is not shorter than healthCheckInterval",
        ),
        (
            "healthCheckInterval: 2, healthCheckTimeout: 1",
            "healthCheckInterval: 2 s between probes is unusual",
        ),
        ("tls: {verify: false}", "tls.verify: is off: anybody on the way can listen"),
    ],
)
def test_odd_values_of_a_provider(warnings: Faults, rest: str, told: str) -> None:
    text = f"providers: [{{{LOCAL}, {rest}}}]"
    assert warnings(text) == [f"1: providers[0].{told}"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/models/"])
def test_the_address_of_a_request_is_none_of_a_provider(
    warnings: Faults, path: str
) -> None:
    text = f"providers: [{{id: a, kind: vllm, endpoint: 'http://a.lan{path}'}}]"
    (told,) = warnings(text)
    assert told.startswith("1: providers[0].endpoint: ends in the path of a request")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("server: {maxBodyBytes: 1000}", "server.maxBodyBytes"),
        ("server: {drainSeconds: 4000}", "server.drainSeconds"),
        ("server: {headTimeoutSeconds: 0.1}", "server.headTimeoutSeconds"),
        ("server: {bodyIdleSeconds: 1}", "server.bodyIdleSeconds"),
        ("stream: {keepAliveSeconds: 600}", "stream.keepAliveSeconds"),
        ("stream: {maxEventBytes: 100}", "stream.maxEventBytes"),
        ("discovery: {refreshSeconds: 1}", "discovery.refreshSeconds"),
    ],
)
def test_odd_values_of_the_gateway(warnings: Faults, text: str, path: str) -> None:
    (told,) = warnings(text)
    assert told.startswith(f"1: {path}: ")
    assert "is unusual" in told


@pytest.mark.parametrize(
    ("host", "is_open"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("192.168.1.5", True),
        ("box.lan", True),
    ],
)
def test_listening_openly_is_said(warnings: Faults, host: str, is_open: bool) -> None:
    told = warnings(f"server: {{host: '{host}'}}")
    assert any("is open to the network" in line for line in told) is is_open


def test_usual_values_are_not_told() -> None:
    report = Report()
    warn_of_unusual(Validated(File(), (), ()), {}, report)
    assert report.warnings == []
