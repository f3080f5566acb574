"""A large body is in memory once where it goes as it came, and twice where it is edited."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import local_provider, only
from tests.parts.doors import FAST, ORDINARY, by_door, model_calls
from tests.parts.faulty import Faulty
from tests.parts.gateway import Gateway, Start
from tests.parts.http_text import post, whole
from tests.parts.inside import CHAT
from tests.parts.raw import exchange
from tests.parts.scripts import answers

MIB = 1 << 20
IMAGE = "A" * (16 * MIB)
SLACK_BYTES = 6 * MIB


@pytest.mark.parametrize("door", [FAST, ORDINARY])
@pytest.mark.parametrize(
    ("model", "more", "copies"),
    [("tiny", {}, 1), ("renamed", {}, 2), ("tiny", {"stream": True}, 2)],
)
async def test_a_picture(
    gateway: Start, door: str, model: str, more: dict[str, Any], copies: int
) -> None:
    reply = whole(b'{"object":"chat.completion","choices":[]}')
    async with Faulty(answers(reply)) as upstream:
        models = [
            {"id": "tiny", "providerId": "faulty"},
            {"id": "renamed", "providerId": "faulty", "upstreamModel": "other"},
        ]
        provider = local_provider("faulty", "vllm", upstream.url)
        server = {"fastPath": door == FAST}
        running = await gateway(only(provider, models=models, server=server))
        await exchange(running.url, post(CHAT, asking(model, "", more)))
        before = memory_bytes(running, "VmRSS")
        with by_door(door, running, lambda: model_calls(running)):
            body = asking(model, IMAGE, more)
            assert (await exchange(running.url, post(CHAT, body))).status == 200
        growth = memory_bytes(running, "VmHWM") - before
        assert growth < copies * len(IMAGE) + SLACK_BYTES, f"{growth / MIB:.1f} MiB"
        sent = upstream.requests[-1].body
        assert IMAGE.encode() in sent
        assert (sent == body) is (copies == 1)


def asking(model: str, image: str, more: dict[str, Any]) -> bytes:
    url = {"url": f"data:image/png;base64,{image}"}
    content = [{"type": "image_url", "image_url": url}]
    asked = {"model": model, "messages": [{"role": "user", "content": content}]}
    return json.dumps(asked | more).encode()


def memory_bytes(running: Gateway, name: str) -> int:
    """What the kernel says of the process: VmRSS is now, VmHWM the most there was."""
    text = Path(f"/proc/{running.process.pid}/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) * 1024
