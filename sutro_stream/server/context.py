"""What handlers find in their application and in their request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio
from aiohttp import web

from sutro_stream.server.deployment import Deployment
from sutro_stream.settings.deployment import DeploymentSettings
from sutro_stream.wire.api_error import ApiError


@dataclass(frozen=True, slots=True)
class Living:
    """A deployment, and whether it still works.

    Attributes:
        deployment: What handlers call.
        task: The task that keeps it open, `None` where whoever made the application
            does.
    """

    deployment: Deployment
    task: asyncio.Task[None] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self.task is None or not self.task.done()


class OpenStreams:
    """Responses without an end of their own; ended when the server stops."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Leave the context's body when the server stops."""
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)

    def close(self) -> None:
        """End them all."""
        for scope in self._scopes:
            scope.cancel()


LIVING = web.AppKey("LIVING", Living)
SETTINGS = web.AppKey("SETTINGS", DeploymentSettings)
STREAMS = web.AppKey("STREAMS", OpenStreams)
MAKERS = web.AppKey("MAKERS", anyio.CapacityLimiter)
"""Threads in which artifacts are made."""

ACCOUNT = web.RequestKey("ACCOUNT", str)
REQUEST_ID = web.RequestKey("REQUEST_ID", str)
JOB_ID = web.RequestKey("JOB_ID", str)
"""The job that the request has made, for the log."""
STARTED = web.RequestKey("STARTED", bool)
"""Set once a response is on its way; no other one can be sent then."""


def deployment_of(request: web.Request) -> Deployment:
    """The deployment that a request is for.

    Raises:
        ApiError: It has ended, for a reason that is in the log.
    """
    living = request.app[LIVING]
    if not living.is_alive:
        raise ApiError(503, "unavailable", "the deployment has stopped")
    return living.deployment


def account_of(request: web.Request) -> str:
    """Whose key the request came with; for routes that need one."""
    return request[ACCOUNT]
