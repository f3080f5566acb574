from __future__ import annotations

import json
from typing import Any

from providers.wire.dialect import Dialect
from providers.wire.sse import data_of, name_of
from providers.wire.translate.codecs import CODECS
from providers.wire.translate.reply import assemble
from proxy.cache.response_events import response_events
from tests.proxy.cache import replies

CALL = {
    "type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f",
    "arguments": json.dumps({"a": "x" * 100}), "status": "completed",
}  # fmt: skip
REASONING = {
    "type": "reasoning", "id": "rs_1", "encrypted_content": "sealed",
    "summary": [{"type": "summary_text", "text": "hm " * 30}],
    "content": [{"type": "reasoning_text", "text": "well " * 30}],
}  # fmt: skip
NOTE = {"type": "url_citation", "url": "https://a.example", "start_index": 0, "end_index": 1}  # fmt: skip
MESSAGE = {
    "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
    "content": [
        {"type": "output_text", "text": replies.TEXT, "annotations": [NOTE]},
        {"type": "refusal", "refusal": "no"},
    ],
}  # fmt: skip


def told(*items: Any, status: str = "completed") -> list[dict[str, Any]]:
    response = replies.response_object(status, output=list(items), x_vendor={"a": 1})
    events = response_events(response)
    found = [json.loads(data_of(event)) for event in events]
    assert [name_of(event).decode() for event in events] == [e["type"] for e in found]
    assert [e["sequence_number"] for e in found] == list(range(len(found)))
    assert found[-1]["response"] == response
    return found


def test_a_response_begins_empty_and_ends_as_it_is() -> None:
    first, second, *_, last = told(MESSAGE)
    assert [first["type"], second["type"]] == ["response.created", "response.in_progress"]  # fmt: skip
    assert (first["response"]["status"], first["response"]["output"]) == ("in_progress", [])  # fmt: skip
    assert first["response"]["id"] == last["response"]["id"] == "resp_1"
    assert last["type"] == "response.completed"
    assert told(status="incomplete")[-1]["type"] == "response.incomplete"


def test_pieces_join_to_what_they_are_pieces_of() -> None:
    found = told(REASONING, CALL, MESSAGE)
    joined: dict[str, str] = {}
    for event in found:
        kind = event["type"]
        if kind.endswith(".delta"):
            name = kind.removesuffix(".delta")
            joined[name] = joined.get(name, "") + event["delta"]
    assert joined == {
        "response.reasoning_summary_text": "hm " * 30,
        "response.reasoning_text": "well " * 30,
        "response.function_call_arguments": CALL["arguments"],
        "response.output_text": replies.TEXT,
        "response.refusal": "no",
    }
    assert [e["annotation"] for e in found if "annotation" in e] == [NOTE]


def test_items_open_empty_and_close_whole_in_their_order() -> None:
    items = (REASONING, CALL, MESSAGE)
    found = told(*items)
    added = [e["item"] for e in found if e["type"] == "response.output_item.added"]
    done = [e["item"] for e in found if e["type"] == "response.output_item.done"]
    assert [item["id"] for item in added] == ["rs_1", "fc_1", "msg_1"]
    assert (added[0]["summary"], added[0]["content"]) == ([], [])
    assert (added[1]["arguments"], added[1]["status"]) == ("", "in_progress")
    assert tuple(done) == items


def test_items_of_any_other_kind_go_as_they_are() -> None:
    item = {"type": "shell_call", "id": "x", "action": {"commands": ["ls"]}}
    kinds = [e["type"] for e in told(item)]
    assert kinds[2:-1] == ["response.output_item.added", "response.output_item.done"]


def test_a_reader_of_streams_understands_it() -> None:
    codec = CODECS[Dialect.RESPONSES]
    thought = {**REASONING, "content": None}
    response = replies.response_object(output=[thought, CALL, MESSAGE])
    reader = codec.stream_reader("x")
    told = assemble(reader.feed(b"".join(response_events(response))))
    meant = codec.read_reply(json.dumps(response).encode(), "x")
    assert told.complete
    assert told.choices == meant.choices
    assert told.usage == meant.usage
