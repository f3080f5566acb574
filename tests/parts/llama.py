"""A real model server: llama.cpp's, with the tiny model, as a process of its own.

Fixtures `llama` (models `tiny`) and `llama_embed` (`tiny-embed`) give a base URL
without a path and live as long as the run.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.parts.missing import need_module
from tests.parts.ports import HOST, free_port, stop_process, wait_until_ready

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0


@contextmanager
def llama_server(folder: Path, *flags: str, port: int | None = None) -> Iterator[str]:
    """Run the server while the block runs; gives `http://127.0.0.1:PORT`.

    `folder` holds its model and its log; `--embed` among `flags` makes it serve
    embeddings only.
    """
    model, log = folder / "tiny.gguf", folder / "llama.log"
    if not model.exists():
        # Imported late: it needs numpy and gguf, which a run may lack.
        from tests.parts.tiny_gguf import write_tiny_model

        write_tiny_model(model)
    port = port or free_port()
    main = Path(__file__).with_name("llama_main.py")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(main), str(model), str(port), *flags],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_until_ready(process, port, "/health", log, START_TIMEOUT_S)
        yield f"http://{HOST}:{port}"
    finally:
        stop_process(process, STOP_TIMEOUT_S)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a real model server."""
    need_parts()
    with llama_server(tmp_path_factory.mktemp("llama")) as url:
        yield url


@pytest.fixture(scope="session")
def llama_embed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a real model server that serves embeddings."""
    need_parts()
    with llama_server(tmp_path_factory.mktemp("llama-embed"), "--embed") as url:
        yield url


def need_parts() -> None:
    """Skip where the model server cannot be installed."""
    for module in ("xllamacpp", "gguf", "numpy"):
        need_module(module)
