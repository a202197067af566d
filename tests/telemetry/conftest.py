"""Spans kept in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sutro_stream.telemetry.otlp import OpenTelemetry
from sutro_stream.telemetry.tracing import Tracing


@dataclass(frozen=True)
class Collected:
    """Where spans go in tests.

    Attributes:
        tracing: Takes them.
        exporter: Has those that have ended.
    """

    tracing: Tracing
    exporter: InMemorySpanExporter

    @property
    def spans(self) -> list[ReadableSpan]:
        """In the order of their ends."""
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Those of a name."""
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one of a name."""
        (span,) = self.named(name)
        return span


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """What is noted on a span."""
    return dict(span.attributes or {})


@pytest.fixture
def collected() -> Iterator[Collected]:
    """Empty."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield Collected(OpenTelemetry(provider), exporter)
    provider.shutdown()


@pytest.fixture
def noted() -> Any:
    """See `attributes`."""
    return attributes
