"""The deployment as an application of aiohttp."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from aiohttp import web

from sutro_stream.jobs.service import open_service
from sutro_stream.server.context import LIVING
from sutro_stream.server.lifetime import kept_open
from sutro_stream.server.routing import routes_only
from sutro_stream.server.tracing import TRACING
from sutro_stream.settings.deployment import DeploymentSettings
from sutro_stream.telemetry.otlp import open_tracing


def create_app(settings: DeploymentSettings) -> web.Application:
    """A deployment, to be served or mounted in another application.

    It opens when the application starts and closes when that is cleaned up, in a
    task of its own. Mount it with `parent.add_subapp("/batch/", create_app(...))`;
    only one process may serve a data folder. Run it with `handler_cancellation=True`
    so that what a client no longer waits for is dropped at once.

    Of the settings' server part `public_url`, `trust_forwarded`, `metrics`
    and `traces` matter here.
    """
    app = routes_only(settings)

    @asynccontextmanager
    async def living(_: web.Application) -> AsyncIterator[None]:
        async with open_tracing(is_on=settings.server.traces) as tracing:
            opening = partial(open_service, settings.service, tracing=tracing)
            async with kept_open(opening) as kept:
                app[LIVING], app[TRACING] = kept, tracing
                yield

    app.cleanup_ctx.append(living)
    return app
