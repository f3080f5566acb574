"""Running code in a sandbox from a test, in a line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from proxy.core.errors import GatewayError
from proxy.sandbox.run import EngineName, Outcome, Run
from proxy.sandbox.sandbox import Sandbox

Ask = Callable[..., Awaitable[Outcome]]
"""`await ask(code, timeout_s=5.0, **input)`"""


def asking(sandbox: Sandbox, engine: EngineName | None) -> Ask:
    async def ask(code: str, *, timeout_s: float = 5.0, **given: Any) -> Outcome:
        return await sandbox.run(Run(code, given, timeout_s, engine), len(code))

    return ask


def value(outcome: Outcome) -> Any:
    return orjson.loads(outcome.result)


async def failure(run: Awaitable[Outcome]) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await run
    return caught.value
