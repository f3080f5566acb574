"""Ollama's own chat and generate streams: a watch over their lines."""

from __future__ import annotations

import re
from typing import Final

from providers.wire.counts import ollama_usage
from providers.wire.ndjson import lines
from providers.wire.peek import error_text, is_empty, peek, value
from providers.wire.watch import Notes

_done: Final = re.compile(rb'"done"\s*:\s*true').search
_error: Final = re.compile(rb'"error"(?!\s*:\s*null)').search


class OllamaWatch(Notes):
    """Watches for the line with `"done": true`, its counts and an error line.

    Lines of pull, push and create have no such end: watch those with
    `terminated=False`.
    """

    __slots__ = ()

    def see(self, events: bytes) -> bytes:
        if _done(events) or _error(events):
            for line in lines(events):
                self._note(line)
        return events

    def _note(self, line: bytes) -> None:
        if not (_done(line) or _error(line)):
            return
        members = peek(line)
        if not is_empty(error := members.get("error")):
            self.fail(error_text(error))
        elif value(members.get("done")) is True:
            self.complete = True
            self.usage = ollama_usage(members)
