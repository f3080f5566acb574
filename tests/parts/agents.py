"""Coding agents, without a screen: how each is told to ask one address, and nobody else.

An agent gets a home and a folder of its own, no variable of whoever runs the tests,
and a proxy that nobody listens at for all that is not this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.fakes.talk import Called

MODEL: Final = "tiny"
TIMEOUT_S: Final = 120.0
# The discard port: what asks elsewhere fails at once.
NOWHERE: Final = "http://127.0.0.1:9"
QUIET: Final = {
    "HTTP_PROXY": NOWHERE,
    "HTTPS_PROXY": NOWHERE,
    "ALL_PROXY": NOWHERE,
    "NO_PROXY": "127.0.0.1,localhost",
    "http_proxy": NOWHERE,
    "https_proxy": NOWHERE,
    "all_proxy": NOWHERE,
    "no_proxy": "127.0.0.1,localhost",
    "DO_NOT_TRACK": "1",
    "NO_COLOR": "1",
    "CI": "1",
}


@dataclass(frozen=True)
class Agent:
    """`operation` is what it asks the gateway for, `reads` are the calls by which it may
    be told to read a file; `settle` writes its settings and answers its variables.
    """

    program: str
    arguments: tuple[str, ...]
    operation: str
    reads: Callable[[Path], tuple[Called, ...]]
    settle: Callable[[Path, str], Mapping[str, str]]


@dataclass(frozen=True)
class Ended:
    code: int | None
    stdout: str
    stderr: str


async def run_agent(
    agent: Agent, packages: Path, home: Path, work: Path, url: str, prompt: str
) -> Ended:
    """Have an agent do one thing in `work`, with `home` for its own files.

    `code` is None where it had to be ended.
    """
    variables = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)}
    process = await asyncio.create_subprocess_exec(
        str(packages / "node_modules" / ".bin" / agent.program),
        *agent.arguments,
        prompt,
        cwd=work,
        env={**variables, **QUIET, **agent.settle(home, url)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        return Ended(None, "", "")
    finally:
        _end_group(process.pid)
    return Ended(process.returncode, stdout.decode(), stderr.decode())


def _end_group(pid: int) -> None:
    """End what the agent has started, too: it leads a session of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _claude(home: Path, url: str) -> Mapping[str, str]:
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": "unused",
        "ANTHROPIC_MODEL": MODEL,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": MODEL,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_TELEMETRY": "1",
    }


_CODEX_SETTINGS = """
model = "{model}"
model_provider = "gateway"
check_for_update_on_startup = false

[model_providers.gateway]
name = "gateway"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "GATEWAY_KEY"

[analytics]
enabled = false

[features]
apps = false
plugins = false
remote_plugin = false
skill_search = false
"""


def _codex(home: Path, url: str) -> Mapping[str, str]:
    folder = home / ".codex"
    folder.mkdir()
    text = _CODEX_SETTINGS.format(model=MODEL, url=url)
    (folder / "config.toml").write_text(text)
    return {"CODEX_HOME": str(folder), "GATEWAY_KEY": "unused"}


def _opencode(home: Path, url: str) -> Mapping[str, str]:
    folder = home / ".config" / "opencode"
    folder.mkdir(parents=True)
    provider: dict[str, Any] = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "gateway",
        "options": {"baseURL": f"{url}/v1", "apiKey": "unused"},
        "models": {MODEL: {"name": MODEL, "tool_call": True}},
    }
    settings: dict[str, Any] = {
        "model": f"gateway/{MODEL}",
        "small_model": f"gateway/{MODEL}",
        "autoupdate": False,
        "share": "disabled",
        "enabled_providers": ["gateway"],
        "provider": {"gateway": provider},
    }
    (folder / "opencode.json").write_text(json.dumps(settings))
    return {
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
    }


def _codex_reads(file: Path) -> tuple[Called, ...]:
    command = f"cat {file}"
    return (
        Called("exec_command", {"cmd": command}),
        Called("shell_command", {"command": command}),
        Called("shell", {"command": ["cat", str(file)]}),
    )


AGENTS: Final = {
    "claude": Agent(
        "claude",
        ("--allowedTools", "Read", "-p"),
        "messages",
        lambda file: (Called("Read", {"file_path": str(file)}),),
        _claude,
    ),
    "codex": Agent(
        "codex",
        ("exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"),
        "responses",
        _codex_reads,
        _codex,
    ),
    "opencode": Agent(
        "opencode",
        ("run", "--pure", "--print-logs", "--log-level", "WARN"),
        "chat",
        lambda file: (Called("read", {"filePath": str(file)}),),
        _opencode,
    ),
}
