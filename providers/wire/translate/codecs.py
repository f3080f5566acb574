"""Which readers and writers belong to which dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

import orjson
from msgspec import Struct

from providers.wire.dialect import Dialect
from providers.wire.envelopes import Problem, render
from providers.wire.translate.chat import errors as chat_errors
from providers.wire.translate.chat import mapping as chat_mapping
from providers.wire.translate.chat import reply_writer as chat_reply
from providers.wire.translate.chat import request_reader as chat_reader
from providers.wire.translate.chat import request_writer as chat_writer
from providers.wire.translate.chat import stream_reader as chat_stream
from providers.wire.translate.chat.stream_writer import ChatStreamWriter
from providers.wire.translate.events import Failed
from providers.wire.translate.gemini import errors as gemini_errors
from providers.wire.translate.gemini import mapping as gemini_mapping
from providers.wire.translate.gemini import reply_writer as gemini_reply
from providers.wire.translate.gemini import request_reader as gemini_reader
from providers.wire.translate.gemini import request_writer as gemini_writer
from providers.wire.translate.gemini import stream_reader as gemini_stream
from providers.wire.translate.gemini.stream_writer import GeminiStreamWriter
from providers.wire.translate.mapping import Rule
from providers.wire.translate.messages import errors as messages_errors
from providers.wire.translate.messages import mapping as messages_mapping
from providers.wire.translate.messages import reply_writer as messages_reply
from providers.wire.translate.messages import request_reader as messages_reader
from providers.wire.translate.messages import request_writer as messages_writer
from providers.wire.translate.messages import stream_reader as messages_stream
from providers.wire.translate.messages.stream_writer import MessagesStreamWriter
from providers.wire.translate.ollama import mapping as ollama_mapping
from providers.wire.translate.ollama import reply_writer as ollama_reply
from providers.wire.translate.ollama import request_reader as ollama_reader
from providers.wire.translate.ollama import request_writer as ollama_writer
from providers.wire.translate.ollama import stream_reader as ollama_stream
from providers.wire.translate.ollama.stream_writer import OllamaStreamWriter
from providers.wire.translate.reply import Reply
from providers.wire.translate.request import Request, Target, Written
from providers.wire.translate.responses import mapping as responses_mapping
from providers.wire.translate.responses import request_reader as responses_reader
from providers.wire.translate.responses import request_writer as responses_writer
from providers.wire.translate.responses import stream_reader as responses_stream
from providers.wire.translate.responses import stream_writer as responses_reply
from providers.wire.translate.streams import Context, StreamReader, StreamWriter


class MakesReader(Protocol):
    """Makes the reader of one stream; the options are StreamReader's."""

    def __call__(
        self,
        made_id: str = "",
        *,
        terminated: bool = True,
        limit_bytes: int = ...,
    ) -> StreamReader: ...


class Codec(Struct, frozen=True):
    """One dialect, both ways.

    `read_request` raises Refused; `write_request` UnsupportedParameter or
    ImageUrlUnsupported. `read_error` answers None for a body that is no error.
    """

    rules: Mapping[str, Rule]
    read_request: Callable[[bytes | dict[str, Any]], Request]
    write_request: Callable[[Request, Target], Written]
    read_reply: Callable[[bytes, str], Reply]
    write_reply: Callable[[Reply, Context], dict[str, Any]]
    stream_reader: MakesReader
    stream_writer: Callable[[Context], StreamWriter]
    read_error: Callable[[bytes], Failed | None]


CODECS: Final[Mapping[Dialect, Codec]] = MappingProxyType({
    Dialect.CHAT: Codec(
        chat_mapping.RULES,
        chat_reader.read_request,
        chat_writer.write_request,
        chat_stream.read_reply,
        chat_reply.write_reply,
        chat_stream.ChatStreamReader,
        ChatStreamWriter,
        chat_errors.read_error,
    ),
    Dialect.RESPONSES: Codec(
        responses_mapping.RULES,
        responses_reader.read_request,
        responses_writer.write_request,
        responses_stream.read_reply,
        responses_reply.write_reply,
        responses_stream.ResponsesStreamReader,
        responses_reply.ResponsesStreamWriter,
        chat_errors.read_error,
    ),
    Dialect.MESSAGES: Codec(
        messages_mapping.RULES,
        messages_reader.read_request,
        messages_writer.write_request,
        messages_stream.read_reply,
        messages_reply.write_reply,
        messages_stream.MessagesStreamReader,
        MessagesStreamWriter,
        messages_errors.read_error,
    ),
    Dialect.GEMINI: Codec(
        gemini_mapping.RULES,
        gemini_reader.read_request,
        gemini_writer.write_request,
        gemini_stream.read_reply,
        gemini_reply.write_reply,
        gemini_stream.GeminiStreamReader,
        GeminiStreamWriter,
        gemini_errors.read_error,
    ),
    Dialect.OLLAMA: Codec(
        ollama_mapping.RULES,
        ollama_reader.read_request,
        ollama_writer.write_request,
        ollama_stream.read_reply,
        ollama_reply.write_reply,
        ollama_stream.OllamaStreamReader,
        OllamaStreamWriter,
        chat_errors.read_error,
    ),
})  # fmt: skip


def write_error(problem: Problem, dialect: Dialect) -> bytes:
    """Write the whole body of an error reply."""
    if dialect is Dialect.GEMINI:
        return orjson.dumps(gemini_errors.error_object(problem))
    return render(problem, dialect)
