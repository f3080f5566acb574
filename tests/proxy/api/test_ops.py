from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from multidict import CIMultiDict

from proxy.api import info, ops
from proxy.api.context import Context
from proxy.config import Config, ModelConfig, Problem
from proxy.config.reload import Reload
from proxy.config.schema import MetricsConfig
from proxy.config.schema_policy import AuthConfig
from proxy.core.errors import CallerFault
from proxy.routing.registry import Provider, Status
from tests.fakes.kinds import provider
from tests.fakes.site import context, serving

ROUTES = {
    "/health": ops.health,
    "/healthz": ops.healthz,
    "/readyz": ops.readyz,
    "/metrics": ops.metrics,
    "/v1/info": info.info,
}


def spark(**more: Any) -> Provider:
    made = provider("spark", "qwen", max_concurrent=2, gpu="GB10", **more)
    made.latency_s, made.active = 0.0123, 1
    return made


async def get(known: Context, path: str, **headers: str) -> tuple[int, str, Any]:
    async with serving(known, ROUTES) as ask:
        response = await ask(path, headers=headers)
        if response.content_type == "application/json":
            return response.status, response.content_type, await response.json()
        return response.status, response.content_type, await response.text()


async def test_health_is_ok_as_text() -> None:
    assert await get(context(), "/health") == (200, "text/plain", "ok")
    assert await get(context(), "/health?verbose=0") == (200, "text/plain", "ok")


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/health?verbose=1", {}), ("/health", {"accept": "application/json"})],
)
async def test_verbose_health_tells_of_providers(
    path: str, headers: dict[str, str]
) -> None:
    made = spark(health=Status.DEGRADED)
    made.last_error = "key refused"
    known = context([made], active=lambda: 4)
    _, _, document = await get(known, path, **headers)
    assert document["status"] == "ok"
    assert document["version"] == "1.2.3"
    assert document["active_requests"] == 4
    assert document["providers"] == [
        {
            "id": "spark",
            "status": "degraded",
            "latency_ms": 12.3,
            "name": "spark",
            "kind": "vllm",
            "slots": {"active": 1, "max": 2},
            "models": 1,
            "endpoint": "http://spark.lan:8000",
            "last_error": "key refused",
        }
    ]


async def test_addresses_and_errors_are_kept_back_with_authentication_on() -> None:
    config = Config(auth=AuthConfig(enabled=True))
    made = spark()
    made.last_error = "secret detail"
    _, _, document = await get(context([made], config), "/health?verbose=1")
    assert "spark.lan" not in str(document)
    assert "secret detail" not in str(document)


async def test_verbose_health_tells_of_the_walls_around_code() -> None:
    _, _, document = await get(context(), "/health?verbose=1")
    assert document["execute"] == {"enabled": False, "isolation": {}, "missing": {}}


async def test_healthz_touches_nothing() -> None:
    assert await get(context(), "/healthz") == (
        200, "application/json", {"status": "ok"},
    )  # fmt: skip


async def test_ready_when_a_model_can_be_served() -> None:
    status, _, document = await get(context([spark()]), "/readyz")
    assert status == 200
    assert document == {
        "status": "ready",
        "providers": [{"id": "spark", "status": "online", "latency_ms": 12.3}],
        "database": None,
        "shared_state": None,
        "last_reload": None,
    }


async def test_a_shared_state_that_is_away_is_told_and_does_not_matter() -> None:
    known = context([spark()], shared_state=lambda: "away")
    for path in ("/readyz", "/health?verbose=1"):
        status, _, document = await get(known, path)
        assert (status, document["shared_state"]) == (200, "away")


async def test_not_ready_without_a_model_that_can_be_served() -> None:
    down = spark(health=Status.OFFLINE)
    status, _, document = await get(context([down]), "/readyz")
    assert (status, document["status"]) == (503, "not_ready")


