"""Requests as spans, for whoever collects traces of the deployment."""

from __future__ import annotations

from aiohttp import web

from sutro_stream.server.authentication import Handler
from sutro_stream.server.context import ACCOUNT, JOB_ID, REQUEST_ID
from sutro_stream.server.metrics import method_of
from sutro_stream.server.observing import CLIENT_LEFT, METRICS_PATH, route_of
from sutro_stream.telemetry.tracing import Tracing
from sutro_stream.wire.routes import HEALTH_PATH

TRACING = web.AppKey[Tracing]("TRACING", Tracing)
"""Where spans go."""

# Asked for again and again, by what watches the server.
_POLLED = frozenset({HEALTH_PATH, METRICS_PATH})


@web.middleware
async def trace(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Make a span of a request; around everything that answers it."""
    route, method = route_of(request), method_of(request.method)
    if route in _POLLED:
        return await handler(request)
    # The route and not the path: names of spans must be few, and signatures are in
    # no trace.
    with request.app[TRACING].received(f"{method} {route}", request.headers) as span:
        status = CLIENT_LEFT
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            span.note(
                {
                    "http.request.method": method,
                    "http.route": route,
                    "http.response.status_code": status,
                    **_named(request),
                }
            )
            if status >= 500:
                span.failed(f"status {status}")


def _named(request: web.Request) -> dict[str, str]:
    """Whose request it is, as far as that is known."""
    known = {
        "sutro.request_id": request.get(REQUEST_ID),
        "sutro.account": request.get(ACCOUNT),
        "sutro.job_id": request.get(JOB_ID),
    }
    return {name: value for name, value in known.items() if value is not None}
