"""Whose key it is, and what there is for it."""

from __future__ import annotations

from aiohttp import web

from sutro_stream.server.context import SETTINGS, account_of, deployment_of
from sutro_stream.server.health_reply import health_reply
from sutro_stream.server.sending import plain_reply, reply
from sutro_stream.wire import replies


async def health(request: web.Request) -> web.Response:
    """Say that the server works, and how well; needs no key."""
    found = await deployment_of(request).health()
    return plain_reply(health_reply(found))


async def auth_check(request: web.Request) -> web.Response:
    """Say that the key is good, and whose it is."""
    return plain_reply(replies.auth_checked(account_of(request)))


async def try_authentication(request: web.Request) -> web.Response:  # noqa: ARG001
    """Say that the key is good, to older SDKs."""
    return plain_reply(replies.authenticated())


async def quotas(request: web.Request) -> web.Response:
    """What one job may be."""
    return plain_reply(replies.quotas(request.app[SETTINGS].service.quotas))


async def models(request: web.Request) -> web.Response:
    """The models that can be asked for."""
    catalogue = request.app[SETTINGS].service.catalogue
    offered = list(catalogue.models.values())
    return reply(request, replies.models(offered, aliases=catalogue.aliases))
