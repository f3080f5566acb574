"""A Fetch whose world is a table, and a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from proxy.core.call import Fetched, FetchFailed
from proxy.core.types import Headers, Pair

Answer = Fetched | FetchFailed | asyncio.Event


def answer(
    document: object, status: int = 200, headers: Sequence[Pair] = ()
) -> Fetched:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return Fetched(status, Headers(headers), body, elapsed_s=0.01)


@dataclass
class Clock:
    """Reads what it was set to."""

    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


@dataclass
class World:
    """Who answers at which URL; everywhere else connections are refused.

    An Event as answer hangs until it is set, then times out. `asked` holds every
    (method, URL), `headers` what was last sent to a URL.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    headers: dict[str, Sequence[Pair]] = field(default_factory=dict)

    def serve(
        self, base: str, kind: str, *models: str, slots: int | None = None
    ) -> None:
        """Put a server of a kind (as tests.fakes.kinds reads it) at an address."""
        self.answers[base + "/alive"] = answer({"kind": kind})
        listed = {"kind": kind, "models": models, "slots": slots}
        self.answers[base + "/list"] = answer(listed)

    def remove(self, base: str) -> None:
        for url in [url for url in self.answers if url.startswith(base + "/")]:
            del self.answers[url]

    def urls(self) -> list[str]:
        return [url for _, url in self.asked]

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[Pair] = (),
        body: bytes = b"",
        timeout_s: float = 5.0,
        limit_bytes: int = 8 << 20,
    ) -> Fetched:
        self.asked.append((method, url))
        self.headers[url] = headers
        found = self.answers.get(url)
        if found is None:
            raise FetchFailed("refused", "connection refused")
        if isinstance(found, FetchFailed):
            raise found
        if isinstance(found, asyncio.Event):
            await found.wait()
            raise FetchFailed("timeout", f"no answer within {timeout_s:g} s")
        return found
