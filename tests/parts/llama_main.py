"""llama.cpp's own HTTP server as a process: MODEL PORT [--embed].

Run by tests.parts.llama; ends with SIGTERM.
"""

from __future__ import annotations

import signal
import sys

import xllamacpp  # type: ignore[import-untyped]

SLOTS = 4


def main(model: str, port: int, *, embed: bool) -> None:
    settings = xllamacpp.CommonParams()
    settings.model.path = model
    settings.model_alias = {"tiny-embed" if embed else "tiny"}
    settings.hostnames = ["127.0.0.1"]
    settings.port = port
    settings.n_ctx = 0  # the model's own
    settings.n_parallel = SLOTS
    settings.cpuparams.n_threads = 1
    settings.n_threads_http = 2 * SLOTS
    settings.warmup = False
    settings.use_jinja = True
    settings.endpoint_metrics = True
    settings.offline = True
    settings.embedding = embed
    if embed:
        settings.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(settings)
    print("listening on", server.listening_address, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), embed="--embed" in sys.argv[3:])
