from __future__ import annotations

import gzip
import http.server
import importlib.abc
import runpy
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from proxy.core.types import Attempt, Record
from proxy.observability import traces as module
from proxy.observability.traces import NoTraces, Traces, attributes
from proxy.runtime import Runtime
from tests.parts.inside import read_settings, settings
from tests.parts.missing import need_module
from tests.parts.records import record_of

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def a_record(**more: Any) -> Record:
    facts: dict[str, Any] = {
        "id": "req_1", "operation": "messages", "started_at": 10.0, "ended_at": 12.5,
        "first_byte_at": 10.5, "model": "qwen", "provider": "gpu", "status": 200,
        "upstream_model": "Qwen/Qwen", "prompt_tokens": 3, "completion_tokens": 5,
        "usage_source": "upstream", "end_user": "somebody", "key": "key_a",
    }  # fmt: skip
    return record_of(**facts | more)


class Collector:
    """An OTLP collector that keeps the bodies it is sent."""

    def __init__(self) -> None:
        self.bodies = bodies = list[bytes]()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    bodies.append(body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def spans(self) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        found = map(ExportTraceServiceRequest.FromString, self.bodies)
        return [
            span
            for request in found
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    need_module("opentelemetry.exporter")
    opened = Collector()
    yield opened
    opened.stop()


def told(pairs: Any) -> dict[str, Any]:
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs
    }


def test_a_request_is_a_span_below_its_callers(collector: Collector) -> None:
    traces = Traces(collector.url, "1.0", wall=lambda: 1000.0, now=lambda: 10.0)
    record = a_record(trace_parent=PARENT, status=502, code="upstream_error")
    record.attempts = [Attempt("gpu", "Qwen/Qwen", 503, "model_loading")]
    traces.note(record)
    traces.close()
    (span,) = collector.spans()
    assert span.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert span.parent_span_id.hex() == "b7ad6b7169203331"
    assert span.name == "chat qwen"
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (
        1_000_000_000_000,
        1_002_500_000_000,
    )
    facts = told(span.attributes)
    assert facts["gen_ai.request.model"] == "qwen"
    assert facts["gen_ai.usage.output_tokens"] == 5
    assert facts["error.type"] == "upstream_error"
    assert span.status.code == 2
    (event,) = span.events
    assert told(event.attributes)["error.type"] == "model_loading"


def test_a_request_without_a_parent_begins_a_trace(collector: Collector) -> None:
    traces = Traces(collector.url, "1.0")
    traces.note(a_record())
    traces.note(a_record(trace_parent="nonsense", model=None))
    traces.close()
    first, second = collector.spans()
    assert first.trace_id != second.trace_id
    assert (first.parent_span_id, second.name) == (b"", "chat")


def test_a_collector_that_is_away_costs_nothing_but_spans() -> None:
    need_module("opentelemetry.exporter")
    traces = Traces("http://127.0.0.1:1", "1.0")
    traces.note(a_record())
    traces.close()


def test_nobody_is_named_and_nothing_said() -> None:
    facts = attributes(a_record(), "chat")
    assert "somebody" not in facts.values()
    assert "key_a" not in facts.values()
    assert facts["local_ai.first_byte_seconds"] == 0.5


class Unwanted(importlib.abc.MetaPathFinder):
    """Refuses imports of OpenTelemetry, and keeps what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname.partition(".")[0] == "opentelemetry":
            self.asked.append(fullname)
            raise ModuleNotFoundError(fullname)


@pytest.fixture
def unwanted(monkeypatch: pytest.MonkeyPatch) -> Unwanted:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    finder = Unwanted()
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    return finder


async def test_off_it_makes_no_span_and_loads_no_library(
    unwanted: Unwanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr(Traces, "__init__", lambda *of: made.append(of))
    monkeypatch.setattr(Traces, "note", lambda *of: made.append(of))
    runpy.run_path(str(module.__file__))  # as if imported for the first time
    async with Runtime(read_settings(settings("http://127.0.0.1:9"))) as runtime:
        assert runtime.traces is None
        desk = runtime.pipeline._desk
        assert desk is runtime.express.desk
        desk.report(a_record(trace_parent=PARENT))
        assert desk._trace is None
    assert (unwanted.asked, made) == ([], [])


async def test_on_it_asks_for_the_library(
    unwanted: Unwanted, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = read_settings(settings("http://127.0.0.1:9"))
    config = replace(loaded.config, otlp_endpoint="http://127.0.0.1:1")
    async with Runtime(structs.replace(loaded, config=config)) as runtime:
        assert runtime.traces is None
    assert unwanted.asked
    assert "otel" in caplog.text


def test_without_the_library_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(NoTraces, match="otel"):
        Traces("http://127.0.0.1:1", "1.0")
