"""Requests counted and timed, for whoever watches the deployment."""

from __future__ import annotations

import time

from aiohttp import web

from sutro_stream.server.authentication import Handler
from sutro_stream.server.context import deployment_of
from sutro_stream.server.metrics import CONTENT_TYPE, METRICS

METRICS_PATH = "/metrics"
"""Outside the prefixes, without a key."""

CLIENT_LEFT = 499
"""Status of a request whose client did not wait for one."""
_UNKNOWN = "unknown"


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count a request by its route; around everything that answers it."""
    metrics, route = request.app[METRICS], route_of(request)
    metrics.began(route)
    began_s = time.monotonic()
    status = CLIENT_LEFT
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        metrics.ended(route, request.method, status, time.monotonic() - began_s)


def route_of(request: web.Request) -> str:
    """The route's pattern: a path would be a name of its own for each job."""
    resource = request.match_info.route.resource
    return _UNKNOWN if resource is None else resource.canonical


async def metrics_page(request: web.Request) -> web.Response:
    """Everything that is counted, for Prometheus."""
    health = await deployment_of(request).health()
    return web.Response(
        body=request.app[METRICS].text(health),
        headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"},
    )
