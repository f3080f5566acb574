"""What a fake LM Studio says over its WebSockets, as its own clients expect it.

One JSON message at a time: a greeting, calls that are answered once, and channels, by
which a model is found and talks. Enough for the official client; nothing is checked.
"""

from __future__ import annotations

from typing import Any

from tests.fakes.talk import TEXT, pieces

Json = dict[str, Any]


def replies_to(message: Json, model: str) -> list[Json]:
    """All that the server sends because of one message."""
    if "authVersion" in message:
        return [{"success": True}]
    if message["type"] == "rpcCall":
        result = _result(message["endpoint"], model)
        return [{"type": "rpcResult", "callId": message["callId"], "result": result}]
    if message["type"] != "channelCreate":
        return []
    channel = {"channelId": message["channelId"]}
    told = _loading(model) if message["endpoint"] == "getOrLoad" else _talking(model)
    sent: list[Json] = [
        {"type": "channelSend", **channel, "message": each} for each in told
    ]
    return [*sent, {"type": "channelClose", **channel}]


def instance(model: str) -> Json:
    return {
        "type": "llm",
        "modelKey": model,
        "format": "gguf",
        "displayName": model,
        "path": f"fake/{model}",
        "sizeBytes": 1,
        "identifier": model,
        "instanceReference": "reference",
        "vision": False,
        "trainedForToolUse": True,
        "maxContextLength": 40960,
        "contextLength": 8192,
    }


def _result(endpoint: str, model: str) -> Any:
    if endpoint in ("listLoaded", "listDownloadedModels"):
        return [instance(model)]
    if endpoint == "getModelInfo":
        return instance(model)
    return None


def _loading(model: str) -> list[Json]:
    info = instance(model)
    return [{"type": "resolved", "info": info}, {"type": "alreadyLoaded", "info": info}]


def _talking(model: str) -> list[Json]:
    fragments: list[Json] = [
        {
            "type": "fragment",
            "fragment": {
                "content": piece,
                "tokensCount": 1,
                "containsDrafted": False,
                "reasoningType": "none",
            },
        }
        for piece in pieces(TEXT)
    ]
    end = {
        "type": "success",
        "stats": {"stopReason": "eosFound", "predictedTokensCount": len(fragments)},
        "modelInfo": instance(model),
        "loadModelConfig": {"fields": []},
        "predictionConfig": {"fields": []},
    }
    return [*fragments, end]
