"""Requests to a deployment as spans."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from opentelemetry.trace import SpanKind, StatusCode

from sutro_stream.server.tracing import TRACING, trace
from sutro_stream.telemetry.tracing import NO_TRACING

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Client = TestClient[Any, Any]


async def _status(request: web.Request) -> web.Response:
    return web.Response(status=int(request.match_info["status"]))


async def _fail(_: web.Request) -> web.Response:
    raise ConnectionResetError("a secret that nobody must see")


@pytest.fixture
async def client(collected: Any) -> AsyncIterator[Client]:
    """Of an application that traces its requests."""
    app = web.Application(middlewares=[trace])
    app[TRACING] = collected.tracing
    handlers: dict[str, Callable[[web.Request], Awaitable[web.Response]]] = {
        "/answers/{status}": _status,
        "/failures": _fail,
        "/healthz": _status,
    }
    for path, handler in handlers.items():
        app.router.add_route("*", path, handler)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_a_request_is_a_span_by_route_and_method(
    client: Client, collected: Any, noted: Any
) -> None:
    """The same for every job, without anything of the query."""
    await client.get("/answers/204?signature=secret")
    span = collected.one("GET /answers/{status}")
    assert (span.kind, span.parent) == (SpanKind.SERVER, None)
    assert span.status.status_code is StatusCode.UNSET
    assert noted(span) == {
        "http.request.method": "GET",
        "http.route": "/answers/{status}",
        "http.response.status_code": 204,
    }


async def test_a_request_is_part_of_the_trace_it_names(
    client: Client, collected: Any
) -> None:
    """By the header that W3C has defined."""
    await client.get("/answers/200", headers={"traceparent": PARENT})
    span = collected.one("GET /answers/{status}")
    assert format(span.context.trace_id, "032x") == PARENT.split("-")[1]
    assert format(span.parent.span_id, "016x") == PARENT.split("-")[2]


@pytest.mark.parametrize("header", ["x", "00-0-0-0", "00-" + "g" * 32 + "-x-01", ""])
async def test_a_header_that_makes_no_sense_is_none(
    client: Client, collected: Any, header: str
) -> None:
    """The request begins a trace of its own."""
    await client.get("/answers/200", headers={"traceparent": header})
    assert collected.one("GET /answers/{status}").parent is None


async def test_an_answer_that_is_our_mistake_is_marked(
    client: Client, collected: Any
) -> None:
    """A client's mistakes are not."""
    for status in (404, 500):
        await client.get(f"/answers/{status}")
    theirs, ours = collected.named("GET /answers/{status}")
    assert theirs.status.status_code is StatusCode.UNSET
    assert ours.status.status_code is StatusCode.ERROR


async def test_what_is_raised_is_not_in_the_trace(
    client: Client, collected: Any, noted: Any
) -> None:
    """A traceback can hold anything; none of ours was answered."""
    await client.get("/failures")
    span = collected.one("GET /failures")
    assert noted(span)["http.response.status_code"] == 499
    assert "secret" not in span.to_json()


async def test_methods_that_strangers_make_up_are_one(
    client: Client, collected: Any
) -> None:
    """Names of spans are few."""
    await client.request("PROPFIND", "/answers/200")
    assert collected.one("other /answers/{status}")


async def test_what_watches_the_server_is_not_traced(
    client: Client, collected: Any
) -> None:
    """It asks every few seconds, for ever."""
    await client.get("/healthz")
    assert collected.spans == []


def test_where_nobody_collects_nothing_is_known() -> None:
    """Neither a span nor what it could be tied to."""
    with NO_TRACING.span("x") as span, NO_TRACING.received("y", {}) as other:
        assert NO_TRACING.here() is None
        assert (span.origin, other.origin) == (None, None)
