"""The description of the API, for tools."""

from __future__ import annotations

from functools import cache
from typing import Any

from aiohttp import web

from sutro_stream.server.sending import reply
from sutro_stream.version import __version__
from sutro_stream.wire.openapi import description


async def openapi(request: web.Request) -> web.Response:
    """The API in the words of OpenAPI; needs no key."""
    return reply(request, _description())


@cache
def _description() -> dict[str, Any]:
    return description(version=__version__)
