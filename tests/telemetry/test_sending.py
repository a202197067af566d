"""Traces sent to a collector, as the environment says."""

from __future__ import annotations

import sys
from typing import Any

import anyio
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

PROGRAM = """
import anyio
from sutro_stream.telemetry.otlp import open_tracing

async def main():
    async with open_tracing(is_on=True) as tracing:
        with tracing.span("work", attributes={"number": 7}):
            pass

anyio.run(main)
"""


async def run(program: str, **environment: str) -> bytes:
    """What another process says on stderr."""
    done = await anyio.run_process(
        [sys.executable, "-c", program], env=environment, check=False
    )
    return done.stderr


async def test_spans_go_where_the_environment_says() -> None:
    """All of them before the process ends."""
    received: list[tuple[str, Any]] = []

    async def collect(request: web.BaseRequest) -> web.Response:
        raw = await request.read()
        sent = ExportTraceServiceRequest.FromString(raw)
        received.append((request.headers["X-Key"], sent))
        return web.Response(body=b"", content_type="application/x-protobuf")

    runner = web.ServerRunner(web.Server(collect))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        said = await run(
            PROGRAM,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{runner.addresses[0][1]}",
            OTEL_EXPORTER_OTLP_HEADERS="x-key=of-the-collector",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment=test",
        )
    finally:
        await runner.cleanup()
    assert said == b""
    ((key, sent),) = received
    (resource,) = sent.resource_spans
    told = {item.key: item.value.string_value for item in resource.resource.attributes}
    (span,) = resource.scope_spans[0].spans
    assert key == "of-the-collector"
    assert (told["service.name"], told["deployment.environment"]) == (
        "sutro-stream",
        "test",
    )
    assert (span.name, span.attributes[0].value.int_value) == ("work", 7)


async def test_a_collector_that_is_not_there_keeps_nobody() -> None:
    """The process says so and ends, while sending would be tried for longer."""
    said = await run(
        PROGRAM,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1",
        OTEL_EXPORTER_OTLP_TIMEOUT="3600",
    )
    assert b"Traceback" not in said


async def test_the_usual_switch_turns_it_off() -> None:
    """Whatever the deployment's file says."""
    said = await run(
        PROGRAM,
        OTEL_SDK_DISABLED="true",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1",
    )
    assert said == b""


async def test_without_the_extra_there_is_a_word_about_it() -> None:
    """And nothing of it is imported where traces are not asked for."""
    without = """
import sys
sys.modules["opentelemetry"] = None  # as if it were not installed
"""
    said = await run(without + PROGRAM)
    assert b"pip install 'sutro-stream[otel]'" in said.splitlines()[-1]
    off = PROGRAM.replace("is_on=True", "is_on=False")
    assert await run(without + off + "\nimport sutro_stream.cli.serving") == b""
