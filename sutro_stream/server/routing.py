"""Which path and method leads to whom."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
from aiohttp import web

from sutro_stream.server.authentication import Handler, authenticated
from sutro_stream.server.cancellation import cancel_orderly
from sutro_stream.server.context import (
    LIVING,
    MAKERS,
    SETTINGS,
    STREAMS,
    Living,
    OpenStreams,
)
from sutro_stream.server.deployment import Deployment
from sutro_stream.server.failures import note_start, tell_errors
from sutro_stream.server.handlers import (
    account,
    datasets,
    described,
    functions,
    jobs,
    results,
    streams,
)
from sutro_stream.server.metrics import METRICS, Metrics
from sutro_stream.server.observing import METRICS_PATH, metrics_page, observe
from sutro_stream.server.tracing import TRACING, trace
from sutro_stream.settings.deployment import DeploymentSettings
from sutro_stream.telemetry.tracing import NO_TRACING, Tracing
from sutro_stream.wire import routes
from sutro_stream.wire.routes import Route

_MAKERS = 8

_HANDLERS: Mapping[Route, Handler] = {
    routes.SUBMIT: jobs.submit,
    routes.SUBMISSION: jobs.submission,
    routes.JOB_STATUS: jobs.job_status,
    routes.JOB: jobs.job,
    routes.LIST_JOBS: jobs.list_jobs,
    routes.CANCEL_JOB: jobs.cancel_job,
    routes.JOB_PROGRESS: streams.stream_progress,
    routes.JOB_RESULTS: results.job_results,
    routes.RESULTS: results.results,
    routes.RESULTS_URL: results.results_url,
    routes.AUTH_CHECK: account.auth_check,
    routes.TRY_AUTHENTICATION: account.try_authentication,
    routes.QUOTAS: account.quotas,
    routes.MODELS: account.models,
    routes.RUN_FUNCTION: functions.run_function,
    routes.CREATE_DATASET: datasets.create_dataset,
    routes.UPLOAD_TO_DATASET: datasets.upload_to_dataset,
    routes.LIST_DATASETS: datasets.list_datasets,
    routes.LIST_DATASET_FILES: datasets.list_dataset_files,
    routes.DOWNLOAD_FROM_DATASET: datasets.download_from_dataset,
}


def application_of(
    deployment: Deployment,
    settings: DeploymentSettings,
    *,
    tracing: Tracing = NO_TRACING,
) -> web.Application:
    """The routes to a deployment that somebody else opens and closes.

    Args:
        deployment: Open.
        settings: Of it.
        tracing: Where spans of requests go.
    """
    app = routes_only(settings)
    app[TRACING] = tracing
    app[LIVING] = Living(deployment)
    return app


def routes_only(settings: DeploymentSettings) -> web.Application:
    """The routes; `LIVING` must be there before the application has started."""
    app = web.Application(middlewares=[trace, tell_errors, cancel_orderly])
    app[TRACING] = NO_TRACING
    app[SETTINGS] = settings
    app[STREAMS] = OpenStreams()
    app[MAKERS] = anyio.CapacityLimiter(_MAKERS)
    app.on_response_prepare.append(note_start)
    app.on_shutdown.append(_end_streams)
    app.router.add_get(routes.HEALTH_PATH, account.health)
    if settings.server.metrics:
        app[METRICS] = Metrics()
        app.middlewares.insert(0, observe)
        app.router.add_get(METRICS_PATH, metrics_page)
    app.router.add_get(routes.OPENAPI_PATH, described.openapi)
    for prefix in routes.PREFIXES:
        for route, handler in _HANDLERS.items():
            for method in route.methods:
                app.router.add_route(
                    method, prefix + route.path, authenticated(handler)
                )
        for method in routes.ARTIFACT.methods:
            # The key has slashes in it.
            path = prefix + routes.ARTIFACT.path.replace("{key}", "{key:.+}")
            app.router.add_route(method, path, results.linked_file)
    return app


async def _end_streams(app: web.Application) -> None:
    app[STREAMS].close()
