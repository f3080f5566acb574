"""The first minutes: what a start prints, and how a start that fails ends."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.parts.gateway import ROOT, Gateway, Start, run_to_end
from tests.parts.llama import llama_server, need_parts
from tests.parts.missing import need_program
from tests.parts.ports import HOST, is_taken
from tests.parts.until import until

USUAL_PORTS = (11434, 1234, 8000, 8080, 9931)
CURL = re.compile(r"^\s*(?:\$ )?(curl .+(?:\\\n.+)*)$", re.MULTILINE)


async def test_a_server_on_its_usual_port_needs_no_configuration(
    gateway: Start, tmp_path: Path
) -> None:
    need_parts()
    from tests.parts.tiny_gguf import write_tiny_model

    need_program("curl")
    # A small context, so that the model, which never ends by itself, does end.
    write_tiny_model(tmp_path / "tiny.gguf", context=512)
    port = 9931 if is_taken(8080) else 8080
    with llama_server(tmp_path, port=port):
        running = await gateway(None)
        await _until_greeted(running)
        assert str(port) in running.stdout
        assert "tiny" in running.stdout
        streamed = await _run_printed_curl(running)
    assert streamed.count("data: ") > 3
    assert '"content"' in streamed
    assert streamed.rstrip().endswith("data: [DONE]")


async def test_demo_can_be_tried_with_the_printed_curl(gateway: Start) -> None:
    need_program("curl")
    running = await gateway(None, "--demo", "--no-discover")
    await _until_greeted(running)
    streamed = await _run_printed_curl(running)
    assert streamed.count("data: ") > 3
    assert streamed.rstrip().endswith("data: [DONE]")


async def test_nothing_to_serve_is_said_plainly(gateway: Start) -> None:
    running = await gateway(None, "--no-discover")
    await _until_greeted(running)
    text = running.stdout
    assert "--demo" in text
    assert "config" in text.lower()
    assert not CURL.search(text), "a curl line that cannot work"


async def test_nothing_found_says_what_was_looked_for(gateway: Start) -> None:
    if taken := [port for port in USUAL_PORTS if is_taken(port)]:
        pytest.skip(f"this machine runs something on {taken}")
    running = await gateway(None)
    await _until_greeted(running)
    text = running.stdout
    assert all(str(port) in text for port in USUAL_PORTS)
    assert "--demo" in text
    assert not CURL.search(text), "a curl line that cannot work"


def test_a_port_in_use_ends_with_1_and_names_it(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as holder:
        port = holder.getsockname()[1]
        done = run_to_end(tmp_path, None, "--no-discover", "--port", str(port))
    assert done.code == 1
    text = done.stdout + done.stderr
    assert str(port) in text
    assert "in use" in text
    assert "Traceback" not in text


def test_a_port_in_use_names_the_process_where_it_can(tmp_path: Path) -> None:
    if not Path("/proc/net/tcp").exists():
        pytest.skip("only Linux tells without a tool")
    with socket.create_server((HOST, 0)) as holder:
        port = holder.getsockname()[1]
        done = run_to_end(tmp_path, None, "--no-discover", "--port", str(port))
    text = done.stdout + done.stderr
    assert re.search(r"python|pytest", text), text
    assert re.search(r"\b(?:pid|process) ?\d+", text), text


BAD = """\
server: {port: 99999, hots: 127.0.0.1}
providers:
  - {id: a, kind: vlm, endpoint: http://gpu.lan:8000}
  - {id: b, kind: openai, authSecret: NO_SUCH_VARIABLE}
models:
  - {id: m, providerId: nobody}
"""


@pytest.mark.parametrize("verb", ["serve", "check-config"])
def test_a_bad_file_ends_with_2_and_lists_all_that_is_wrong(
    tmp_path: Path, verb: str
) -> None:
    (tmp_path / "config.yaml").write_text(BAD)
    done = run_to_end(tmp_path, None, verb)
    text = done.stdout + done.stderr
    assert done.code == 2, text
    for wrong, hint in (
        ("server.port", "65535"), ("hots", "host"), ("vlm", "vllm"),
        ("authSecret", "NO_SUCH_VARIABLE"), ("providerId", "nobody"),
    ):  # fmt: skip
        assert wrong in text, text
        assert hint in text, text
    assert "config.yaml:1" in text
    assert "Traceback" not in text


async def test_an_exposed_address_without_authentication_is_warned_about(
    gateway: Start,
) -> None:
    running = await gateway(None, "--no-discover", "--host", "0.0.0.0")
    await _until_greeted(running)
    lines = (running.stdout + running.stderr).splitlines()
    warnings = [line for line in lines if "warning" in line.lower()]
    assert len(warnings) == 1, lines
    assert "0.0.0.0" in warnings[0]
    assert re.search("key|auth", warnings[0])


async def test_the_first_start_with_keys_shows_an_admin_key_once(
    tmp_path: Path, gateway: Start
) -> None:
    data = {"PROXY_DATA_DIR": str(tmp_path / "keys")}
    flags = ("--no-discover", "--enable-auth")
    first = await gateway(None, *flags, variables=data)
    await _until_greeted(first)
    [line] = [one for one in first.stdout.splitlines() if "Admin key" in one]
    secret = line.split()[-1]
    assert re.fullmatch("lai_[0-9a-f]{32}", secret)
    await first.stopped()
    again = await gateway(None, *flags, variables=data)
    await _until_greeted(again)
    assert "Admin key" not in again.stdout
    for headers, status in (({}, 401), ({"x-api-key": secret}, 200)):
        async with aiohttp.request(
            "GET", f"{again.url}/admin/providers", headers=headers
        ) as reply:
            assert reply.status == status


def test_keys_that_cannot_be_read_let_nobody_start(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "local-ai.db").write_text("no database at all" * 100)
    done = run_to_end(tmp_path, None, "--no-discover", "--enable-auth")
    assert done.code == 1
    assert "Cannot read the keys" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_keys_nothing_that_reads_tokens_is_loaded(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from proxy.app import doors\n"
        "from proxy.config import Options, load\n"
        "from proxy.runtime import Runtime\n"
        "async def main():\n"
        "    loaded = load(Options(no_discover=True), {}, places=())\n"
        "    async with Runtime(loaded) as runtime:\n"
        "        doors(runtime)\n"
        "asyncio.run(main())\n"
        "print([name for name in ('jwt', 'cryptography') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, text=True, capture_output=True,
        check=False, timeout=20, env={"PROXY_DATA_DIR": str(tmp_path), "PATH": ""},
    )  # fmt: skip
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_version(tmp_path: Path) -> None:
    done = run_to_end(tmp_path, None, "--version")
    assert done.code == 0
    assert re.search(r"\d+\.\d+", done.stdout)


async def _until_greeted(running: Gateway) -> None:
    """What a start says may come a moment after it answers."""
    await until(lambda: f"{running.url}/v1" in running.stdout, "the greeting")


async def _run_printed_curl(running: Gateway) -> str:
    """Paste the printed line into a shell, as a newcomer does."""
    found = CURL.search(running.stdout)
    assert found, f"no curl line in:\n{running.stdout}"
    process = await asyncio.create_subprocess_shell(
        found[1], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(20):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, err.decode()
    return out.decode()
