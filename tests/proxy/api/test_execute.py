from __future__ import annotations

import json
from typing import Any, cast

import pytest

from proxy.api import execute
from proxy.api.context import Context
from proxy.config import Config
from proxy.config.schema_policy import ExecuteConfig
from proxy.sandbox.limits import Limits
from proxy.sandbox.run import Outcome, Run
from proxy.sandbox.sandbox import Sandbox
from tests.fakes.site import context, serving

OUTCOME = Outcome(
    result=b'{"n": 1000000000000000000000000000000}',
    result_type="dict",
    stdout="hi\n",
    stderr="",
    duration_ms=1.5,
    engine="monty",
    isolation=("process", "jail"),
    truncated=False,
)


class FakeSandbox:
    """Answers the same outcome to each run, and remembers what it was given."""

    def __init__(self, *, enabled: bool = True) -> None:
        self.config = ExecuteConfig(enabled=enabled, input_bytes=2000)
        self.limits = Limits(input_bytes=2000)
        self.runs: list[tuple[Run, int]] = []

    async def run(self, run: Run, size_bytes: int, holder: str) -> Outcome:
        self.runs.append((run, size_bytes))
        return OUTCOME


def known(fake: FakeSandbox) -> Context:
    return context(sandbox=cast("Sandbox", fake))


async def post(
    fake: FakeSandbox, body: Any, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with serving(known(fake), {"/execute": execute.execute}) as ask:
        response = await ask("/execute", data=data, headers=headers)
        text = await response.text()
        return response.status, json.loads(text) | {"text": text}


async def test_a_run_is_handed_on_and_its_outcome_answered() -> None:
    fake = FakeSandbox()
    body = {"code": "def f(a): ...", "input": {"a": [1]}, "timeout_s": 2}
    status, answer = await post(fake, body)
    assert status == 200
    assert fake.runs == [(Run("def f(a): ...", {"a": [1]}, 2.0, None), 22)]
    assert '"result":{"n": 1000000000000000000000000000000}' in answer["text"]
    assert answer["isolation"] == ["process", "jail"]
    assert {name: answer[name] for name in ("result_type", "stdout", "engine")} == {
        "result_type": "dict",
        "stdout": "hi\n",
        "engine": "monty",
    }
    assert (answer["duration_ms"], answer["truncated"]) == (1.5, False)


@pytest.mark.parametrize(
    ("engine", "meant"),
    [("auto", None), (None, None), ("monty", "monty"), ("cpython", "cpython")],
)
async def test_what_is_left_out_has_its_default(engine: Any, meant: Any) -> None:
    fake = FakeSandbox()
    await post(fake, {"code": "", "input": None, "engine": engine})
    assert fake.runs[0][0] == Run("", {}, 5.0, meant)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_field", "code"),
        ({"code": 3}, "invalid_field", "code"),
        ({"code": None}, "invalid_field", "code"),
        ({"code": "", "input": [1]}, "invalid_field", "input"),
        ({"code": "", "timeout_s": 0}, "invalid_field", "timeout_s"),
        ({"code": "", "timeout_s": 31}, "invalid_field", "timeout_s"),
        ({"code": "", "timeout_s": True}, "invalid_field", "timeout_s"),
        ({"code": "", "timeout_s": "5"}, "invalid_field", "timeout_s"),
        ({"code": "", "engine": "bash"}, "invalid_field", "engine"),
        ({"code": "", "engine": ["monty"]}, "invalid_field", "engine"),
        ([], "invalid_json", None),
        (b"{", "invalid_json", None),
        (b'{"code": "", "code": "x"}', "invalid_json", None),
        (b'{"code": NaN}', "invalid_json", None),
    ],
)
async def test_what_is_wrong_is_named(body: Any, code: str, param: Any) -> None:
    fake = FakeSandbox()
    status, answer = await post(fake, body)
    assert (status, answer["code"], answer["param"]) == (400, code, param)
    assert fake.runs == []


async def test_more_than_the_limit_is_refused() -> None:
    fake = FakeSandbox()
    status, answer = await post(fake, {"code": " " * 3000})
    assert (status, answer["code"]) == (413, "body_too_large")
    assert fake.runs == []


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "gateway.lan"},
        {"x-forwarded-for": "127.0.0.1"},
        {"forwarded": "for=127.0.0.1"},
        {"via": "1.1 proxy"},
        {"sec-fetch-site": "cross-site"},
    ],
)
async def test_code_is_for_this_machines_own_callers(headers: dict[str, str]) -> None:
    fake = FakeSandbox()
    status, answer = await post(fake, {"code": ""}, headers)
    assert (status, answer["code"]) == (403, "forbidden")
    assert fake.runs == []


async def test_what_is_off_names_its_key() -> None:
    fake = FakeSandbox(enabled=False)
    status, answer = await post(fake, {"code": ""})
    assert (status, answer["code"]) == (501, "not_configured")
    assert "execute.enabled" in answer["message"]
    assert fake.runs == []


def test_it_is_off_unless_configured() -> None:
    assert not Config().execute.enabled
