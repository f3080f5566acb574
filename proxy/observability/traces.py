"""Traces: a span for each finished request, to an OpenTelemetry collector.

Made of the record when all is over, so that nothing is asked on the way; it carries the
attributes of OpenTelemetry's GenAI conventions, never a prompt or an answer. An extra
(`local-ai[otel]`), on where OTEL_EXPORTER_OTLP_ENDPOINT is set; other OTEL_* variables
are the library's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from proxy.core import clock
from proxy.core.types import Record

SERVICE: Final = "local-ai"

_PATH: Final = "/v1/traces"
_OPERATIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "chat": "chat",
        "responses": "chat",
        "messages": "chat",
        "ollama_chat": "chat",
        "completions": "text_completion",
        "ollama_generate": "text_completion",
        "embeddings": "embeddings",
        "ollama_embed": "embeddings",
        "ollama_embeddings": "embeddings",
    }
)


class NoTraces(Exception):
    """The library that sends them is not installed."""


class Traces:
    """`note` each record; `close` sends what waits, for a few seconds at most."""

    def __init__(
        self,
        endpoint: str,
        version: str,
        wall: Callable[[], float] = clock.wall,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        """Raises NoTraces."""
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
                OTLPSpanExporter,
            )
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import (
                TraceContextTextMapPropagator,
            )
        except ModuleNotFoundError as error:
            raise NoTraces(
                "traces need OpenTelemetry: pip install 'local-ai[otel]'"
            ) from error
        resource = Resource.create(
            {"service.name": SERVICE, "service.version": version}
        )
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + _PATH, timeout=3)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SERVICE, version)
        self._read_parent = TraceContextTextMapPropagator().extract
        self._kind = trace.SpanKind.SERVER
        self._failed = trace.Status(trace.StatusCode.ERROR)
        self._wall = wall
        self._now = now

    def note(self, record: Record) -> None:
        """Make the span of a request that has ended."""
        epoch_s = self._wall() - self._now()
        parent = None
        if record.trace_parent is not None:
            parent = self._read_parent({"traceparent": record.trace_parent})
        operation = _OPERATIONS.get(record.operation, record.operation)
        span = self._tracer.start_span(
            f"{operation} {record.model}" if record.model else operation,
            parent,
            self._kind,
            attributes(record, operation),
            start_time=_ns(record.started_at, epoch_s),
        )
        for number, tried in enumerate(record.attempts, 1):
            span.add_event(
                "attempt",
                _known(
                    {
                        "local_ai.attempt": number,
                        "local_ai.provider": tried.provider,
                        "gen_ai.response.model": tried.upstream_model,
                        "http.response.status_code": tried.status,
                        "error.type": tried.code,
                    }
                ),
                _ns(record.started_at, epoch_s),
            )
        if record.status >= 400:
            span.set_status(self._failed)
        span.end(_ns(record.ended_at or record.started_at, epoch_s))

    def close(self) -> None:
        """Send what waits. Blocks: to be called on a thread."""
        self._provider.shutdown()


def attributes(record: Record, operation: str) -> dict[str, Any]:
    """What a span tells of a request, by the names of the GenAI conventions."""
    first_at = record.first_byte_at
    return _known(
        {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": record.provider,
            "gen_ai.request.model": record.model,
            "gen_ai.response.model": record.upstream_model,
            "gen_ai.usage.input_tokens": record.prompt_tokens,
            "gen_ai.usage.output_tokens": record.completion_tokens,
            "http.request.method": record.method or None,
            "http.response.status_code": record.status,
            "error.type": record.code,
            "local_ai.request_id": record.id,
            "local_ai.tenant": record.tenant,
            "local_ai.stream": record.stream,
            "local_ai.cost_usd": record.cost_usd,
            "local_ai.queue_seconds": record.queue_s,
            "local_ai.first_byte_seconds": None
            if first_at is None
            else first_at - record.started_at,
        }
    )


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def _ns(at: float, epoch_s: float) -> int:
    return int((at + epoch_s) * 1e9)
