"""A fake LM Studio: its lists, its own chat, an echoing WebSocket, 200 to anything."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import WSMsgType, web

from tests.fakes.lmstudio_socket import replies_to
from tests.fakes.openai import WORDS, FakeOpenAI
from tests.fakes.upstream import SSE_TYPE, Answer, Maker, Received, sse

SOCKETS = ("/embedding", "/files", "/llm", "/repository", "/system")


class FakeLMStudio(FakeOpenAI):
    """`loaded` are the keys of loaded models; `old` is one without /api/v1.

    Its WebSockets keep every message in `messages`. They speak with its own client, and
    send all back to any other.
    """

    def __init__(
        self,
        models: tuple[str, ...] = ("qwen/qwen3-4b", "text-embedding-nomic"),
        loaded: tuple[str, ...] = (),
        *,
        old: bool = False,
    ) -> None:
        self.loaded = loaded
        self.old = old
        self.messages: list[str | bytes] = []
        self.close_code: int | None = None
        super().__init__(models, owned_by="organization_owner")

    def routes(self) -> dict[str, Maker]:
        openai = super().routes()
        del openai["POST /v1/messages/count_tokens"]
        known = openai | {
            "GET /lmstudio-greeting": lambda _: Answer.of({"lmstudio": True}),
            "GET /api/v0/models": self.legacy,
        }
        if self.old:
            return known
        return known | {
            "GET /api/v1/models": self.native,
            "POST /api/v1/chat": self.native_chat,
            "POST /api/v1/models/load": lambda _: Answer.of({"status": "loaded"}),
            "POST /api/v1/models/unload": lambda _: Answer.of({"instance_id": "x"}),
        }

    def elsewhere(self, request: Received) -> Answer:
        path = request.target.partition("?")[0]
        said = f"Unexpected endpoint or method. ({request.method} {path})"
        return Answer.of({"error": f"{said}. Returning 200 anyway"})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        upgrade = request.headers.get("upgrade", "").lower() == "websocket"
        if upgrade and request.path in SOCKETS:
            return await self.echo(request)
        return await super().handle(request)

    async def echo(self, request: web.Request) -> web.WebSocketResponse:
        headers = tuple(
            (name.lower(), value) for name, value in request.headers.items()
        )
        self.received.append(Received(request.method, request.raw_path, headers, b""))
        self.arrived.set()
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        is_known = False
        async for message in socket:
            self.messages.append(message.data)
            is_known = is_known or "authVersion" in str(message.data)
            if is_known:
                for reply in replies_to(json.loads(message.data), self.models[0]):
                    await socket.send_json(reply)
            elif message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        self.close_code = socket.close_code
        self.left.set()
        return socket

    def native(self, request: Received) -> Answer:
        return Answer.of({"models": [self.entry(name) for name in self.models]})

    def legacy(self, request: Received) -> Answer:
        data = [
            {
                "id": name,
                "object": "model",
                "type": "embeddings" if "embedding" in name else "llm",
                "publisher": "fake",
                "arch": "qwen3",
                "compatibility_type": "gguf",
                "state": "loaded" if name in self.loaded else "not-loaded",
                "max_context_length": 40960,
            }
            for name in self.models
        ]
        return Answer.of({"object": "list", "data": data})

    def native_chat(self, request: Received) -> Answer:
        asked = request.json()
        output = [{"type": "message", "content": "".join(WORDS)}]
        whole = {"model_instance_id": asked["model"], "output": output}
        if not asked.get("stream"):
            return Answer.of(whole)
        events = [
            {"type": "chat.start", "model_instance_id": asked["model"]},
            {"type": "message.start"},
            *({"type": "message.delta", "content": word} for word in WORDS),
            {"type": "message.end"},
            {"type": "chat.end", "result": whole},
        ]
        return Answer(200, sse(*events, named=True), SSE_TYPE)

    def entry(self, name: str) -> dict[str, Any]:
        instance = {"id": name, "config": {"context_length": 8192, "parallel": 2}}
        return {
            "type": "embedding" if "embedding" in name else "llm",
            "publisher": "fake",
            "key": name,
            "display_name": name,
            "architecture": "qwen3",
            "loaded_instances": [instance] if name in self.loaded else [],
            "max_context_length": 40960,
            "format": "gguf",
            "capabilities": {"vision": False, "trained_for_tool_use": True},
        }
