"""The subjects: nothing between (direct), nginx and the gateway.

Each has a free port of 127.0.0.1 and the mock as its upstream. The subjects run alone
on the last CPU where there are two; mock, load and the harness stay on the first.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from proxy.auth.api_keys import hash_of
from proxy.core.keys import KeyRow
from proxy.storage.database import Database
from proxy.storage.keys import Keys
from tests.bench.build import HERE, ROOT, Tools
from tests.bench.heads import PAUSE_MS, SPOKEN
from tests.bench.subject import Subject
from tests.parts.ports import free_port

KEY: Final = "sk-bench-0123456789abcdef"
"""What the recorded heads have."""
GATEWAY: Final = (sys.executable, "-m", "proxy")


class Lab:
    """Builds the subjects of one run, each in a folder of its own.

    `gateway` is the command that starts ours, without port and configuration.
    """

    def __init__(
        self, tools: Tools, folder: Path, gateway: tuple[str, ...] = GATEWAY
    ) -> None:
        self.tools = tools
        self.folder = folder
        self.pin = pin_to_first_cpu()
        self._gateway = gateway
        self._upstream_port = free_port()

    def direct(self) -> Subject:
        """The mock itself: what a request costs without anything between."""
        port = self._upstream_port
        command = (str(self.tools.mock), str(port))
        return Subject("direct", port, command, folder=self.folder / "direct")

    def nginx(self) -> Subject:
        port, folder = free_port(), self.folder / "nginx"
        config = (HERE / "nginx.conf").read_text(encoding="utf-8")
        values = {"folder": folder, "port": port, "upstream": self._upstream_port}
        for name, value in values.items():
            config = config.replace(f"{{{name}}}", str(value))
        path = _written(folder / "nginx.conf", config)
        # `-e`: else it opens its built-in error log before it reads the configuration.
        flags = ("-e", "stderr", "-p", str(folder), "-c", str(path))
        command = (*self.pin, str(self.tools.nginx), *flags)
        return Subject("nginx", port, command, folder=folder)

    def ours(self) -> Subject:
        """The gateway, with the mock as a vLLM server. It asks for the key that the
        recorded heads have, and holds it to a limit that nobody reaches.
        """
        folder = self.folder / "ours"
        upstream = f"http://127.0.0.1:{self._upstream_port}"
        config = _written(
            folder / "config.yaml", gateway_config(upstream, is_guarded=True)
        )
        asyncio.run(_keep_key(folder / "data"))
        return self._our_command(folder, "--config", str(config))

    def ours_alone(self) -> Subject:
        """The gateway without configuration, looking for servers around."""
        return self._our_command(self.folder / "alone")

    def _our_command(self, folder: Path, *flags: str) -> Subject:
        port = free_port()
        command = (*self.pin, *self._gateway, "--port", str(port), *flags)
        return Subject("ours", port, command, folder=folder, env=our_env(folder))


def gateway_config(upstream: str, *, is_guarded: bool = False) -> str:
    """A configuration with model `mock` on a vLLM server at `upstream`, unlimited.

    Another model is on a server there that speaks chat alone. `is_guarded`: callers
    need a key and have a rate limit.
    """
    provider = {"endpoint": upstream, "maxConcurrent": None}
    spoken = {
        "id": SPOKEN,
        "providerId": "chat",
        "upstreamModel": "mock",
        "params": {"set": {"seed": PAUSE_MS}},
    }
    config = {
        "server": {"drainSeconds": 1},
        "discovery": {"enabled": False},
        "providers": [
            {"id": "mock", "kind": "vllm", **provider},
            {"id": "chat", "kind": "openai-compatible", **provider},
        ],
        "models": [{"id": "mock", "providerId": "mock"}, spoken],
    }
    if is_guarded:
        config["auth"] = {"enabled": True}
        config["rateLimits"] = {"default": {"requests": "100000000/minute"}}
    return json.dumps(config, indent=1)  # JSON is YAML


async def _keep_key(data: Path) -> None:
    async with Database(data_dir=data) as database:
        await Keys(database).add(
            KeyRow(
                id="key_bench",
                name="bench",
                hash=hash_of(KEY),
                prefix=KEY[:8],
                tenant="default",
                scopes=("inference",),
                created_at=0.0,
            )
        )


def our_env(folder: Path) -> dict[str, str]:
    """The gateway's environment: this checkout, and data in `folder`."""
    return {"PYTHONPATH": str(ROOT), "PROXY_DATA_DIR": str(folder / "data")}


def pin_to_first_cpu() -> tuple[str, ...]:
    """Move this process to the first CPU; answers what puts a command on the last.

    With one CPU or without taskset nothing is moved and the answer is empty.
    """
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2 or shutil.which("taskset") is None:
        return ()
    os.sched_setaffinity(0, {cpus[0]})
    return ("taskset", "-c", str(cpus[-1]))


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