async def test_not_ready_while_draining() -> None:
    known = context([spark()], draining=lambda: True)
    status, _, document = await get(known, "/readyz")
    assert (status, document["status"]) == (503, "draining")


FAILED = Reload(
    1700000000.5,
    "SIGHUP",
    problems=(Problem("config.yaml", 3, "server.port", "is `hunter2`, not a port"),),
)


async def test_readiness_tells_this_machine_why_a_reload_failed() -> None:
    known = context([spark()], last_reload=lambda: FAILED)
    status, _, document = await get(known, "/readyz")
    assert status == 200  # it goes on serving by what it had
    assert document["last_reload"] == {
        "status": "failed",
        "at": "2023-11-14T22:13:20.500+00:00",
        "trigger": "SIGHUP",
        "problem_count": 1,
        "problems": [
            {
                "file": "config.yaml",
                "line": 3,
                "path": "server.port",
                "message": "is `hunter2`, not a port",
            }
        ],
        "needs_restart": [],
        "warnings": [],
    }


async def test_readiness_tells_others_only_that_a_reload_failed() -> None:
    known = context([spark()], last_reload=lambda: FAILED)
    _, _, document = await get(known, "/readyz", **{"x-forwarded-for": "203.0.113.9"})
    assert document["last_reload"] == {
        "status": "failed",
        "at": "2023-11-14T22:13:20.500+00:00",
        "trigger": "SIGHUP",
        "problem_count": 1,
    }


async def test_metrics_for_this_machine() -> None:
    status, content_type, text = await get(context(), "/metrics")
    assert (status, content_type) == (200, "text/plain")
    assert "local_ai_active_requests 0.0" in text


async def test_metrics_as_openmetrics_when_asked() -> None:
    accept = "application/openmetrics-text;version=1.0.0"
    _, content_type, text = await get(context(), "/metrics", accept=accept)
    assert content_type == "application/openmetrics-text"
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize(
    "name", ["forwarded", "x-forwarded-for", "X-Forwarded-Proto", "via"]
)
async def test_metrics_are_not_for_those_behind_a_local_proxy(name: str) -> None:
    status, _, text = await get(context(), "/metrics", **{name: "203.0.113.9"})
    assert status == 403
    assert '"forbidden"' in text


def request_from(peer: str | None) -> web.BaseRequest:
    return cast(
        "web.BaseRequest", SimpleNamespace(remote=peer, headers=CIMultiDict[str]())
    )


@pytest.mark.parametrize("peer", ["192.168.1.7", "fe80::1", "nonsense", None])
async def test_metrics_are_not_for_other_machines(peer: str | None) -> None:
    with pytest.raises(CallerFault) as caught:
        await ops.metrics(request_from(peer), context())
    assert (caught.value.code, caught.value.status) == ("forbidden", 403)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1"])
async def test_metrics_know_loopback(peer: str) -> None:
    assert (await ops.metrics(request_from(peer), context())).status == 200


async def test_public_metrics_are_for_all() -> None:
    config = Config(metrics=MetricsConfig(public=True))
    known = context(config=config)
    assert (await ops.metrics(request_from("192.168.1.7"), known)).status == 200


async def test_info_tells_of_models_and_providers() -> None:
    model = ModelConfig(id="mine", provider_id="spark", upstream_model="qwen")
    known = context([spark()], Config(models=(model,)))
    _, _, document = await get(known, "/v1/info")
    assert document["version"] == "1.2.3"
    (shown,) = document["models"]
    assert (shown["id"], shown["default"]) == ("mine", True)
    assert document["providers"] == [
        {
            "id": "spark",
            "name": "spark",
            "kind": "vllm",
            "type": "local",
            "status": "online",
            "slots": {"active": 1, "max": 2},
            "models": 1,
            "gpu": "GB10",
            "location": None,
        }
    ]


async def test_info_with_nothing_there() -> None:
    _, _, document = await get(context(), "/v1/info")
    assert (document["models"], document["providers"]) == ([], [])
