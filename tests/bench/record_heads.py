"""Record the request heads that the official SDKs send into `heads/*.http`.

Run `python -m tests.bench.record_heads` after an SDK was upgraded. Each client talks
to a socket on 127.0.0.1 that keeps what it got, so the files hold header lines in
the order, case and wording of the wire. What changes from call to call becomes a
placeholder: {host}, {length}.

Those of the npm clients need Node and the packages in a folder outside the repository:

    npm install --prefix FOLDER openai @anthropic-ai/sdk
    python -m tests.bench.record_heads --npm FOLDER
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import socket
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import anthropic
import ollama
import openai

from tests.bench.heads import BENCH_KEY, FOLDER

WAIT_S: Final = 10.0
REFUSAL: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}"
REFUSED: Final = (openai.APIError, anthropic.APIError, ollama.ResponseError)
CHAT: Final[dict[str, Any]] = {
    "model": "mock",
    "messages": [{"role": "user", "content": "hi"}],
}

# Node finds the packages from the folder it runs in.
OPENAI_NPM: Final = """
import OpenAI from "openai";
const [baseURL, apiKey, body] = process.argv.slice(1);
const client = new OpenAI({ apiKey, baseURL: `${baseURL}/v1`, maxRetries: 0 });
await client.chat.completions.create(JSON.parse(body)).catch((error) => {
  if (!(error instanceof OpenAI.APIError)) throw error;
});
"""
ANTHROPIC_NPM: Final = """
import Anthropic from "@anthropic-ai/sdk";
const [baseURL, apiKey, body] = process.argv.slice(1);
const client = new Anthropic({ apiKey, baseURL, maxRetries: 0 });
const asked = { ...JSON.parse(body), max_tokens: 50 };
await client.messages.create(asked).catch((error) => {
  if (!(error instanceof Anthropic.APIError)) throw error;
});
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.record_heads")
    parser.add_argument("--npm", type=Path, metavar="FOLDER", help="has node_modules")
    folder: Path | None = parser.parse_args().npm
    write(CLIENTS if folder is None else npm_clients(folder))


def write(clients: Mapping[str, Callable[[str], object]]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, call in clients.items():
        head = generalise(record(call))
        (FOLDER / f"{name}.http").write_bytes(head)
        print(f"{name}: {len(head.splitlines()) - 1} lines")


def record(call: Callable[[str], object]) -> bytes:
    """Answer the head that `call`, given a base URL, sends there."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        server.settimeout(WAIT_S)
        head = pool.submit(_take_one, server)
        # The refusal; the request is what we are after.
        with contextlib.suppress(*REFUSED):
            call(f"http://127.0.0.1:{server.getsockname()[1]}")
        return head.result(WAIT_S)


def _take_one(server: socket.socket) -> bytes:
    connection, _ = server.accept()
    with connection:
        connection.settimeout(WAIT_S)
        data = b""
        while b"\r\n\r\n" not in data:
            if not (piece := connection.recv(65536)):
                raise ConnectionError("the client hung up before its head was whole")
            data += piece
        connection.sendall(REFUSAL)
    return data[: data.index(b"\r\n\r\n") + 4]


def generalise(head: bytes) -> bytes:
    """Put placeholders where a head says host and body length."""
    head = re.sub(rb"(?im)^(host: )[^\r]+", rb"\1{host}", head)
    return re.sub(rb"(?im)^(content-length: )\d+", rb"\1{length}", head)


def _openai(base: str) -> object:
    client = openai.OpenAI(api_key=BENCH_KEY, base_url=f"{base}/v1", max_retries=0)
    return client.chat.completions.create(**CHAT)


def _openai_async(base: str) -> object:
    async def stream() -> object:
        async with openai.AsyncOpenAI(
            api_key=BENCH_KEY, base_url=f"{base}/v1", max_retries=0
        ) as client:
            return await client.chat.completions.create(**CHAT, stream=True)

    return asyncio.run(stream())


def _anthropic(base: str) -> object:
    client = anthropic.Anthropic(api_key=BENCH_KEY, base_url=base, max_retries=0)
    return client.messages.create(**CHAT, max_tokens=50)


def _anthropic_async(base: str) -> object:
    async def stream() -> object:
        async with anthropic.AsyncAnthropic(
            api_key=BENCH_KEY, base_url=base, max_retries=0
        ) as client:
            return await client.messages.create(**CHAT, max_tokens=50, stream=True)

    return asyncio.run(stream())


def _ollama(base: str) -> object:
    return ollama.Client(host=f"{base}/ollama", headers=_bearer()).chat(**CHAT)


def _ollama_async(base: str) -> object:
    async def chat() -> object:
        host = f"{base}/ollama"
        async with ollama.AsyncClient(host=host, headers=_bearer()) as client:
            return await client.chat(**CHAT)

    return asyncio.run(chat())


def npm_clients(folder: Path) -> dict[str, Callable[[str], object]]:
    """The clients of the packages in `folder`/node_modules."""
    return {
        "anthropic-npm": partial(_npm, folder, ANTHROPIC_NPM),
        "openai-npm": partial(_npm, folder, OPENAI_NPM),
    }


def _npm(folder: Path, script: str, base: str) -> object:
    command = ["node", "--input-type=module", "--eval", script]
    arguments = [base, BENCH_KEY, json.dumps(CHAT)]
    return subprocess.run(
        [*command, *arguments], cwd=folder, check=True, timeout=WAIT_S
    )


def _bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {BENCH_KEY}"}


CLIENTS: Final[dict[str, Callable[[str], object]]] = {
    "openai": _openai,
    "openai-async": _openai_async,
    "anthropic": _anthropic,
    "anthropic-async": _anthropic_async,
    "ollama": _ollama,
    "ollama-async": _ollama_async,
}

if __name__ == "__main__":
    main()
