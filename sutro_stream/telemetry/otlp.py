"""Traces by OpenTelemetry, sent with OTLP over HTTP.

Nothing of it is imported before traces are asked for: it is an optional extra.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from sutro_stream.errors import ConfigurationError
from sutro_stream.telemetry.tracing import (
    NO_TRACING,
    Attributes,
    Origin,
    Span,
    Tracing,
)
from sutro_stream.version import __version__

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

SERVICE = "sutro-stream"
"""Name of the service, unless `OTEL_SERVICE_NAME` says another one."""

# Of an exit, for what is not sent yet. A collector that is not there must not keep
# the process from ending.
_CLOSING_S = 2.0


@asynccontextmanager
async def open_tracing(*, is_on: bool) -> AsyncIterator[Tracing]:
    """Traces that are sent where the variables `OTEL_*` of the environment say.

    A thread of its own sends them a few seconds late, many at once; where they come
    faster than they can be sent, some are dropped.

    Cancellation: what is not sent yet is sent within two seconds, or dropped.

    Args:
        is_on: Whether there are any.

    Raises:
        ConfigurationError: The extra `otel` is not installed.
    """
    if not is_on:
        yield NO_TRACING
        return
    provider = _provider()
    try:
        yield OpenTelemetry(provider)
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(_close, provider)


class OpenTelemetry:
    """`Tracing` into a provider, which belongs to the caller."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        """Its spans have the scope `sutro_stream`."""
        from opentelemetry import propagate, trace  # noqa: PLC0415 - an extra

        self._trace, self._propagate = trace, propagate
        self._tracer = provider.get_tracer("sutro_stream", __version__)

    def here(self) -> Origin | None:
        """See `Tracing`."""
        return _origin(self._trace.get_current_span())

    @contextmanager
    def span(
        self,
        name: str,
        *,
        attributes: Attributes | None = None,
        link: Origin | None = None,
    ) -> Iterator[Span]:
        """See `Tracing`."""
        links = [self._trace.Link(_context(link))] if link is not None else []
        span = self._tracer.start_span(name, attributes=attributes, links=links)
        with self._current(span) as current:
            yield current

    @contextmanager
    def received(self, name: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """See `Tracing`."""
        span = self._tracer.start_span(
            name,
            context=self._propagate.extract(headers),
            kind=self._trace.SpanKind.SERVER,
        )
        with self._current(span) as current:
            yield current

    def begin(self, name: str, *, parent: Origin | None) -> Span:
        """See `Tracing`."""
        above = None
        if parent is not None:
            spoken_for = self._trace.NonRecordingSpan(_context(parent))
            above = self._trace.set_span_in_context(spoken_for)
        return _OpenSpan(self._tracer.start_span(name, context=above))

    @contextmanager
    def _current(self, span: trace.Span) -> Iterator[Span]:
        # What is raised is not recorded: a traceback can hold anything.
        with self._trace.use_span(
            span,
            end_on_exit=True,
            record_exception=False,
            set_status_on_exception=False,
        ):
            yield _OpenSpan(span)


class _OpenSpan:
    """See `Span`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def origin(self) -> Origin | None:
        """See `Span`."""
        return _origin(self._span)

    def note(self, attributes: Attributes) -> None:
        """See `Span`."""
        self._span.set_attributes(dict(attributes))

    def failed(self, reason: str) -> None:
        """See `Span`."""
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - an extra

        self._span.set_status(Status(StatusCode.ERROR, reason))

    def end(self) -> None:
        """See `Span`."""
        self._span.end()


def _origin(span: trace.Span) -> Origin | None:
    context = span.get_span_context()
    return Origin(context) if context.is_valid else None


def _context(origin: Origin) -> trace.SpanContext:
    context: trace.SpanContext = origin  # type: ignore[assignment]  # made above
    return context


def _provider() -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import (  # noqa: PLC0415 - an extra
            OTELResourceDetector,
            Resource,
        )
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.export import (  # noqa: PLC0415 - an extra
            BatchSpanProcessor,
        )
    except ImportError:
        raise ConfigurationError(
            "server.traces: what sends traces is not installed; "
            "pip install 'sutro-stream[otel]'"
        ) from None
    ours = Resource.create({"service.name": SERVICE, "service.version": __version__})
    provider = TracerProvider(
        resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _close(provider: TracerProvider) -> None:
    # In a thread that the process does not wait for: sending is tried several times.
    closing = threading.Thread(target=provider.shutdown, daemon=True)
    closing.start()
    closing.join(_CLOSING_S)
