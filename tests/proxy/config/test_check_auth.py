from __future__ import annotations

from typing import Any

import pytest

from proxy.config.check_auth import check_auth
from proxy.config.problems import Report
from proxy.config.schema_policy import AuthConfig, JwtConfig

SECRET = "x" * 32
URL = "https://issuer.example/keys"


def told(*, enabled: bool = True, **jwt: Any) -> tuple[list[str], list[str]]:
    """The keys that errors and warnings are about."""
    report = Report()
    check_auth(AuthConfig(enabled=enabled, jwt=JwtConfig(**jwt)), report)
    return (
        [str(path[-1]) for path in report.errors],
        [problem.path.rpartition(".")[2] for problem in report.warnings],
    )


@pytest.mark.parametrize(
    ("jwt", "errors", "warnings"),
    [
        ({}, [], []),
        ({"secret": SECRET}, [], []),
        ({"secret": ""}, [], []),
        ({"secret": SECRET[1:]}, ["secret"], []),
        ({"secret": "é" * 16}, [], []),
        ({"algorithms": ("RS256",)}, ["algorithms"], []),
        ({"jwks_url": URL}, ["algorithms"], []),
        ({"jwks_url": URL, "algorithms": ("RS256", "EdDSA")}, [], []),
        (
            {"jwks_url": URL, "algorithms": ("RS256",), "secret": SECRET},
            [],
            ["algorithms"],
        ),
        (
            {"jwks_url": "issuer.example/keys", "algorithms": ("ES256",)},
            ["jwksUrl"],
            [],
        ),
        ({"jwks_url": "file:///keys", "algorithms": ("ES256",)}, ["jwksUrl"], []),
        ({"jwks_url": "http://a.example/k", "algorithms": ("ES256",)}, [], ["jwksUrl"]),
        ({"jwks_url": "http://127.0.0.1/k", "algorithms": ("ES256",)}, [], []),
    ],
)
def test_what_decides_whose_tokens_are_believed_must_fit(
    jwt: dict[str, Any], errors: list[str], warnings: list[str]
) -> None:
    assert told(**jwt) == (errors, warnings)


def test_a_secret_for_something_else_stops_no_gateway_that_asks_nobody() -> None:
    assert told(enabled=False, secret="short") == ([], [])


@pytest.mark.parametrize("name", ["none", "HS512", "RS512", "rs256", ""])
def test_no_other_algorithm_can_be_named(name: str) -> None:
    with pytest.raises(ValueError):
        JwtConfig(algorithms=(name,))  # type: ignore[arg-type]
