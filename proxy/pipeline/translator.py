"""Which family of operations a request belongs to: reads it, and writes it."""

from __future__ import annotations

from typing import Any

from providers.base import EMBEDDING, Operation
from providers.wire import embeddings
from providers.wire.translate.problems import Refused
from providers.wire.translate.request import Request
from proxy.pipeline.counting import write_count
from proxy.pipeline.embedding import write_vectors
from proxy.pipeline.talk import Talks, Turn, read_asked
from proxy.pipeline.translation import Errand, Translation, refusal

Asked = Request | embeddings.Wanted


class Translator:
    """Says requests in the dialects of providers. Outlives a reload."""

    def __init__(self) -> None:
        self.talks = Talks()

    def read(self, operation: Operation, body: bytes | dict[str, Any]) -> Asked:
        """Read what a caller asks. Raises CallerFault with the field at fault."""
        if operation.name not in EMBEDDING:
            return read_asked(operation, body)
        try:
            return embeddings.read_request(operation.name, body)
        except Refused as error:
            raise refusal(error) from error

    def write(
        self, errand: Errand, asked: Asked, turn: Turn | None = None
    ) -> Translation:
        """Write it for one provider. Raises CallerFault."""
        if isinstance(asked, embeddings.Wanted):
            return write_vectors(errand, asked)
        if errand.caller.name == "count_tokens":
            return write_count(self.talks, errand, asked)
        return self.talks.write(errand, asked, turn)
