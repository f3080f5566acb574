"""A kept reply given again, in the form that is asked for now.

In its own form it goes as it came, a stream event by event. Otherwise it is read and
written anew by the dialect's codec, text in pieces. Legacy completions, which have no
codec, are taken apart and joined here, responses, whose ids must stay, in
`response_events`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson
from msgspec.structs import replace

from providers.wire.chat import ChatWatch
from providers.wire.dialect import Dialect
from providers.wire.sse import data_of, split_events
from providers.wire.translate.codecs import CODECS
from providers.wire.translate.events import Event, TextDelta
from providers.wire.translate.reply import Reply, assemble, events_of
from providers.wire.translate.streams import Context
from providers.wire.translate.usage import to_chat
from providers.wire.usage import Usage
from proxy.cache.response_events import response_events
from proxy.cache.responses import Stored

JSON = dict[str, Any]

_DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType({
    "chat": Dialect.CHAT,
    "messages": Dialect.MESSAGES,
})  # fmt: skip
_WITH_USAGE_EVENT: Final = frozenset({"chat", "completions"})
_PIECE: Final = 48
_DONE: Final = b"data: [DONE]\n\n"


def as_whole(stored: Stored, context: Context) -> bytes:
    """Answer the JSON of a reply. `context` makes what the dialect demands."""
    if not stored.is_stream:
        return stored.body
    if stored.operation == "completions":
        return orjson.dumps(_joined(stored))
    if stored.operation == "responses":
        last = orjson.loads(data_of(_told(stored.body)[-1]))
        return orjson.dumps(last["response"])
    codec = CODECS[_DIALECTS[stored.operation]]
    reader = codec.stream_reader(context.id)
    reply = assemble([*reader.feed(stored.body), *reader.close()])
    return orjson.dumps(codec.write_reply(_with_usage(reply, stored), context))


def as_events(stored: Stored, context: Context) -> list[bytes]:
    """Answer the events of a reply, the terminator last.

    `context.include_usage` decides on chat's and completions' usage event.
    """
    if stored.is_stream:
        return _again(stored, context)
    if stored.operation == "completions":
        return list(_apart(orjson.loads(stored.body), context))
    if stored.operation == "responses":
        return response_events(orjson.loads(stored.body))
    codec = CODECS[_DIALECTS[stored.operation]]
    reply = _with_usage(codec.read_reply(stored.body, context.id), stored)
    writer = codec.stream_writer(context)
    written = (writer.write([event]) for event in _in_pieces(events_of(reply)))
    return [event for block in written for event in split_events(block)]


def _told(body: bytes) -> list[bytes]:
    """The events that say something: comments that kept the stream alive do not."""
    return [event for event in split_events(body) if data_of(event)]


def _again(stored: Stored, context: Context) -> list[bytes]:
    events = _told(stored.body)
    if stored.operation not in _WITH_USAGE_EVENT:
        return events
    watch = ChatWatch(withhold_usage=not context.include_usage)
    shown = [event for event in events if watch.see(event)]
    if context.include_usage and watch.usage is None and stored.usage is not None:
        head = orjson.loads(data_of(shown[0]))
        shown.insert(-1, _event(_usage_chunk(head, stored.usage)))
    return shown


def _with_usage(reply: Reply, stored: Stored) -> Reply:
    if reply.usage is not None or stored.usage is None:
        return reply
    return replace(reply, usage=stored.usage)


def _in_pieces(events: Iterable[Event]) -> Iterator[Event]:
    for event in events:
        if not isinstance(event, TextDelta):
            yield event
            continue
        for piece in _pieces(event.text):
            yield TextDelta(piece, event.choice)


def _pieces(text: str) -> Iterator[str]:
    for at in range(0, len(text), _PIECE):
        yield text[at : at + _PIECE]


# -- legacy completions ----------------------------------------------------------------


def _joined(stored: Stored) -> JSON:
    whole: JSON = {}
    choices: dict[int, JSON] = {}
    for event in _told(stored.body):
        data = data_of(event)
        if data.strip() == b"[DONE]":
            break
        chunk = orjson.loads(data)
        for choice in chunk.get("choices") or ():
            known = choices.setdefault(choice.get("index", 0), {"text": ""})
            text = known["text"] + (choice.get("text") or "")
            said = {name: x for name, x in choice.items() if x is not None}
            known.update(said, text=text)
        said = {name: x for name, x in chunk.items() if x is not None}
        whole.update(said)
    whole["choices"] = [choices[index] for index in sorted(choices)]
    if "usage" not in whole and stored.usage is not None:
        whole["usage"] = to_chat(stored.usage)
    return whole


def _apart(whole: JSON, context: Context) -> Iterator[bytes]:
    usage = whole.pop("usage", None)
    for choice in whole.get("choices") or ():
        rest = {name: x for name, x in choice.items() if name != "text"}
        pieces = list(_pieces(choice.get("text") or "")) or [""]
        for piece in pieces[:-1]:
            begun = {"index": choice.get("index", 0), "finish_reason": None}
            yield _event({**whole, "choices": [{"text": piece, **begun}]})
        yield _event({**whole, "choices": [{"text": pieces[-1], **rest}]})
    if context.include_usage and usage is not None:
        yield _event({**whole, "choices": [], "usage": usage})
    yield _DONE


def _usage_chunk(head: JSON, usage: Usage) -> JSON:
    kept = {name: x for name, x in head.items() if name not in ("choices", "usage")}
    return {**kept, "choices": [], "usage": to_chat(usage)}


def _event(found: JSON) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(found)
