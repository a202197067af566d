"""A server of its own: listens, and stops in good order."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable

import anyio
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from sutro_stream.errors import ConfigurationError
from sutro_stream.jobs.engines import EnginesFor, engines_for
from sutro_stream.jobs.service import open_service
from sutro_stream.server.connections import Runner
from sutro_stream.server.file_limit import most_connections
from sutro_stream.server.routing import application_of
from sutro_stream.settings.deployment import DeploymentSettings, ServerSettings
from sutro_stream.telemetry.otlp import open_tracing

# Requests that are not answered by then are cut off; downloads can be resumed.
_GRACE_S = 10.0
# A client that is refused while it sends reads our answer when it has sent all.
_LINGER_S = 30.0
# For the first request of a connection, headers included, and between requests: more
# than the minute that proxies usually keep theirs.
_WAITING_S = 75.0


async def serve_forever(
    settings: DeploymentSettings,
    *,
    on_ready: Callable[[str], None],
    engines_for: EnginesFor = engines_for,
) -> None:
    """Open the deployment and serve it.

    Cancellation: no more requests are taken, those at work get ten seconds, and then
    the deployment is closed; what it has accepted goes on when it is opened again.

    Args:
        settings: What is served, and where.
        on_ready: Called with the address once requests are taken.
        engines_for: What serves a model.

    Raises:
        ConfigurationError: The address cannot be listened on, the certificate cannot
            be read, or what sends traces is not installed.
        SutroStreamError: The deployment cannot be opened, or cannot go on.
    """
    tls = _tls(settings.server)
    async with (
        open_tracing(is_on=settings.server.traces) as tracing,
        open_service(
            settings.service, engines_for=engines_for, tracing=tracing
        ) as deployment,
    ):
        runner = Runner(
            application_of(deployment, settings, tracing=tracing),
            most_connections=most_connections(settings.server.max_connections),
            unread_s=settings.server.unread_s,
            grace_s=_GRACE_S,
            access_log=None,
            keepalive_timeout=_WAITING_S,
            lingering_time=_LINGER_S,
            logger=_protocol_logger(),
        )
        await runner.setup()
        try:
            site = await _listen(runner, settings.server, tls)
            on_ready(site.name)
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await runner.cleanup()


async def _listen(
    runner: web.AppRunner, server: ServerSettings, tls: ssl.SSLContext | None
) -> web.TCPSite:
    site = web.TCPSite(runner, server.host, server.port, ssl_context=tls)
    try:
        await site.start()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ConfigurationError(
            f"cannot listen on {server.host} port {server.port}: {reason}"
        ) from error
    return site


def _protocol_logger() -> logging.Logger:
    """Where aiohttp tells of what is no HTTP, without quoting it: it may be a key."""
    logger = logging.getLogger("sutro_stream.server.protocol")
    if not logger.filters:
        logger.addFilter(_without_quotations)
    return logger


def _without_quotations(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.msg, record.exc_info = f"{record.msg}: not HTTP", None
    return True


def _tls(server: ServerSettings) -> ssl.SSLContext | None:
    if server.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(server.certificate, server.private_key)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"server.certificate: cannot use {server.certificate} and its key: "
            f"{type(error).__name__}"
        ) from error
    return context
